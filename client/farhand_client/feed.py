"""Feeds a run's stdin from a file or from any source of chunks, as fast as the program takes it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator
from typing import IO, Final, TypeAlias

from farhand_protocol.limits import KiB

from .stdin import InputStream

READ_SIZE: Final = 256 * KiB
"""Bytes read at once: four data frames; a pipe gives 64 KiB at the most."""

Source: TypeAlias = "int | IO[bytes] | AsyncIterable[bytes]"


async def feed(stdin: InputStream, source: Source) -> None:
    """Write all of `source` to `stdin`, then close it. Raises what reading raises, and what `drain` does."""
    async for chunk in source if isinstance(source, AsyncIterable) else chunks(source):
        stdin.write(chunk)
        await stdin.drain()
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
