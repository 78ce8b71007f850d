"""Plays a recording on the user's terminal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, Sequence
from typing import Any, Final, Protocol

from farhand_client.output import Gap, Output
from farhand_client.terminal.input import TerminalSignals
from farhand_client.terminal.local import LocalTerminal, TerminalOutput
from farhand_client.terminal.screen import ScreenTracker
from farhand_client.terminal.sequences import CANCEL_SEQUENCE
from farhand_protocol.limits import KiB
from farhand_protocol.messages.terminal import WindowSize

from .events import NewlineTranslator, RecordedEvent
from .player import Player

_READ_SIZE: Final = 4 * KiB
"""Bytes of keys read at once: what Linux returns at most (N_TTY_BUF_SIZE)."""


MAX_REPORTED_GAPS: Final = 1000
"""Gaps that are reported after playing: a recording that was kept has one of each stream, and gaps cost no credit."""


class RecordingWriter(Protocol):
    """Writes a recording's stderr to this process's stderr if that is redirected away from the terminal."""

    async def write(self, chunks: Sequence[bytes]) -> None:
        """Return once all bytes are written. Raises OSError."""


class TerminalPlayback:
    """Plays on `terminal` what was recorded on a terminal of `size`, or without one if `size` is None.

    Without one, LF is written as CR LF, and stderr goes to `stderr` if that is given. Keys: space pauses and continues,
    Ctrl-Z suspends, q and Ctrl-C end playback.
    """

    def __init__(self, terminal: LocalTerminal, size: WindowSize | None, stderr: RecordingWriter | None = None) -> None:
        self.gaps: Final[list[Gap]] = []
        """The first gaps met while playing; they cannot be reported on the terminal in use."""
        self._terminal = terminal
        self._stderr = stderr
        self._recorded_size = size
        shown = size or terminal.size
        self._screen = ScreenTracker(shown.columns, shown.rows)
        self._newlines = NewlineTranslator()
        self._ready = asyncio.Event()
        self._output = TerminalOutput(terminal, self._ready.set, self._end)
        self._ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._player: Player | None = None

    async def play(self, events: AsyncIterable[RecordedEvent], speed: float, idle_limit: float) -> bool:
        """Play to the end, or until the user ends it; return whether that was by Ctrl-C. The terminal is restored."""
        loop = asyncio.get_running_loop()
        with self._terminal.raw(), TerminalSignals(self, lambda: self._terminal.size):
            self._player = Player(self, speed, idle_limit)
            playing = asyncio.create_task(self._player.play(events))
            loop.add_reader(self._terminal.fd, self._read_keys)
            try:
                ends: list[asyncio.Future[Any]] = [playing, self._ended]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if not playing.done():
                    return self._ended.result()
                await playing
                return False
            finally:
                loop.remove_reader(self._terminal.fd)
                playing.cancel()
                await asyncio.wait([playing])
                self._release_terminal(end_row=True)

    # Implements PlaybackTarget.

    async def write(self, stream: Output, data: bytes) -> None:
        if stream == "stderr" and self._stderr is not None:
            with contextlib.suppress(OSError):  # the reader of the redirected stderr is gone
                await self._stderr.write([data])
            return
        if self._recorded_size is None:
            data = self._newlines.translate(data)
        self._screen.feed(data)
        self._terminal.set_undo_sequence(self._screen.undo_sequence())
        self._ready.clear()
        self._output.write(data)
        if not self._output.idle:
            await self._ready.wait()

    def set_size(self, columns: int, rows: int) -> None:
        self._screen.resize(columns, rows)

    def report_gap(self, gap: Gap) -> None:
        if len(self.gaps) < MAX_REPORTED_GAPS:
            self.gaps.append(gap)

    # Implements TerminalObserver.

    def resized(self, size: WindowSize) -> None:
        pass  # the recording was made for another size anyway

    def suspend(self) -> None:
        self._release_terminal()
        paused = self._pause()
        self._terminal.suspend()
        self._reclaim_terminal(b"")
        if paused:
            self._resume()

    def continued(self) -> None:
        self._terminal.restore_raw()
        self._reclaim_terminal((CANCEL_SEQUENCE if self._output.discard() else b"") + self._screen.undo_sequence())

    def _read_keys(self) -> None:
        keys = self._terminal.read(_READ_SIZE)
        # Only a byte that arrives alone is a key: terminals answer queries of programs, and a q may be in an answer.
        match keys:
            case None:
                return
            case b"":
                self._end()
            case b"q":
                self._end()
            case b" ":
                if not self._pause():
                    self._resume()
            case b"\x1a":
                self.suspend()
            case _ if b"\x03" in keys:
                self._end(interrupted=True)

    def _end(self, *, interrupted: bool = False) -> None:
        if not self._ended.done():
            self._ended.set_result(interrupted)

    def _pause(self) -> bool:
        """Pause; return whether playback was not already paused."""
        assert self._player is not None
        paused = not self._player.paused
        self._player.pause()
        return paused

    def _resume(self) -> None:
        assert self._player is not None
        self._player.resume()

    def _release_terminal(self, *, end_row: bool = False) -> None:
        undo = (CANCEL_SEQUENCE if self._output.discard() else b"") + self._screen.undo_sequence()
        self._terminal.set_undo_sequence(undo + (b"\r\n" if end_row and self._ends_within_row() else b""))

    def _reclaim_terminal(self, before: bytes) -> None:
        self._output.write(before + self._screen.repaint(self._terminal.size.rows))
        self._ready.set()  # what was being written is part of the repainted screen

    def _ends_within_row(self) -> bool:
        """Whether the cursor is not at the start of a row once the main screen is shown."""
        shown = self._screen.emulator
        saved = shown.saved[0]
        return bool(shown.x) if not self._screen.alternate else saved is not None and bool(saved.x)
