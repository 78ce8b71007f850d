"""`farhand signal`: a signal to a run that is there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from farhand_client.client import Client
from farhand_client.signals import parse_signal
from farhand_client.ui.printing import print_json

from .connection import run_with_client, whole_id
from .options import add_run_options, command_parser
from .values import run_id

EPILOG = """\
SIG is a name or one of Linux's numbers: TERM, SIGTERM, 15. It goes to the run's process group. Exit code: 0 once it is
delivered; 255 where it is not, also because the run is over.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    given = command_parser("signal", "HOST ID SIG", "Send a signal to a run.", EPILOG)
    add_run_options(given)
    given.add_argument("id", metavar="ID", type=run_id)
    given.add_argument("signal", metavar="SIG", type=_signal)
    options = given.parse_args(arguments)
    return run_with_client(options, lambda client: _send(client, options))


async def _send(client: Client, options: argparse.Namespace) -> int:
    one = await whole_id(client, options.id)
    await client.signal(one, options.signal)
    if options.json:
        print_json({"run_id": one, "signal": options.signal})
    return 0


def _signal(text: str) -> int:
    try:
        return parse_signal(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
