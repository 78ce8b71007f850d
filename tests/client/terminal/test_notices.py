"""What we say on the terminal gives way to output and keys, comes back, and goes without a trace."""

from __future__ import annotations

import asyncio

import pytest

from farhand_client.terminal import notices as module
from farhand_client.terminal.notices import NOTICE_REDRAW_DELAY, NoticeRow, Notices
from farhand_client.terminal.screen import ScreenTracker


class Terminal:
    """Shows what it is given, and knows whether `text` is seen."""

    def __init__(self) -> None:
        self.screen = ScreenTracker(80, 24)
        self.notice = NoticeRow(self.screen)
        self.notes = Notices(self.notice, self.bring)
        self.written: list[bytes] = []
        self.changed = asyncio.Event()

    def bring(self) -> None:
        if data := self.notes.update():
            self.written.append(data)
        self.changed.set()

    def output(self, data: bytes) -> None:
        self.written.append(self.notes.hide_for_output() + data)
        self.screen.feed(data)
        self.bring()

    @property
    def last(self) -> bytes:
        return self.written[-1] if self.written else b""

    async def until(self, shown: bool) -> None:
        async with asyncio.timeout(10):
            while self.notice.shown is not shown:
                self.changed.clear()
                await self.changed.wait()


async def test_a_lasting_note_stays_whatever_is_typed() -> None:
    terminal = Terminal()
    terminal.notes.set_permanent("the line is down")
    assert b"the line is down" in terminal.last
    terminal.notes.key_pressed()
    assert len(terminal.written) == 1
    terminal.notes.set_permanent(None)
    assert len(terminal.written) == 2
    assert not terminal.notice.shown


async def test_a_passing_note_goes_at_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    terminal.notes.add_temporary("hello")
    assert b"hello" in terminal.last
    terminal.notes.key_pressed()
    assert not terminal.notice.shown


async def test_a_passing_note_goes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NOTICE_DURATION", 0.05)
    terminal = Terminal()
    terminal.notes.add_temporary("hello")
    await terminal.until(False)


async def test_a_note_is_not_taken_away_by_another_before_it_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_NOTICE_DURATION", 0.05)
    terminal = Terminal()
    for text in ("first", "second", "third"):
        terminal.notes.add_temporary(text)
    assert [b"first" in data for data in terminal.written] == [True]
    async with asyncio.timeout(10):
        while b"third" not in terminal.last:
            terminal.changed.clear()
            await terminal.changed.wait()
    assert len(terminal.written) == 2
    terminal.notes.add_temporary("fourth")
    terminal.notes.key_pressed()
    assert b"fourth" in terminal.last
    terminal.notes.key_pressed()
    assert not terminal.notice.shown


async def test_behind_a_passing_note_the_lasting_one_is_seen_again() -> None:
    terminal = Terminal()
    terminal.notes.set_permanent("the line is down")
    terminal.notes.add_temporary("hello")
    assert b"hello" in terminal.last
    terminal.notes.key_pressed()
    assert b"the line is down" in terminal.last


async def test_output_takes_it_away_and_quiet_brings_it_back() -> None:
    terminal = Terminal()
    terminal.notes.set_permanent("the line is down")
    terminal.output(b"$ ")
    assert not terminal.notice.shown
    assert terminal.last.endswith(b"$ ")
    terminal.output(b"more")
    assert terminal.last == b"more"
    began = asyncio.get_running_loop().time()
    await terminal.until(True)
    assert asyncio.get_running_loop().time() - began > NOTICE_REDRAW_DELAY * 0.9
    assert b"the line is down" in terminal.last


async def test_without_a_note_output_is_left_alone() -> None:
    terminal = Terminal()
    assert terminal.notes.hide_for_output() == b""
    assert terminal.notes.update() == b""
    assert terminal.notes.close() == b""


async def test_who_leaves_for_a_while_finds_the_lasting_note_again() -> None:
    terminal = Terminal()
    terminal.notes.set_permanent("the line is down")
    assert terminal.notes.hide()
    assert not terminal.notice.shown
    terminal.bring()
    assert b"the line is down" in terminal.last


async def test_closing_takes_everything_away() -> None:
    terminal = Terminal()
    terminal.notes.set_permanent("lasting")
    terminal.notes.add_temporary("passing")
    assert terminal.notes.close()
    assert not terminal.notice.shown
    terminal.output(b"x")
    await asyncio.sleep(2 * NOTICE_REDRAW_DELAY)
    assert not terminal.notice.shown
