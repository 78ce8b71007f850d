"""`farhand forward -f`, `--list`, `--add` and `--cancel`: forwards that a process in the background keeps."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any, Final

from farhand_client.config import config_directory
from farhand_client.connection.address import resolve
from farhand_client.kept.ask import ask
from farhand_client.kept.place import KeptError, KeptPlace, kept_place, kept_places, log_path
from farhand_client.kept.requests import ControlRequest, ControlVerb
from farhand_client.ui.exitcodes import EXIT_FAILURE
from farhand_client.ui.printing import flush_messages, flush_output, print_json, print_message, print_output
from farhand_client.ui.text import display_width, format_bytes, format_span
from farhand_protocol.quantities import MAX_TIME
from farhand_protocol.sentences import printable

from .forwarding import asks_for_any_port, with_local_paths

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.connection.reconnecting import OutageCallback
    from farhand_client.kept.holding import HeldForward
    from farhand_client.pending import Pending

KEPT_READY: Final = b"1"
"""What the kept process writes to the command that started it once its forwards are made."""

MAX_INHERITED: Final = 1 << 20
"""Descriptors below this one that were inherited are closed: the kernel's own limit for a process (fs.nr_open)."""


def keep_forwards(options: argparse.Namespace) -> int:
    """Have a process in the background keep forwards, and return the exit code once they are made.

    Raises `KeptError` and `AddressError`.
    """
    resolve(options.host, config=config_directory() / "config.toml")
    place = kept_place(options.host)
    if place.is_alive():
        return _change(options, place, "add")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return _await_ready(pid, reading)
    os.closerange(3, writing)
    os.closerange(writing + 1, MAX_INHERITED)
    return _be_kept(options, place, writing)


def _await_ready(pid: int, reading: int) -> int:
    """Wait until the process `pid` is ready or has ended; return 0 or its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both, and the other one knows what to do
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    with open(reading, "rb", closefd=True) as pipe:
        if pipe.read(1) == KEPT_READY:
            return 0
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code > 0 else EXIT_FAILURE if not code else 128 - code


def _be_kept(options: argparse.Namespace, place: KeptPlace, writing: int) -> int:
    """Be the process that keeps the forwards."""
    from farhand_client.kept.life import KeptProcess, leave_terminal
    from farhand_client.kept.log import KeptLog
    from farhand_client.ui.interrupts import SignalHandler

    from .connection import open_connection
    from .loop import run_attended

    log = KeptLog(log_path(options.host))
    options.no_mux = True  # the helper ends when nobody needs it
    options.identity = [path.absolute() for path in options.identity]
    reconnect = MAX_TIME if options.reconnect is None else options.reconnect
    asking = True

    def open_client(watch: OutageCallback, asks: bool) -> Pending[Client]:
        return open_connection(options.host, options, reconnect=reconnect, watch=watch)

    def ready(begun: list[HeldForward]) -> None:
        nonlocal asking
        for held in begun:
            if asks_for_any_port(held.spec):
                print_output(str(held.report()["port"]), what=f"the port of {held.spec}")
        flush_output()
        flush_messages()
        leave_terminal()
        asking = False
        os.write(writing, KEPT_READY)
        os.close(writing)

    async def live() -> int:
        process = KeptProcess(options.host, place, log, open_client, endless=options.reconnect is None)
        signals = SignalHandler()
        try:
            with signals, signals.interrupts_to(signals.end):
                await process.live(with_local_paths(options.forwards), ready)
        except asyncio.CancelledError:
            if signals.ended_by is None:
                raise
            if not asking:
                log.write(f"ends, by signal {signals.ended_by}")
            return 128 + signals.ended_by
        return 0

    try:
        return run_attended(live())
    except BaseException as error:
        if not asking:
            log.write(f"ends: {str(error) or type(error).__name__}")
        raise


def list_kept(options: argparse.Namespace) -> int:
    """Print the kept forwards, and return the exit code. Raises `KeptError`."""
    reports = []
    for place in kept_places():
        try:
            reports.append(ask(place, ControlRequest("list")))
        except KeptError as error:
            if place.is_alive() and place.socket.exists():  # it is not just ending
                print_message(str(error))
    if options.host is not None:
        reports = [report for report in reports if report["host"] == options.host]
    if options.json:
        for report in reports:
            print_json(report)
    elif reports:
        print_output("\n".join(_table(reports)))
    if options.host is not None and not reports:
        raise _none_kept(options.host)
    return 0


def change_kept(options: argparse.Namespace) -> int:
    """Add or cancel kept forwards, and return the exit code. Raises `KeptError`."""
    place = kept_place(options.host)
    if not place.is_alive():
        raise _none_kept(options.host)
    verb: ControlVerb = "add" if options.add else "end" if options.all else "cancel"
    return _change(options, place, verb)


def cancel_all(options: argparse.Namespace) -> int:
    """End the kept forwards of all hosts, and return the exit code. Raises `KeptError`."""
    for place in kept_places():
        try:
            _change(options, place, "end")
        except KeptError:
            if place.is_alive() and place.socket.exists():  # otherwise it ends by itself
                raise
    return 0


def _change(options: argparse.Namespace, place: KeptPlace, verb: ControlVerb) -> int:
    request = ControlRequest(verb, with_local_paths(options.forwards))
    report = ask(place, request, timeout=options.connect_timeout)
    for spec, added in zip(request.forwards, report.get("added", []), strict=False):
        if asks_for_any_port(spec):
            print_output(str(added["port"]), what=f"the port of {spec}")
    if options.json:
        print_json(report)
    return 0


def _none_kept(host: str) -> KeptError:
    kept = []
    for place in kept_places():
        with contextlib.suppress(KeptError):
            kept.append(str(ask(place, ControlRequest("list"))["host"]))
    others = f"; there are some of {', '.join(sorted(kept))}" if kept else ""
    return KeptError(f"no forwards of {host} are kept{others}; farhand forward -f {host} -L … keeps some")


def _table(reports: list[dict[str, Any]]) -> list[str]:
    """Return the lines of `--list`: a row for each forward, and for each host where its log is."""
    rows = [["HOST", "FORWARD", "LISTENING", "AGE", "CONNECTIONS", "SENT", "RECEIVED", "STATE"]]
    notes = []
    now = time.time()
    for report in reports:
        for forward in report["forwards"]:
            connections = f"{forward['open']} of {forward['connections']}"
            moved = [format_bytes(forward["sent"]), format_bytes(forward["received"])]
            age = format_span(now - forward["since"])
            row = [report["host"], forward["forward"], forward["listen"], age, connections, *moved]
            rows.append([*map(printable, row), _state(report, forward, now)])
        notes.append(f"{printable(report['host'])}: pid {report['pid']}, log {printable(report['log'])}")
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(word + " " * (width - display_width(word)) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return lines + notes


def _state(report: dict[str, Any], forward: dict[str, Any], now: float) -> str:
    if report["state"] != "connected":
        return f"reconnecting for {format_span(now - report['state_since'])}"
    return printable(f"not listening: {forward['error']}") if "error" in forward else "connected"
