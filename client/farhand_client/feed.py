"""Feeds a run's stdin from a file or from any source of chunks, as fast as the program takes it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Coroutine
from typing import IO, Any, Final, TypeAlias, TypeVar

from farhand_protocol.limits import KiB

from .errors import ConnectionLost
from .stdin import InputStream

T = TypeVar("T")

READ_SIZE: Final = 256 * KiB
"""Bytes read at once: four data frames; a pipe gives 64 KiB at the most."""

Source: TypeAlias = "int | IO[bytes] | AsyncIterable[bytes]"


async def fed(stdin: InputStream, source: Source, end: Coroutine[Any, Any, T]) -> T:
    """Return what `end` does, while all of `source` is written to `stdin`, which is closed after it.

    Raises what `end` raises, or else what reading the source does. A program need not read all of its stdin.
    """
    ending = asyncio.ensure_future(end)
    feeding = asyncio.ensure_future(_feed(stdin, source))
    tasks: list[asyncio.Task[Any]] = [ending, feeding]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if feeding.done() and not ending.done():
            feeding.result()
        return await ending
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _feed(stdin: InputStream, source: Source) -> None:
    async for chunk in source if isinstance(source, AsyncIterable) else chunks(source):
        try:
            stdin.write(chunk)
            await stdin.drain()
        except (BrokenPipeError, ConnectionLost):
            return  # the run is over, and its outcome says more
    stdin.close()


async def chunks(file: int | IO[bytes]) -> AsyncIterator[bytes]:
    """Give the bytes of a file descriptor or of an open binary file as they come.

    A pipe, socket or terminal is read past Python's buffer, once it has something, and its mode is left alone: a
    non-blocking stdin would be non-blocking for every process that shares it.
    """
    fd = _descriptor(file)
    if fd is None:
        assert not isinstance(file, int)
        while chunk := file.read(READ_SIZE):
            yield chunk
        return
    while True:
        await _readable(fd)
        try:
            chunk = os.read(fd, READ_SIZE)
        except BlockingIOError:
            continue
        if not chunk:
            return
        yield chunk


def _descriptor(file: int | IO[bytes]) -> int | None:
    if isinstance(file, int):
        return file
    try:
        return None if file.seekable() else file.fileno()
    except OSError:  # io.UnsupportedOperation: not a file of the system's
        return None


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(fd, ready.set)
    except PermissionError:  # epoll_ctl(2): a regular file is always readable
        await asyncio.sleep(0)
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
