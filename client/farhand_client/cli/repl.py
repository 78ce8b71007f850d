"""`farhand repl`: the connection options, then the REPL itself."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from .connection import opening
from .options import add_connection_options


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="farhand repl", description="Type commands that another machine's shell runs.", allow_abbrev=False
    )
    add_connection_options(parser)
    parser.add_argument("host", metavar="HOST")
    options = parser.parse_args(arguments)
    from farhand_client import repl

    return asyncio.run(repl.main(lambda: opening(options.host, options)))
