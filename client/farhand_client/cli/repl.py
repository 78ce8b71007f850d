"""`farhand repl`: the connection options, then the REPL itself."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .options import add_connection_options, add_escape

if TYPE_CHECKING:
    from farhand_client.repl.link import Opening
    from farhand_client.repl.main import Aside, OpeningOf


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="farhand repl", description="Type commands that another machine's shell runs.", allow_abbrev=False
    )
    add_escape(parser, "-e", "--escape")
    add_connection_options(parser)
    parser.add_argument("host", metavar="HOST")
    options = parser.parse_args(arguments)
    from farhand_client import repl

    return asyncio.run(repl.main(options.host, opening_of(options), options.escape))


def opening_of(options: argparse.Namespace) -> OpeningOf:
    """Return what connects to a host of any name with these connection options."""

    def of(name: str, aside: Aside) -> Opening:
        from farhand_client.connector import KEEPALIVE, connect
        from farhand_client.repl.main import attended

        from .staying import KEEPALIVE as ATTENDED
        from .staying import STAYING
        from .terminal import confirm, passphrase

        # A script ends with its line: what follows may rely on what came before.
        return lambda watch: connect(
            name,
            identities=options.identity,
            accept_new=options.accept_new,
            confirm=lambda unknown: aside(lambda: confirm(unknown)),
            passphrase=lambda prompt: aside(lambda: passphrase(prompt)),
            timeout=options.connect_timeout,
            keepalive=ATTENDED if attended() else KEEPALIVE,
            reconnect=STAYING if attended() else None,
            watch=watch,
        )

    return of
