"""Notices are hidden by output and keys, shown again, and removed without a trace."""

from __future__ import annotations

import asyncio

from farhand_client.terminal.notices import (
    MIN_NOTICE_DURATION,
    NOTICE_DURATION,
    NOTICE_REDRAW_DELAY,
    NoticeRow,
    Notices,
)
from farhand_client.terminal.screen import ScreenTracker
from tests.support.clock import virtual_time


class Terminal:
    """Records what is written to it."""

    def __init__(self) -> None:
        self.screen = ScreenTracker(80, 24)
        self.row = NoticeRow(self.screen)
        self.notices = Notices(self.row, self.update)
        self.written: list[bytes] = []

    def update(self) -> None:
        if data := self.notices.update():
            self.written.append(data)

    def output(self, data: bytes) -> None:
        self.written.append(self.notices.hide_for_output() + data)
        self.screen.feed(data)
        self.update()

    @property
    def last(self) -> bytes:
        return self.written[-1] if self.written else b""


@virtual_time
async def test_a_permanent_notice_stays_whatever_is_typed() -> None:
    terminal = Terminal()
    terminal.notices.set_permanent("connection lost")
    assert b"connection lost" in terminal.last
    terminal.notices.key_pressed()
    await asyncio.sleep(10 * NOTICE_DURATION)
    assert len(terminal.written) == 1
    terminal.notices.set_permanent(None)
    assert len(terminal.written) == 2
    assert not terminal.row.shown


@virtual_time
async def test_a_key_removes_a_temporary_notice() -> None:
    terminal = Terminal()
    terminal.notices.add_temporary("hello")
    assert b"hello" in terminal.last
    terminal.notices.key_pressed()
    assert not terminal.row.shown


@virtual_time
async def test_a_temporary_notice_expires() -> None:
    terminal = Terminal()
    terminal.notices.add_temporary("hello")
    await asyncio.sleep(NOTICE_DURATION - 0.1)
    assert terminal.row.shown
    await asyncio.sleep(0.2)
    assert not terminal.row.shown


@virtual_time
async def test_a_repeated_notice_is_shown_for_the_full_time_again() -> None:
    terminal = Terminal()
    terminal.notices.add_temporary("hello")
    await asyncio.sleep(NOTICE_DURATION - 0.1)
    terminal.notices.add_temporary("hello")
    await asyncio.sleep(NOTICE_DURATION - 0.1)
    assert terminal.row.shown
    await asyncio.sleep(0.2)
    assert not terminal.row.shown


@virtual_time
async def test_a_notice_can_be_read_before_the_latest_other_one_replaces_it() -> None:
    terminal = Terminal()
    for text in ("first", "second", "third"):
        terminal.notices.add_temporary(text)
    await asyncio.sleep(MIN_NOTICE_DURATION - 0.1)
    assert [b"first" in data for data in terminal.written] == [True]
    await asyncio.sleep(0.2)
    assert [b"third" in data for data in terminal.written] == [False, True]
    terminal.notices.add_temporary("fourth")
    terminal.notices.key_pressed()
    assert b"fourth" in terminal.last
    terminal.notices.key_pressed()
    assert not terminal.row.shown


@virtual_time
async def test_after_a_temporary_notice_the_permanent_one_is_shown_again() -> None:
    terminal = Terminal()
    terminal.notices.set_permanent("connection lost")
    terminal.notices.add_temporary("hello")
    assert b"hello" in terminal.last
    terminal.notices.key_pressed()
    assert b"connection lost" in terminal.last


@virtual_time
async def test_output_removes_a_notice_until_there_is_none_for_a_while() -> None:
    terminal = Terminal()
    terminal.notices.set_permanent("connection lost")
    terminal.output(b"$ ")
    assert not terminal.row.shown
    assert terminal.last.endswith(b"$ ")
    await asyncio.sleep(NOTICE_REDRAW_DELAY - 0.1)
    terminal.output(b"more")
    assert terminal.last == b"more"
    await asyncio.sleep(NOTICE_REDRAW_DELAY - 0.1)
    assert not terminal.row.shown
    await asyncio.sleep(0.2)
    assert b"connection lost" in terminal.last


@virtual_time
async def test_without_a_notice_nothing_is_written() -> None:
    terminal = Terminal()
    assert terminal.notices.hide_for_output() == b""
    assert terminal.notices.update() == b""
    assert terminal.notices.close() == b""


@virtual_time
async def test_a_notice_hidden_for_others_is_shown_again_afterwards() -> None:
    terminal = Terminal()
    terminal.notices.set_permanent("connection lost")
    terminal.output(b"$ ")
    await asyncio.sleep(2 * NOTICE_REDRAW_DELAY)
    assert terminal.notices.hide()
    assert not terminal.row.shown
    terminal.update()
    assert b"connection lost" in terminal.last


@virtual_time
async def test_hiding_for_others_does_not_wait_for_quiet() -> None:
    terminal = Terminal()
    terminal.notices.set_permanent("connection lost")
    terminal.output(b"$ ")
    assert terminal.notices.hide() == b""
    terminal.update()
    assert b"connection lost" in terminal.last


@virtual_time
async def test_closing_removes_all_notices() -> None:
    terminal = Terminal()
    terminal.notices.set_permanent("permanent")
    terminal.notices.add_temporary("temporary")
    assert terminal.notices.close()
    assert not terminal.row.shown
    terminal.output(b"x")
    await asyncio.sleep(10 * NOTICE_DURATION)
    assert not terminal.row.shown
