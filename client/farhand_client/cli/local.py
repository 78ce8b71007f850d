"""`farhand local`: a service of one's own for one command or one REPL, and nothing left of it."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from farhand_client.client import Client
from farhand_client.connection.address import MAX_SOCKET_PATH
from farhand_client.connector import connect
from farhand_client.errors import FarhandError
from farhand_client.pending import Pending
from farhand_client.ui.interrupts import RunSignalHandler

from .execute import RemoteCommand, execute
from .private import PrivateService

SOCKET: Final = "farhandd.sock"

HERE: Final = "local"
"""What the REPL calls it."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="farhand local",
        usage="farhand local [--] [ARG…]",
        description="Start a private service on a Unix socket, run one command through it (without one: a REPL), "
        "exit with its code and leave nothing behind.",
        allow_abbrev=False,
    )
    if arguments and arguments[0] in ("-h", "--help"):
        parser.parse_args(["--help"])
    words = list(arguments[1:] if arguments[:1] == ["--"] else arguments)
    if words and arguments[0].startswith("-") and arguments[0] != "--":
        parser.error(f"there is no option {arguments[0]}; a command that begins with - comes after --")
    directory = Path(tempfile.mkdtemp(prefix="farhand-"))
    try:
        if len(os.fsencode(directory / SOCKET)) > MAX_SOCKET_PATH:
            raise FarhandError(f"the path {directory} is too long for a socket (unix(7)); set TMPDIR to a shorter one")
        return asyncio.run(_local(directory, words))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _local(directory: Path, words: list[str]) -> int:
    service = PrivateService(directory, directory / SOCKET)
    try:
        with RunSignalHandler() as signals:
            try:
                await service.start()
            except asyncio.CancelledError:
                if signals.ended_by is None:
                    raise
                return 128 + signals.ended_by

        def opening() -> Pending[Client]:
            # What this service ran is gone with it.
            return connect(f"unix:{directory / SOCKET}", reconnect=None)

        if not words:
            return await _repl(opening)
        return await execute(opening, RemoteCommand([os.fsencode(word) for word in words], {}), None)
    finally:
        await service.stop()


async def _repl(opening: Callable[[], Pending[Client]]) -> int:
    from farhand_client import repl

    from .options import add_connection_options
    from .repl import opening_of

    parser = argparse.ArgumentParser()
    add_connection_options(parser)
    usual = opening_of(parser.parse_args([]))
    return await repl.main(HERE, lambda name, aside: (lambda watch: opening()) if name == HERE else usual(name, aside))
