"""Does a transfer for `put`, `get`, `sync` and `cp`: connects, reports, and says how to go on after Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import stat
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from farhand_client.errors import ConnectionLost, FarhandError
from farhand_client.ui.exitcodes import error_exit_code
from farhand_client.ui.failures import unforeseen
from farhand_client.ui.interrupts import SignalHandler
from farhand_client.ui.outages import OutageNotice
from farhand_client.ui.printing import print_json, print_message, require_stdin, require_stdout
from farhand_client.ui.transfer_printer import JsonPrinter, TransferPrinter
from farhand_protocol.sentences import shell_quoted
from farhand_protocol.values import MAX_PATHS

from .connection import run_with_client
from .host_paths import STANDARD, remote_bytes
from .loop import run_attended
from .status import error_report
from .transfer_options import transfer_keywords

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.files.transfer import Transfer

_NAMED_DESCRIPTORS: Final = {"stdin": 0, "stdout": 1, "stderr": 2}
_DESCRIPTOR_PATH: Final = re.compile(r"/dev/(std(?:in|out|err))|/(?:dev|proc/self)/fd/([0-9]{1,9})")

AGAIN: Final = "run the same command again; what has arrived is not sent again"


class TypedTransfer(NamedTuple):
    """What to transfer, as it was typed: paths on this machine, and on the service's machine `host`."""

    operation: Literal["put", "get"]
    host: str
    sources: Sequence[str]
    destination: str
    sync: bool = False

    @property
    def is_pipe(self) -> bool:
        """Whether it is from a pipe or to one, such as stdin and stdout, and cannot be repeated."""
        if self.operation == "put":
            return any(source_descriptor(source) is not None for source in self.sources)
        return destination_descriptor(self.destination) is not None


def source_descriptor(word: str) -> int | None:
    """Return the descriptor that SRC of a put stands for; None if it is the path of a file."""
    return 0 if word == STANDARD else _named_descriptor(word, stat.S_ISREG)


def destination_descriptor(word: str) -> int | None:
    """Return the descriptor that DEST of a get stands for; None if it is a path. A file to which stdout is redirected
    is written, and not replaced."""
    return 1 if word == STANDARD else _named_descriptor(word, lambda _: False)


def _named_descriptor(word: str, is_path: Callable[[int], bool]) -> int | None:
    """Return the descriptor of a name as the shell's `<(…)` gives it, unless what is open there has this kind of mode
    or is a directory."""
    found = _DESCRIPTOR_PATH.fullmatch(word)
    if found is None:
        return None
    number = _NAMED_DESCRIPTORS.get(found[1], -1) if found[2] is None else int(found[2])
    try:
        mode = os.fstat(number).st_mode
    except (OSError, OverflowError):
        return None
    return None if stat.S_ISDIR(mode) or is_path(mode) else number


def run_transfer(parser: argparse.ArgumentParser, options: argparse.Namespace, request: TypedTransfer) -> int:
    """Do the transfer, and return the exit code."""
    if request.operation == "get" and len(request.sources) > MAX_PATHS:
        number = len(request.sources)
        parser.error(f"{number} SRC are more than {MAX_PATHS}; use a pattern in quotes, which {request.host} expands")
    check_standard(parser, options, request)
    options.host = request.host
    outage = OutageNotice(request.host)
    return run_with_client(options, partial(_transfer, options, request, outage), outage=outage, run=run_attended)


def check_standard(parser: argparse.ArgumentParser, options: argparse.Namespace, request: TypedTransfer) -> None:
    """Exit with 2 if stdin or stdout cannot be what `request` needs it for. Raises `LocalError` if it is closed."""
    if not request.is_pipe:
        return
    if request.operation == "put":
        piped = next(source for source in request.sources if source_descriptor(source) is not None)
        what = "- is stdin" if piped == STANDARD else f"{piped} is a pipe"
        if len(request.sources) > 1:
            parser.error(f"{what}, which is one file; put it alone, without other SRC")
        if request.destination.endswith("/") or not request.destination:
            parser.error(f"{'stdin' if piped == STANDARD else piped} has no name; write DEST as the path of a file")
        if request.destination == STANDARD:
            parser.error("SRC is stdin, and a file there is not stdout; for one that is named -, write DEST as ./-")
        if source_descriptor(piped) == 0:
            require_stdin()
        return
    if len(request.sources) > 1:
        from .hints import MAX_SUGGESTED

        line = shell_quoted(["farhand", "run", request.host, "cat", *request.sources])
        shown = line if len(line) <= MAX_SUGGESTED else f"farhand run {request.host} cat SRC…"
        parser.error(f"{request.destination} is one file, to which only one SRC can be written; for several: {shown}")
    if destination_descriptor(request.destination) == 1:
        if options.json:
            parser.error("--json writes events to stdout; it cannot be combined with stdout for DEST")
        require_stdout("what is got would be lost")


async def _transfer(options: argparse.Namespace, request: TypedTransfer, outage: OutageNotice, client: Client) -> int:
    report: TransferPrinter | JsonPrinter
    if options.json:
        report = JsonPrinter(dry_run=options.dry_run)
    else:
        to_stdout = request.operation == "get" and request.is_pipe
        report = TransferPrinter(
            request.host,
            destination=remote_bytes(request.destination) if request.operation == "put" else None,
            verbose=options.verbose,
            quiet=options.quiet,
            sha256=options.sha256,
            dry_run=options.dry_run,
            digests=2 if to_stdout else 1,
        )
    signals = SignalHandler()
    try:
        with signals, signals.interrupts_to(signals.end), report.shown(outage.through):
            transfer = start_transfer(client, request, progress=report.note, check=False, **transfer_keywords(options))
            if isinstance(report, TransferPrinter) and report.wanted:
                transfer.only(*report.wanted)
            transferred = await transfer
    except asyncio.CancelledError:
        if signals.ended_by is None:
            raise
        print_message("stopped" if request.is_pipe else f"stopped; to go on, {AGAIN}")
        return 128 + signals.ended_by
    except BrokenPipeError:
        raise  # nobody reads stdout any more
    except (FarhandError, OSError) as error:
        failure = unforeseen(error)
        resumes = isinstance(failure, ConnectionLost) and not request.is_pipe
        if options.json:
            print_json({"event": "error", **error_report(failure)["error"]})
        else:
            print_message(f"{failure}; to go on, {AGAIN}" if resumes else str(failure))
        return error_exit_code(failure)
    return report.finish(transferred)


def start_transfer(client: Client, request: TypedTransfer, **keywords: Any) -> Transfer:
    """Return the transfer, to be awaited. Raises as `Client.put` does."""
    from farhand_client.files.places import Remote

    if request.operation == "put":
        destination = remote_bytes(request.destination)
        if request.sync:
            return client.sync(request.sources[0], Remote(destination), **keywords)
        opened = [(source_descriptor(source), source) for source in request.sources]
        sources = [source if number is None else number for number, source in opened]
        return client.put(sources, destination, **keywords)
    patterns = [remote_bytes(source) for source in request.sources]
    if request.sync:
        return client.sync(Remote(patterns[0]), request.destination, **keywords)
    number = destination_descriptor(request.destination)
    return client.get(patterns, request.destination if number is None else number, **keywords)
