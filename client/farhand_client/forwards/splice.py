"""Joins two pairs of asyncio's streams."""

from __future__ import annotations

import asyncio
from typing import Final, TypeAlias

from farhand_protocol.limits import KiB

SPLICE_READ_SIZE: Final = 64 * KiB
"""Bytes copied at once: what a reader and a writer of asyncio hold before they wait."""

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def splice(one: Streams, other: Streams) -> None:
    """Copy in both directions until both have ended. An end passes on as one, an error as a reset of both.

    Raises OSError.
    """
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(one[0], other[1]))
            group.create_task(_copy(other[0], one[1]))
    except BaseException as error:
        for _, writer in (one, other):
            writer.transport.abort()
        if isinstance(error, ExceptionGroup):
            raise error.exceptions[0] from None
        raise
    for _, writer in (one, other):
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(SPLICE_READ_SIZE):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
