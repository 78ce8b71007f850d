"""A recording on the terminal in front of the user."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, Sequence
from typing import Any, Final, Protocol

from farhand_client.output import Gap, Output
from farhand_client.terminal.changes import Changes
from farhand_client.terminal.local import LocalTerminal
from farhand_client.terminal.output import TerminalOutput
from farhand_client.terminal.screen import Screen
from farhand_client.terminal.sequences import CANCEL
from farhand_protocol.limits import KiB
from farhand_protocol.messages.terminal import WindowSize

from .events import Event
from .player import Player
from .rows import RowsEnd

_READ: Final = 4 * KiB
"""Bytes of keys at once: what Linux gives (N_TTY_BUF_SIZE)."""


class Writer(Protocol):
    """Takes bytes, and returns once they are written."""

    async def write(self, chunks: Sequence[bytes]) -> None:
        """Raises OSError."""


class OnTerminal:
    """Plays what was made on a terminal of `size`, or on none, on `terminal`.

    Without one, newlines end rows, and stderr goes to `stderr` if that is given.
    """

    def __init__(self, terminal: LocalTerminal, size: WindowSize | None, stderr: Writer | None = None) -> None:
        self.missed: Final[list[Gap]] = []
        """What was missing on the way, and could not be said."""
        self._terminal = terminal
        self._stderr = stderr
        self._made_on = size
        shown = size or terminal.size
        self._screen = Screen(shown.columns, shown.rows)
        self._rows_end = RowsEnd()
        self._free = asyncio.Event()
        self._output = TerminalOutput(terminal, self._free.set, self._leave)
        self._over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._player: Player | None = None

    async def play(self, events: AsyncIterable[Event], speed: float, idle_limit: float) -> bool:
        """Play to the end, or until the user wants no more; return whether that was said by Ctrl-C. The terminal is
        then as it was."""
        loop = asyncio.get_running_loop()
        with self._terminal.raw(), Changes(self, lambda: self._terminal.size):
            self._player = Player(self, speed, idle_limit)
            playing = asyncio.create_task(self._player.play(events))
            loop.add_reader(self._terminal.fd, self._read)
            try:
                ends: list[asyncio.Future[Any]] = [playing, self._over]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if not playing.done():
                    return self._over.result()
                await playing
                return False
            finally:
                loop.remove_reader(self._terminal.fd)
                playing.cancel()
                await asyncio.wait([playing])
                self._give_back(below=True)

    # Stage

    async def write(self, stream: Output, data: bytes) -> None:
        """Stage."""
        if stream == "stderr" and self._stderr is not None:
            with contextlib.suppress(OSError):  # whoever has redirected it has gone
                await self._stderr.write([data])
            return
        if self._made_on is None:
            data = self._rows_end.of(data)
        self._screen.feed(data)
        self._terminal.undo(self._screen.undo())
        self._free.clear()
        self._output.write(data)
        if not self._output.free:
            await self._free.wait()

    def sized(self, columns: int, rows: int) -> None:
        """Stage."""
        self._screen.resize(columns, rows)

    def missing(self, gap: Gap) -> None:
        """Stage."""
        self.missed.append(gap)

    # Shown

    def resized(self, size: WindowSize) -> None:
        """Shown. What is played was made for another size anyway."""

    def suspend(self) -> None:
        """Shown."""
        self._give_back()
        paused = self._pause()
        self._terminal.stop()
        self._take_back(b"")
        if paused:
            self._go_on()

    def continued(self) -> None:
        """Shown."""
        self._terminal.again()
        self._take_back((CANCEL if self._output.drop() else b"") + self._screen.undo())

    def _read(self) -> None:
        keys = self._terminal.read(_READ)
        # Only what comes by itself is a key: a terminal answers what programs have asked, and a q may be in that.
        match keys:
            case None:
                return
            case b"":
                self._leave()
            case b"q":
                self._leave()
            case b" ":
                if not self._pause():
                    self._go_on()
            case b"\x1a":
                self.suspend()
            case _ if b"\x03" in keys:
                self._leave(interrupted=True)

    def _leave(self, *, interrupted: bool = False) -> None:
        if not self._over.done():
            self._over.set_result(interrupted)

    def _pause(self) -> bool:
        """Stand still; return whether it did not do so before."""
        assert self._player is not None
        paused = not self._player.paused
        self._player.pause()
        return paused

    def _go_on(self) -> None:
        assert self._player is not None
        self._player.resume()

    def _give_back(self, *, below: bool = False) -> None:
        undo = (CANCEL if self._output.drop() else b"") + self._screen.undo()
        self._terminal.undo(undo + (b"\r\n" if below and self._midway() else b""))

    def _take_back(self, before: bytes) -> None:
        self._output.write(before + self._screen.repaint(self._terminal.size.rows))
        self._free.set()  # what was being written is painted

    def _midway(self) -> bool:
        """Whether the cursor will not be at the begin of a row."""
        shown = self._screen.emulator
        saved = shown.saved[0]
        return bool(shown.x) if not self._screen.alternate else saved is not None and bool(saved.x)
