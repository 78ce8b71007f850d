"""What the commands share that work with runs that are there."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from farhand_client.client import Client
from farhand_client.errors import FarhandError
from farhand_client.ids import checked_prefix, is_run_id

from .carry import tell
from .connection import KEEPALIVE_INTERVAL, opening
from .exitcode import error_code
from .lineword import LineWord
from .main import USAGE, say
from .options import add_connection_options, add_reconnect
from .status import of_error

SHORTEST: Final = 4
"""Characters of an id: as in git, fewer are more likely a mistake than meant."""


def add_common(parser: argparse.ArgumentParser, *, reconnect: bool = True, shown: bool = False) -> None:
    """Add `--json`, what connects, and HOST; `shown` as `add_reconnect` has it."""
    parser.add_argument("--json", action="store_true", help="JSON instead, an object on each line")
    if reconnect:
        add_reconnect(parser, shown=shown)
    add_connection_options(parser)
    parser.add_argument("host", metavar="HOST")


def run_id(text: str) -> str:
    """Return a run's id, whole or its beginning; for argparse."""
    try:
        checked_prefix(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if len(text) < SHORTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is too short for an id; {SHORTEST} characters are needed")
    return text


def asked(
    options: argparse.Namespace,
    act: Callable[[Client], Awaitable[int]],
    *,
    word: LineWord | None = None,
    keepalive: float = KEEPALIVE_INTERVAL,
    run: Callable[[Coroutine[Any, Any, int]], int] = asyncio.run,
) -> int:
    """Connect, and return the exit code that `act` comes to; `word` tells of a lost connection. `run` has the loop."""
    word = word or LineWord(options.host)

    async def connected() -> int:
        reconnect = getattr(options, "reconnect", None)
        try:
            connecting = opening(options.host, options, reconnect=reconnect, watch=word, keepalive=keepalive)
            async with connecting as client:
                return await act(client)
        finally:
            word.close()

    try:
        return run(connected())
    except ValueError as error:  # also of a HOST or an id that means nothing, or several
        say(str(error))
        return USAGE


async def of_each(
    client: Client, options: argparse.Namespace, act: Callable[[Client, str, argparse.Namespace], Awaitable[int]]
) -> list[int]:
    """Return what `act` comes to for each of the runs, all at once. None is touched where an id is wrong."""
    ids = await asyncio.gather(*(whole_id(client, text) for text in options.ids))
    return await asyncio.gather(*(act(client, one, options) for one in ids))


def failed(options: argparse.Namespace, error: FarhandError) -> int:
    """Say what is wrong, or tell it as JSON; return the exit code."""
    if options.json:
        tell(of_error(error))
    else:
        say(str(error))
    return error_code(error)


async def whole_id(client: Client, text: str) -> str:
    """Return the id that begins with `text`. Raises what `Client.info` does."""
    return text if is_run_id(text) else (await client.info(text)).id
