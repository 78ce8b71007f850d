"""Opens a connection as the options say, and runs a command's coroutine on it."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from farhand_client.client import Client
from farhand_client.connection.reconnecting import OutageCallback
from farhand_client.connector import connect
from farhand_client.errors import FarhandError
from farhand_client.ids import is_run_id
from farhand_client.pending import Pending
from farhand_client.times import KEEPALIVE_INTERVAL
from farhand_client.ui.exitcodes import EXIT_USAGE, error_exit_code
from farhand_client.ui.outages import OutageNotice
from farhand_client.ui.printing import print_json, print_message, require_output
from farhand_client.ui.prompts import ask_passphrase, confirm_host_key, lend_terminal

from .loop import run_loop
from .status import error_report

if TYPE_CHECKING:
    from farhand_protocol.messages import RunInfo


def open_connection(
    host: str,
    options: argparse.Namespace,
    *,
    reconnect: float | None = None,
    watch: OutageCallback | None = None,
    keepalive: float = KEEPALIVE_INTERVAL,
) -> Pending[Client]:
    """Return a connection with the connection options `options`, to be awaited or entered.

    Asks about host keys and passphrases if a person is at the terminal.

    A lost connection is re-established for up to `reconnect` seconds, and `watch` is notified. It counts as lost after
    three times `keepalive` seconds of silence.
    """
    return connect(
        host,
        identities=options.identity,
        via=options.via,
        accept_new=options.accept_new,
        confirm=confirm_host_key,
        passphrase=ask_passphrase,
        touch=watch.touch if isinstance(watch, OutageNotice) else print_message,
        timeout=options.connect_timeout,
        keepalive=keepalive,
        reconnect=reconnect,
        watch=watch,
        # Where somebody types it lends nothing: each key would take one step more.
        helper=not options.no_mux and (True if keepalive >= KEEPALIVE_INTERVAL else "offer"),
        lend_terminal=lend_terminal,
    )


def run_with_client(
    options: argparse.Namespace,
    act: Callable[[Client], Awaitable[int]],
    *,
    outage: OutageNotice | None = None,
    keepalive: float = KEEPALIVE_INTERVAL,
    run: Callable[[Coroutine[Any, Any, int]], int] = run_loop,
) -> int:
    """Connect to `options.host` and return the exit code that `act` returns.

    `outage` reports a lost connection; `run` runs the event loop.
    """
    outage = outage or OutageNotice(options.host)

    async def connected() -> int:
        reconnect = getattr(options, "reconnect", None)
        try:
            pending = open_connection(options.host, options, reconnect=reconnect, watch=outage, keepalive=keepalive)
            async with pending as client:
                return await act(client)
        finally:
            outage.close()

    try:
        return run(connected())
    except UnicodeError:
        raise  # is no mistake of the user
    except ValueError as error:  # among them an invalid HOST or id, and an id that matches several runs
        print_message(str(error))
        return EXIT_USAGE


async def run_with_output(client: Client, text: str) -> RunInfo:
    """Return the run whose id begins with `text`, to show its output. Raises as `Client.info` and `require_output`."""
    info = await client.info(text)
    require_output(info)
    return info


async def for_each_run(
    client: Client, options: argparse.Namespace, act: Callable[[Client, str, argparse.Namespace], Awaitable[int]]
) -> list[int]:
    """Call `act` for all runs of `options.ids` at once and return its results. If an id is wrong, only say so."""
    try:
        ids = await asyncio.gather(*(resolve_id(client, text) for text in options.ids))
    except FarhandError:
        if len(options.ids) > 1 and not options.json:
            print_message("nothing is done for the other runs, because of an id that is wrong:")
        raise
    return await asyncio.gather(*(act(client, run_id, options) for run_id in ids))


async def resolve_id(client: Client, text: str) -> str:
    """Return the id that begins with `text`. Raises what `Client.info` does."""
    return text if is_run_id(text) else (await client.info(text)).id


def report_error(options: argparse.Namespace, error: FarhandError) -> int:
    """Print `error` on stderr, or as JSON on stdout if `options.json` is set; return the exit code for it."""
    if options.json:
        print_json(error_report(error))
    else:
        print_message(str(error))
    return error_exit_code(error)
