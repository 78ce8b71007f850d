"""`farhand kill`: TERM, a grace, KILL, for a run and everything it started."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from farhand_client.client import Client
from farhand_client.errors import FarhandError, SpawnError
from farhand_client.results import describe

from .carry import tell
from .options import grace, parser
from .printable import printable
from .show import show
from .status import of_end
from .working import add_common, asked, failed, of_each, run_id

EPILOG = """\
Waits until the run is over and says how it ended; of one that was over before, how that was. Exit code: 0 once all of
them are over, whatever they ended with; 255 where that is not known.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    given = parser("kill", "HOST ID…", "End runs with everything they started: TERM, a grace, KILL.", EPILOG)
    given.add_argument(
        "--kill-after", metavar="S", type=grace, help="seconds between TERM and KILL (default: the run's own)"
    )
    add_common(given)
    given.add_argument("ids", metavar="ID", type=run_id, nargs="+")
    options = given.parse_args(arguments)
    return asked(options, lambda client: _all(client, options))


async def _all(client: Client, options: argparse.Namespace) -> int:
    return max(await of_each(client, options, _one))


async def _one(client: Client, one: str, options: argparse.Namespace) -> int:
    try:
        result = await client.stop(one, options.kill_after)
    except FarhandError as error:
        code = failed(options, error)
        return 0 if isinstance(error, SpawnError) else code
    if options.json:
        tell(of_end(result))
    else:
        show(printable(f"{one} {describe(result.outcome)}"))
    return 0
