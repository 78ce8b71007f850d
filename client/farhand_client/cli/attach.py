"""`farhand attach` and `farhand logs`: the output of an existing run, from what is kept of it.

`attach` also sends this process's stdin and signals to the run, and exits with the run's code. `logs` only reads.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from farhand_client.client import Client
from farhand_client.errors import FarhandError, RunGoesOn, SpawnError
from farhand_client.results import describe
from farhand_client.ui.exitcodes import outcome_exit_code
from farhand_client.ui.interrupts import RunSignalHandler
from farhand_client.ui.left import OPTION_OF_RUN, stopped_sentence
from farhand_client.ui.outages import ATTENDED_KEEPALIVE, ATTENDED_RECONNECT, OutageNotice
from farhand_client.ui.printing import can_read_stdin, print_gap, print_json, print_message, require_stdout
from farhand_client.ui.streams import JsonOutput, StandardWriters, copy_streams
from farhand_client.ui.unread_stdin import UnreadStdin
from farhand_protocol.outcome import Killed, TimedOut

from .connection import report_error, run_with_client, run_with_output
from .default_host import parse_with_host
from .loop import run_attended
from .options import (
    DEFAULT_RECONNECT,
    add_escape,
    add_predict,
    add_run_id,
    add_run_options,
    command_parser,
    predict_mode,
)
from .status import end_report
from .values import size

if TYPE_CHECKING:
    from farhand_protocol.messages import RunInfo

    from .terminal_view import TerminalView

_ATTACH_EPILOG: Final = """\
Output starts at the first byte that is still kept; missing bytes are reported on stderr. Stdin is sent to the run if
the run reads any and no other client sends it; at end of input the run's stdin is closed. Ctrl-C interrupts the run.
A second Ctrl-C, SIGTERM, SIGHUP and a closed stdout leave it running. With --read-only the first Ctrl-C leaves.

If the run is on a terminal, and stdin and stdout are terminals here, it is shown on yours: first its current screen,
then what follows. Keys are sent to it unless another client types there. After a newline, ~. leaves and ~? lists more
keys.

Exit code: the run's, as in farhand run; 0 after leaving by a key.
"""

_LOGS_DESCRIPTION: Final = """\
Show the output of a run.

  farhand logs web 01a1fc79-3b2c
  farhand logs -f --tail 4K web 01a1fc79-3b2c
"""

_LOGS_EPILOG: Final = """\
Both streams are shown, stdout on stdout and stderr on stderr. Bytes that are no longer kept are reported on stderr.

Exit code: 0 after everything that is kept was shown, however the run ended; 255 if the connection failed.
"""


def attach_command(arguments: Sequence[str]) -> int:
    """Run `farhand attach` and return the exit code."""
    parser = command_parser(
        "attach", "[HOST] ID", "Attach to a run: show its output and send it input.", _ATTACH_EPILOG
    )
    add = parser.add_argument
    add("--read-only", action="store_true", help="only watch: send no stdin or signals, never slow the run down")
    add("--no-stdin", action="store_true", help="send no stdin; leave it to other clients")
    add("--share", action="store_true", help="type at the run's terminal even if another client types there")
    add_escape(parser, "-e", "--escape")
    add_predict(parser)
    add_run_options(parser, attended=True)
    add_run_id(parser)
    options = parse_with_host(parser, arguments)
    if options.share and (options.read_only or options.no_stdin):
        parser.error("--share is for typing; it cannot be combined with --read-only or --no-stdin")
    attended_reconnect = options.reconnect is None
    if attended_reconnect:
        options.reconnect = DEFAULT_RECONNECT
    if options.json or not (os.isatty(0) and os.isatty(1)):
        return run_with_client(options, lambda client: _attach_streams(client, options))
    from farhand_client.terminal.local import LocalTerminal

    from .terminal_view import TerminalView

    outage = OutageNotice(options.host)

    async def attach(client: Client) -> int:
        info = await run_with_output(client, options.id)
        if info.terminal is None:
            return await _attach_streams(client, options)
        if attended_reconnect:
            client.reconnect = ATTENDED_RECONNECT
        with LocalTerminal() as here:
            view = TerminalView(here, options.host, outage, options.escape, predict=predict_mode(options))
            return await _attach_terminal(client, info, options, view)

    return run_with_client(options, attach, outage=outage, keepalive=ATTENDED_KEEPALIVE, run=run_attended)


def logs_command(arguments: Sequence[str]) -> int:
    """Run `farhand logs` and return the exit code."""
    parser = command_parser("logs", "[HOST] ID", _LOGS_DESCRIPTION, _LOGS_EPILOG)
    add = parser.add_argument
    add("-f", "--follow", action="store_true", help="keep showing new output until the run ends")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument(
        "--from",
        metavar="N",
        dest="begin",
        type=size,
        default=0,
        help="start at byte N of stdout, or with --stderr of stderr",
    )
    begin.add_argument("--tail", metavar="SIZE", type=size, help="start SIZE bytes (64K, 1M) before the end")
    stream = parser.add_mutually_exclusive_group()
    stream.add_argument("--stdout", action="store_true", help="show only stdout")
    stream.add_argument("--stderr", action="store_true", help="show only stderr")
    add_run_options(parser)
    add_run_id(parser)
    options = parse_with_host(parser, arguments)
    return run_with_client(options, lambda client: _logs(client, options))


async def _attach_terminal(client: Client, info: RunInfo, options: argparse.Namespace, view: TerminalView) -> int:
    with view.signal_handler() as signals:
        try:
            watches = options.read_only or options.no_stdin
            return (await view.attach(client, info, read_only=watches, share=options.share)).code
        except FarhandError as error:
            return report_error(options, error)
        except asyncio.CancelledError:
            if signals.ended_by is None:
                raise
            return 128 + signals.ended_by


async def _attach_streams(client: Client, options: argparse.Namespace) -> int:
    with RunSignalHandler() as signals:
        try:
            return await _copy_until_end(client, options, signals)
        except FarhandError as error:
            return report_error(options, error)
        except asyncio.CancelledError:
            if signals.ended_by is None:
                raise
            return 128 + signals.ended_by


async def _copy_until_end(client: Client, options: argparse.Namespace, signals: RunSignalHandler) -> int:
    info = await run_with_output(client, options.id)
    stdin: bool | int = False
    if info.stdin is not None and not options.read_only and not options.no_stdin and can_read_stdin():
        # Continue where the run's stdin is; at a terminal every client counts only what it has typed itself.
        stdin = info.stdin if info.terminal is None else True
    require_stdout("the output of the run would be lost")
    json = JsonOutput(0, 0) if options.json else None
    on_gap = print_gap if json is None else json.gap
    output = json or StandardWriters()
    async with client.attach(info.id, stdin=stdin, read_only=options.read_only, on_gap=on_gap) as run:
        if not options.read_only:
            signals.run = run
        if run.stdin is not None and run.stdin.over and run.result is None:
            print_message("another client sends this run's stdin; yours is not read")
        if info.stdin is None and not options.read_only and not options.no_stdin:
            UnreadStdin("this run reads no stdin; yours was not passed on").report()
        result = await copy_streams(run, output)
    if json is not None:
        print_json(end_report(result))
    elif isinstance(result.outcome, Killed | TimedOut):
        print_message(f"the command {describe(result.outcome)}")
    elif (sentence := stopped_sentence(result, OPTION_OF_RUN)) is not None:
        print_message(sentence)
    return outcome_exit_code(result.outcome)


async def _logs(client: Client, options: argparse.Namespace) -> int:
    info = await run_with_output(client, options.id)
    stdout, stderr = _offsets(info, options)
    require_stdout("the output of the run would be lost")
    json = JsonOutput(stdout, stderr) if options.json else None
    output = json or StandardWriters()
    attaching = client.attach(
        info.id,
        offset=(None if options.stderr else stdout, None if options.stdout else stderr),
        hold=False,
        follow=options.follow,
        read_only=True,
        on_gap=print_gap if json is None else json.gap,
    )
    try:
        async with attaching as run:
            with contextlib.suppress(RunGoesOn):
                result = await copy_streams(run, output)
                if json is not None:
                    print_json(end_report(result))
    except SpawnError as error:
        report_error(options, error)  # the program never ran, so there was no output to show: still 0
    return 0


def _offsets(run: RunInfo, options: argparse.Namespace) -> tuple[int, int]:
    if options.tail is None:
        return (0, options.begin) if options.stderr else (options.begin, 0)
    return max(0, run.stdout - options.tail), max(0, run.stderr - options.tail)
