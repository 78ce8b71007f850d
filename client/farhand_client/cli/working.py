"""What the commands share that work with runs that are there."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from farhand_client.client import Client
from farhand_client.ids import checked_prefix, is_run_id

from .connection import opening
from .lineword import LineWord
from .main import USAGE, say
from .options import RECONNECT, add_connection_options, seconds

SHORTEST: Final = 4
"""Characters of an id: as in git, fewer are more likely a mistake than meant."""


def parser(name: str, usage: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of a command that takes HOST, without the options that its own are shown before."""
    return argparse.ArgumentParser(
        prog=f"farhand {name}",
        usage=f"farhand {name} [OPTION…] {usage}",
        description=description,
        epilog=epilog,
        allow_abbrev=False,
    )


def add_common(parser: argparse.ArgumentParser, *, reconnect: bool = True) -> None:
    """Add `--json`, what connects, and HOST."""
    parser.add_argument("--json", action="store_true", help="JSON instead, an object on each line")
    if reconnect:
        parser.add_argument(
            "--reconnect",
            metavar="S",
            type=grace,
            default=RECONNECT,
            help="seconds for which a lost connection is made again (default 120; 0: not at all)",
        )
    add_connection_options(parser)
    parser.add_argument("host", metavar="HOST")


def grace(text: str) -> float:
    """Return a number of seconds from 0 on; for argparse."""
    return 0.0 if float(text) == 0 else seconds(text)


def run_id(text: str) -> str:
    """Return a run's id, whole or its beginning; for argparse."""
    try:
        checked_prefix(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if len(text) < SHORTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is too short for an id; {SHORTEST} characters are needed")
    return text


def asked(options: argparse.Namespace, act: Callable[[Client], Awaitable[int]]) -> int:
    """Connect, and return the exit code that `act` comes to."""
    word = LineWord(options.host)

    async def connected() -> int:
        reconnect = getattr(options, "reconnect", None)
        try:
            async with opening(options.host, options, reconnect=reconnect, watch=word) as client:
                return await act(client)
        finally:
            word.close()

    try:
        return asyncio.run(connected())
    except ValueError as error:  # also of a HOST or an id that means nothing, or several
        say(str(error))
        return USAGE


async def whole_id(client: Client, text: str) -> str:
    """Return the id that begins with `text`. Raises what `Client.info` does."""
    return text if is_run_id(text) else (await client.info(text)).id
