"""A pseudoterminal for a test, which reads and types on the user's side."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from tests.support import warm

TIMEOUT = 45.0
"""Timeout, in seconds, for expected output."""


class Pty:
    """Both ends of a pseudoterminal. `shown` is the output that no wait has consumed yet."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self.slave)
        self.shown = b""
        self._changed = asyncio.Event()
        self.resize(columns, rows)
        self.read_output()

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def modes(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    @property
    def raw(self) -> bool:
        return not self.modes[1] & termios.OPOST

    def type(self, data: bytes) -> None:
        """Type data that fits into the kernel's buffers."""
        assert os.write(self.master, data) == len(data)

    async def paste(self, data: bytes) -> None:
        """Type any amount of data, as fast as it is read."""
        loop = asyncio.get_running_loop()
        left = memoryview(data)
        while left:
            with contextlib.suppress(BlockingIOError):
                left = left[os.write(self.master, left) :]
            if left:
                room = asyncio.Event()
                loop.add_writer(self.master, room.set)
                await asyncio.wait_for(room.wait(), TIMEOUT)
                loop.remove_writer(self.master)

    async def shows(self, text: bytes) -> bytes:
        """Wait for `text`; consume it and return the output before it."""
        await self.sees(text)
        before, _, self.shown = self.shown.partition(text)
        return before

    async def sees(self, text: bytes) -> None:
        """Wait for `text` without consuming anything."""
        async with self._expecting(text):
            while text not in self.shown:
                await self._more()

    async def changes(self) -> None:
        """Wait for output that no wait has consumed yet."""
        async with self._expecting(b"output"):
            while not self.shown:
                await self._more()

    async def until_raw(self, raw: bool = True) -> None:
        """Wait until the terminal is in raw mode, or no longer is."""
        async with self._expecting(b"raw" if raw else b"not raw"):
            while self.raw is not raw:  # noqa: ASYNC110  # there is no notification
                await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def _expecting(self, what: bytes) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TIMEOUT):
                yield
        except TimeoutError:
            raise AssertionError(f"expected {what!r}; the terminal shows {self.shown[-4000:]!r}") from None

    async def _more(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def read_output(self, on: bool = True) -> None:
        """Start reading output as a terminal does, or stop reading."""
        loop = asyncio.get_running_loop()
        if on:
            loop.add_reader(self.master, self._read)
        else:
            loop.remove_reader(self.master)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.shown += os.read(self.master, 1 << 16)
            self._changed.set()

    def hang_up(self) -> None:
        """Close the terminal's side, as closing a window does."""
        if self.master >= 0:
            self.read_output(False)
            os.close(self.master)
            self.master = -1

    def close(self) -> None:
        self.hang_up()
        os.close(self.slave)

    @contextlib.asynccontextmanager
    async def running(
        self, *arguments: str, env: Mapping[str, str] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a program as session leader on this terminal; kill it at the end if it still runs."""
        process = await warm.start(*arguments, stdin=asyncio.subprocess.DEVNULL, env=env, terminal=self.path)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def terminal(columns: int = 80, rows: int = 24) -> AsyncIterator[Pty]:
    """Open a terminal; close it at the end."""
    pty = Pty(columns, rows)
    try:
        yield pty
    finally:
        pty.close()


def children(pid: int) -> list[int]:
    """Return the running children of `pid`."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
