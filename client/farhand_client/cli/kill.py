"""`farhand kill`: TERM, a grace, KILL, for a run and everything it started."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from farhand_client.client import Client
from farhand_client.errors import FarhandError, SpawnError
from farhand_client.results import describe
from farhand_client.ui.printing import print_json, print_output
from farhand_client.ui.text import printable

from .connection import for_each_run, report_error, run_with_client
from .options import add_run_options, command_parser
from .status import end_report
from .values import nonnegative_seconds, run_id

EPILOG = """\
Waits until the run is over and says how it ended; of one that was over before, how that was. Exit code: 0 once all of
them are over, whatever they ended with; 255 where that is not known.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    given = command_parser("kill", "HOST ID…", "End runs with everything they started: TERM, a grace, KILL.", EPILOG)
    given.add_argument(
        "--kill-after",
        metavar="S",
        type=nonnegative_seconds,
        help="seconds between TERM and KILL (default: the run's own)",
    )
    add_run_options(given)
    given.add_argument("ids", metavar="ID", type=run_id, nargs="+")
    options = given.parse_args(arguments)
    return run_with_client(options, lambda client: _all(client, options))


async def _all(client: Client, options: argparse.Namespace) -> int:
    return max(await for_each_run(client, options, _one))


async def _one(client: Client, one: str, options: argparse.Namespace) -> int:
    try:
        result = await client.stop(one, options.kill_after)
    except FarhandError as error:
        code = report_error(options, error)
        return 0 if isinstance(error, SpawnError) else code
    if options.json:
        print_json(end_report(result))
    else:
        print_output(printable(f"{one} {describe(result.outcome)}"))
    return 0
