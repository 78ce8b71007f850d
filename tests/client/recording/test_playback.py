"""A recording on the user's terminal: what is shown, the keys, and how the terminal is left."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import termios
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

import pytest

from farhand_client.output import Gap
from farhand_client.recording.events import GapEvent, OutputEvent, RecordedEvent, ResizeEvent
from farhand_client.recording.playback import TerminalPlayback
from farhand_client.recording.player import Player
from farhand_client.terminal import local
from farhand_client.terminal.local import LocalTerminal
from farhand_protocol.messages.terminal import WindowSize
from tests.support.fake_terminals import FULL_SCREEN
from tests.support.ptys import TIMEOUT, Pty, terminal

FOREVER = 1e6
SIZE = WindowSize(columns=80, rows=24)


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


class File:
    """A redirected stderr; with `error`, its reader has closed it."""

    def __init__(self, *, error: bool = False) -> None:
        self.written = b""
        self._error = error

    async def write(self, chunks: Sequence[bytes]) -> None:
        if self._error:
            raise BrokenPipeError
        self.written += b"".join(chunks)


def output(*parts: bytes, then: float = 0.0) -> list[RecordedEvent]:
    """Yield the first part at once, and the others after `then` seconds."""
    return [OutputEvent(then if at else 0.0, "stdout", part) for at, part in enumerate(parts)]


async def given(events: Sequence[RecordedEvent]) -> AsyncGenerator[RecordedEvent]:
    for event in events:
        yield event


@contextlib.asynccontextmanager
async def playing(
    pty: Pty, events: Sequence[RecordedEvent], size: WindowSize | None = SIZE, stderr: File | None = None
) -> AsyncIterator[tuple[TerminalPlayback, asyncio.Task[bool]]]:
    with LocalTerminal(pty.slave) as local_terminal:
        playback = TerminalPlayback(local_terminal, size, stderr)
        task = asyncio.create_task(playback.play(given(events), 1.0, math.inf))
        try:
            yield playback, task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_output_is_shown_as_it_was_and_gaps_are_returned(pty: Pty) -> None:
    gap = Gap("stdout", 0, 7)
    events = [GapEvent(0.0, gap), ResizeEvent(0.0, 100, 30), *output(b"a\nb\r\n")]
    async with playing(pty, events) as (playback, task):
        assert await task is False
    assert await pty.shows(b"b\r\n") == b"a\n"
    assert playback.gaps == [gap]


async def test_without_a_recorded_terminal_newlines_end_rows(pty: Pty) -> None:
    async with playing(pty, output(b"a\nb\n"), size=None) as (_, task):
        assert await task is False
    assert await pty.shows(b"b\r\n") == b"a\r\n"


@pytest.mark.parametrize("error", [False, True])
async def test_stderr_is_written_elsewhere_if_it_is_redirected(pty: Pty, error: bool) -> None:
    file = File(error=error)
    events = [OutputEvent(0.0, "stderr", b"err"), OutputEvent(0.0, "stdout", b"out\n")]
    async with playing(pty, events, size=None, stderr=file) as (_, task):
        assert await task is False
    assert await pty.shows(b"out\r\n") == b""
    assert file.written == (b"" if error else b"err")


@pytest.mark.parametrize(("key", "interrupted"), [(b"q", False), (b"\x03", True), (b"x\x03", True)])
async def test_a_key_ends_playback_and_the_terminal_is_restored(pty: Pty, key: bytes, interrupted: bool) -> None:
    before = pty.modes
    async with playing(pty, output(FULL_SCREEN, b"never", then=FOREVER)) as (_, task):
        await pty.shows(FULL_SCREEN)
        assert pty.raw
        pty.type(key)
        assert await task is interrupted
    assert pty.modes == before
    await pty.shows(b"\x1b[?1049l")


async def test_a_row_that_was_started_is_ended(pty: Pty) -> None:
    async with playing(pty, output(b"$ ")) as (_, task):
        await task
    await pty.shows(b"$ \r\n")


class Calls(list[str]):
    """Records the calls of a player, which are still made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._changed = asyncio.Event()
        for name in ("pause", "resume"):
            monkeypatch.setattr(Player, name, self._recording(name, getattr(Player, name)))

    def _recording(self, name: str, method: Callable[[Player], None]) -> Callable[[Player], None]:
        def call(player: Player) -> None:
            method(player)
            self.append(name)
            self._changed.set()

        return call

    async def until(self, *calls: str) -> None:
        async with asyncio.timeout(TIMEOUT):
            while self != list(calls):
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


async def test_space_pauses_and_continues(pty: Pty, calls: Calls) -> None:
    async with playing(pty, output(b"first", b"never", then=FOREVER)) as (_, task):
        await pty.shows(b"first")
        pty.type(b" ")
        await calls.until("pause")
        pty.type(b" ")
        await calls.until("pause", "pause", "resume")
        pty.type(b"q")
        assert await task is False


async def test_an_answer_of_the_terminal_is_not_a_key(pty: Pty) -> None:
    async with playing(pty, output(b"query", b"last", then=0.2)) as (_, task):
        await pty.shows(b"query")
        pty.type(b"\x1b[0;q q")
        await pty.shows(b"last")
        assert await task is False


async def test_a_terminal_that_hangs_up_ends_playback(pty: Pty) -> None:
    async with playing(pty, output(b"first", b"never", then=FOREVER)) as (_, task):
        await pty.shows(b"first")
        pty.hang_up()
        assert await task is False


async def test_a_held_terminal_holds_playback_and_not_the_keys(pty: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "FINAL_WRITE_TIMEOUT", 0.01)
    pty.read_output(False)
    async with playing(pty, output(bytes(1 << 20), b"never")) as (_, task):
        pty.type(b"q")
        assert await task is False
    pty.read_output()


async def test_a_resize_changes_nothing(pty: Pty) -> None:
    async with playing(pty, output(b"first", b"last", then=0.2)) as (_, task):
        await pty.shows(b"first")
        pty.resize(40, 10)
        os.kill(os.getpid(), signal.SIGWINCH)
        assert await pty.shows(b"last") == b""
        assert await task is False


@pytest.mark.parametrize("paused", [False, True])
async def test_a_suspended_playback_is_repainted_and_continues_unless_it_was_paused(
    pty: Pty, calls: Calls, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    monkeypatch.setattr(LocalTerminal, "suspend", lambda terminal: calls.append("suspend"))
    async with playing(pty, output(b"screen", b"never", then=FOREVER)) as (_, task):
        await pty.shows(b"screen")
        if paused:
            pty.type(b" ")
            await calls.until("pause")
        pty.type(b"\x1a")
        await pty.shows(b"screen")
        await calls.until(*(["pause", "pause", "suspend"] if paused else ["pause", "suspend", "resume"]))
        pty.type(b"q")
        assert await task is False


async def test_a_continued_playback_restores_raw_mode_and_is_repainted(pty: Pty) -> None:
    before = pty.modes
    async with playing(pty, output(b"screen", b"never", then=FOREVER)) as (_, task):
        await pty.shows(b"screen")
        termios.tcsetattr(pty.slave, termios.TCSANOW, before)
        os.kill(os.getpid(), signal.SIGCONT)
        await pty.shows(b"screen")
        assert pty.raw
        pty.type(b"q")
        assert await task is False
