"""`farhand repl`: the connection options, then the REPL itself."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .options import add_connection_options, add_escape, command_parser

if TYPE_CHECKING:
    from farhand_client.repl.link import Opening
    from farhand_client.repl.main import Aside, OpeningOf

EPILOG = """\
Each line is a run of its own, on a terminal; its directory and environment last. What cd, export and unset do lasts
where they begin the line. An & at the end leaves the line running there, also when you leave. Commands that begin
with a colon are for the REPL: :help lists them. Where stdin or stdout is no terminal, stdin is a script for the
remote shell. exit and the end of stdin leave. Exit code: the last line's; 255 where the connection failed.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    given = command_parser("repl", "HOST", "Type commands that another machine's shell runs.", EPILOG)
    add_escape(given, "-e", "--escape")
    add_connection_options(given)
    given.add_argument("host", metavar="HOST")
    options = given.parse_args(arguments)
    from farhand_client import repl

    return asyncio.run(repl.main(options.host, opening_of(options), options.escape))


def opening_of(options: argparse.Namespace) -> OpeningOf:
    """Return what connects to a host of any name with these connection options."""

    def of(name: str, aside: Aside) -> Opening:
        from farhand_client.connector import KEEPALIVE_INTERVAL, connect
        from farhand_client.repl.main import attended
        from farhand_client.ui.outages import ATTENDED_KEEPALIVE as ATTENDED
        from farhand_client.ui.outages import ATTENDED_RECONNECT
        from farhand_client.ui.prompts import ask_passphrase, confirm_host_key

        # A script ends with its line: what follows may rely on what came before.
        return lambda watch: connect(
            name,
            identities=options.identity,
            accept_new=options.accept_new,
            confirm=lambda unknown: aside(lambda: confirm_host_key(unknown)),
            passphrase=lambda prompt: aside(lambda: ask_passphrase(prompt)),
            timeout=options.connect_timeout,
            keepalive=ATTENDED if attended() else KEEPALIVE_INTERVAL,
            reconnect=ATTENDED_RECONNECT if attended() else None,
            watch=watch,
        )

    return of
