"""`farhand logs`: what a run has written, from its beginning or from anywhere, and with -f what it writes."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence

from farhand_client.client import Client
from farhand_client.errors import RunGoesOn, SpawnError
from farhand_client.ui.printing import print_gap, print_json
from farhand_client.ui.streams import JsonOutput, copy_streams

from .connection import report_error, run_with_client
from .options import add_run_options, command_parser
from .status import end_report
from .values import run_id, size

EPILOG = """\
Both streams are shown, stdout on ours and stderr on ours. What is no longer kept is said on stderr, to the byte. Exit
code: 0 once all that is kept was shown, however the run ended; 255 where the connection failed.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    given = command_parser("logs", "HOST ID", "Show what a run has written.", EPILOG)
    add = given.add_argument
    add("-f", "--follow", action="store_true", help="go on with what it writes, until it ends")
    begin = given.add_mutually_exclusive_group()
    begin.add_argument(
        "--from",
        metavar="N",
        dest="begin",
        type=size,
        default=0,
        help="begin at byte N of stdout, or with --stderr of that",
    )
    begin.add_argument("--tail", metavar="SIZE", type=size, help="begin so many bytes (K, M) before the end")
    stream = given.add_mutually_exclusive_group()
    stream.add_argument("--stdout", action="store_true", help="stdout only")
    stream.add_argument("--stderr", action="store_true", help="stderr only")
    add_run_options(given)
    add("id", metavar="ID", type=run_id)
    options = given.parse_args(arguments)
    return run_with_client(options, lambda client: _logs(client, options))


async def _logs(client: Client, options: argparse.Namespace) -> int:
    stdout, stderr = await _offsets(client, options)
    offset = (None if options.stderr else stdout, None if options.stdout else stderr)
    lines = JsonOutput(stdout, stderr) if options.json else None
    attaching = client.attach(
        options.id,
        offset=offset,
        hold=False,
        follow=options.follow,
        read_only=True,
        on_gap=print_gap if lines is None else lines.gap,
    )
    try:
        async with attaching as run:
            with contextlib.suppress(RunGoesOn):
                result = await copy_streams(run, lines)
                if lines is not None:
                    print_json(end_report(result))
    except SpawnError as error:
        report_error(options, error)  # it has written nothing, and that was shown
    return 0


async def _offsets(client: Client, options: argparse.Namespace) -> tuple[int, int]:
    if options.tail is None:
        return (0, options.begin) if options.stderr else (options.begin, 0)
    run = await client.info(options.id)
    return max(0, run.stdout - options.tail), max(0, run.stderr - options.tail)
