"""`farhand signal`: a signal to a run that is there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from farhand_client.client import Client
from farhand_client.signals import parse_signal

from .carry import tell
from .options import parser
from .working import add_common, asked, run_id, whole_id

EPILOG = """\
SIG is a name or one of Linux's numbers: TERM, SIGTERM, 15. It goes to the run's process group. Exit code: 0 once it is
delivered; 255 where it is not, also because the run is over.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    given = parser("signal", "HOST ID SIG", "Send a signal to a run.", EPILOG)
    add_common(given)
    given.add_argument("id", metavar="ID", type=run_id)
    given.add_argument("signal", metavar="SIG", type=_signal)
    options = given.parse_args(arguments)
    return asked(options, lambda client: _send(client, options))


async def _send(client: Client, options: argparse.Namespace) -> int:
    one = await whole_id(client, options.id)
    await client.signal(one, options.signal)
    if options.json:
        tell({"run_id": one, "signal": options.signal})
    return 0


def _signal(text: str) -> int:
    try:
        return parse_signal(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
