"""`farhand attach`: a run's output from what is kept on, our stdin for it, and its end as ours."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from farhand_client.client import Client
from farhand_client.errors import FarhandError
from farhand_client.results import describe
from farhand_client.ui.exitcodes import outcome_exit_code
from farhand_client.ui.interrupts import RunSignalHandler
from farhand_client.ui.outages import ATTENDED_KEEPALIVE, ATTENDED_RECONNECT, OutageNotice
from farhand_client.ui.printing import print_gap, print_json, print_message
from farhand_client.ui.streams import JsonOutput, copy_streams
from farhand_protocol.outcome import Killed, TimedOut

from .connection import report_error, run_with_client
from .options import DEFAULT_RECONNECT, add_escape, add_run_options, command_parser
from .status import end_report
from .values import run_id

if TYPE_CHECKING:
    from farhand_protocol.messages import RunInfo

    from .interactive import View

EPILOG = """\
Output comes from the first byte that is kept; what is missing before is said on stderr. Our stdin goes to the run if it
takes any and nobody else feeds it, and where ours ends, so does its. Ctrl-C interrupts the run; a second one, SIGTERM
and SIGHUP leave it going, as a reader of our stdout does that goes. With --read-only the first Ctrl-C leaves.

A run on a terminal is shown on ours, if stdin and stdout are one: from what it shows now, and keys go to it as they
are, unless somebody else types there. Behind a newline, ~. leaves, and ~? says more. Exit code: the run's, as farhand
run has it; 0 where it was left so.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    given = command_parser("attach", "HOST ID", "Take part in a run that is there.", EPILOG)
    add = given.add_argument
    add("--read-only", action="store_true", help="only watch: no stdin, no signals, no holding it up")
    add("--no-stdin", action="store_true", help="leave the run's stdin to others")
    add("--share", action="store_true", help="type at its terminal also where somebody else does")
    add_escape(given, "-e", "--escape")
    add_run_options(given, attended=True)
    add("id", metavar="ID", type=run_id)
    options = given.parse_args(arguments)
    if options.share and (options.read_only or options.no_stdin):
        given.error("--share is for typing; it cannot be had with --read-only or --no-stdin")
    stays = options.reconnect is None
    if stays:
        options.reconnect = DEFAULT_RECONNECT
    if options.json or not (os.isatty(0) and os.isatty(1)):
        return run_with_client(options, lambda client: _attached(client, options))
    from farhand_client.terminal.local import LocalTerminal

    from . import interactive
    from .connection import run_attended

    outage = OutageNotice(options.host)

    async def shown(client: Client) -> int:
        info = await client.info(options.id)
        if info.terminal is None:
            return await _attached(client, options)
        if stays:
            client.reconnect = ATTENDED_RECONNECT
        with LocalTerminal() as here:
            view = interactive.View(here, options.host, outage, options.escape)
            return await _shown(client, info, options, view)

    return run_with_client(options, shown, outage=outage, keepalive=ATTENDED_KEEPALIVE, run=run_attended)


async def _shown(client: Client, info: RunInfo, options: argparse.Namespace, view: View) -> int:
    with view.signals() as signals:
        try:
            watches = options.read_only or options.no_stdin
            return (await view.attach(client, info, read_only=watches, share=options.share)).code
        except FarhandError as error:
            return report_error(options, error)
        except asyncio.CancelledError:
            if signals.ended_by is None:
                raise
            return 128 + signals.ended_by


async def _attached(client: Client, options: argparse.Namespace) -> int:
    with RunSignalHandler() as signals:
        try:
            return await _take_part(client, options, signals)
        except FarhandError as error:
            return report_error(options, error)
        except asyncio.CancelledError:
            if signals.ended_by is None:
                raise
            return 128 + signals.ended_by


async def _take_part(client: Client, options: argparse.Namespace, signals: RunSignalHandler) -> int:
    info = await client.info(options.id)
    feeds: bool | int = False
    if info.stdin is not None and not options.read_only and not options.no_stdin:
        feeds = info.stdin if info.terminal is None else True  # at a terminal, each counts what it has typed itself
    lines = JsonOutput(0, 0) if options.json else None
    on_gap = print_gap if lines is None else lines.gap
    async with client.attach(info.id, stdin=feeds, read_only=options.read_only, on_gap=on_gap) as run:
        if not options.read_only:
            signals.run = run
        if run.stdin is not None and run.stdin.over and run.result is None:
            print_message("another client feeds this run's stdin; ours is left alone")
        result = await copy_streams(run, lines)
    if lines is not None:
        print_json(end_report(result))
    elif isinstance(result.outcome, Killed | TimedOut):
        print_message(f"the command {describe(result.outcome)}")
    return outcome_exit_code(result.outcome)
