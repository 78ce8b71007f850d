"""An outage is reported once it has lasted a while, and its end only if the outage was reported."""

from __future__ import annotations

import asyncio

import pytest

from farhand_client.connection.reconnecting import Outage
from farhand_client.errors import ConnectionLost
from farhand_client.ui.outages import OUTAGE_NOTICE_DELAY, OutageNotice
from tests.support.clock import virtual_time

DOWN = Outage(ConnectionLost("cut"), 86400.0)
LOST = "connection to web lost; reconnecting (for up to 24 h)"


@virtual_time
async def test_a_short_outage_is_not_reported(capsys: pytest.CaptureFixture[str]) -> None:
    notice = OutageNotice("web")
    notice(DOWN)
    await asyncio.sleep(OUTAGE_NOTICE_DELAY / 2)
    notice(None)
    await asyncio.sleep(2 * OUTAGE_NOTICE_DELAY)
    assert capsys.readouterr().err == ""


@virtual_time
async def test_a_longer_outage_and_its_end_are_reported_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    notice = OutageNotice("web")
    notice(DOWN)
    await asyncio.sleep(OUTAGE_NOTICE_DELAY + 0.1)
    assert capsys.readouterr().err == f"farhand: {LOST}\n"
    notice(None)
    assert capsys.readouterr().err == "farhand: connected to web again\n"


@virtual_time
async def test_an_outage_is_reported_once_however_many_attempts_fail(capsys: pytest.CaptureFixture[str]) -> None:
    notice = OutageNotice("web")
    for _ in range(3):
        notice(DOWN)
        await asyncio.sleep(2 * OUTAGE_NOTICE_DELAY)
    assert capsys.readouterr().err.count("\n") == 1


@virtual_time
async def test_inside_the_block_another_owner_of_the_terminal_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    notice, shown = OutageNotice("web"), list[str | None]()
    with notice.through(shown.append):
        notice(DOWN)
        await asyncio.sleep(OUTAGE_NOTICE_DELAY + 0.1)
        notice(None)
    assert (shown, capsys.readouterr().err) == ([LOST, None], "")


@virtual_time
async def test_a_touch_is_shown_at_once_and_not_covered_by_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    notice, shown = OutageNotice("web"), list[str | None]()
    notice.touch("touch it")
    notice(DOWN)
    notice(None)
    assert capsys.readouterr().err == "farhand: touch it\n"
    with notice.through(shown.append):
        notice(DOWN)
        notice.touch("touch it")
        await asyncio.sleep(2 * OUTAGE_NOTICE_DELAY)
        notice(None)
    assert (shown, capsys.readouterr().err) == (["touch it", None], "")


@virtual_time
async def test_after_close_nothing_more_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    notice = OutageNotice("web")
    notice(DOWN)
    notice.close()
    await asyncio.sleep(2 * OUTAGE_NOTICE_DELAY)
    assert capsys.readouterr().err == ""
