"""`farhand kill` and `farhand signal`: stop runs with everything they started, or send them a signal."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from farhand_client.client import Client
from farhand_client.errors import FarhandError, SpawnError
from farhand_client.results import Result, describe
from farhand_client.signals import parse_signal
from farhand_client.ui.left import process_names
from farhand_client.ui.printing import print_json, print_output
from farhand_protocol.sentences import printable

from .connection import for_each_run, report_error, resolve_id, run_with_client
from .default_host import parse_with_host
from .options import add_run_id, add_run_options, command_parser
from .status import end_report
from .values import duration

_KILL_EPILOG: Final = """\
Waits until each run is over and prints how it ended, also if it had ended before.

Exit code: 0 after all runs are over, whatever their outcome; 255 if that is not known.
"""

_SIGNAL_EPILOG: Final = """\
The signal is sent to the run's process group, once.

Exit code: 0 if it was delivered; 255 if not, also because the run is over.
"""


def kill_command(arguments: Sequence[str]) -> int:
    """Run `farhand kill` and return the exit code."""
    description = "Stop runs and everything they started: TERM, wait, then KILL."
    parser = command_parser("kill", "[HOST] ID…", description, _KILL_EPILOG)
    parser.add_argument(
        "--kill-after",
        metavar="TIME",
        type=duration,
        help="time between TERM and KILL (default: the run's own setting)",
    )
    add_run_options(parser)
    add_run_id(parser, several=True)
    if (name := _hyphened_signal(arguments)) is not None:
        parser.error(f"kill takes no signal; to send {name}: farhand signal [HOST] ID {name}")
    options = parse_with_host(parser, arguments)

    async def kill(client: Client) -> int:
        return max(await for_each_run(client, options, _kill_run))

    return run_with_client(options, kill)


def signal_command(arguments: Sequence[str]) -> int:
    """Run `farhand signal` and return the exit code."""
    parser = command_parser("signal", "[HOST] ID SIG", "Send a signal to a run.", _SIGNAL_EPILOG)
    add_run_options(parser)
    add_run_id(parser)
    parser.add_argument("signal", metavar="SIG", type=_signal, help="name or Linux number: TERM, SIGTERM, 15")
    if (name := _hyphened_signal(arguments)) is not None:
        parser.error(f"the signal comes last, without a hyphen: farhand signal [HOST] ID {name}")
    options = parse_with_host(parser, arguments)

    async def send(client: Client) -> int:
        full_id = await resolve_id(client, options.id)
        await client.signal(full_id, options.signal)
        if options.json:
            print_json({"run_id": full_id, "signal": options.signal})
        return 0

    return run_with_client(options, send)


async def _kill_run(client: Client, full_id: str, options: argparse.Namespace) -> int:
    try:
        result = await client.stop(full_id, options.kill_after)
    except FarhandError as error:
        code = report_error(options, error)
        return 0 if isinstance(error, SpawnError) else code
    if options.json:
        print_json(end_report(result))
    else:
        print_output(printable(f"{full_id} {describe(result.outcome)}{_left(result)}"))
    return 0


def _left(result: Result) -> str:
    left = result.left_processes
    if left is None or not left.stopped:
        return ""
    return f"; stopped {left.counted} that it left behind: {process_names(left)}"


def _hyphened_signal(arguments: Sequence[str]) -> str | None:
    """Return the signal that is written as for kill(1): `-9`, `-HUP`, `-s HUP`."""
    first = arguments[0] if arguments else ""
    name = arguments[1] if first == "-s" and len(arguments) > 1 else first[1:]
    try:
        parse_signal(name)
    except ValueError:
        return None
    return name if first.startswith("-") else None


def _signal(text: str) -> int:
    try:
        return parse_signal(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
