"""SIGHUP that follows the end of the service's terminal is told from a request to reload."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import pytest

from farhand_server import hangup
from farhand_server.hangup import HANGUP_TIME, OwnTerminal, has_terminal


class Controlling:
    """Whether this process seems to have a controlling terminal, which the slave of a pseudoterminal stands in for."""

    def __init__(self) -> None:
        self.there = True
        self.master, self.slave = os.openpty()

    def hang_up(self) -> None:
        self.there = False
        os.close(self.master)
        self.master = -1


@pytest.fixture
def controlling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Controlling]:
    one = Controlling()
    path = os.ttyname(one.slave)
    opened = os.open
    monkeypatch.setattr(hangup, "has_terminal", lambda: one.there)
    monkeypatch.setattr(
        "os.open", lambda name, flags, *more: opened(path if name == "/dev/tty" else name, flags, *more)
    )
    yield one
    os.close(one.slave)
    if one.master >= 0:
        os.close(one.master)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("controlling")
async def test_a_signal_sent_while_the_terminal_is_there_is_no_hangup() -> None:
    own = OwnTerminal(ends_service=True)
    own.watch()
    assert not own.has_hung_up()
    own.close()


async def test_a_signal_after_the_terminal_was_closed_is_a_hangup(controlling: Controlling) -> None:
    own = OwnTerminal(ends_service=True)
    own.watch()
    controlling.hang_up()
    assert own.has_hung_up()
    await turns()
    assert own.has_hung_up(), "the kernel and the shell may both send the signal"


async def test_a_signal_long_after_the_terminal_was_closed_is_no_hangup(
    controlling: Controlling, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = OwnTerminal(ends_service=True)
    own.watch()
    controlling.hang_up()
    await turns()
    now = time.monotonic()
    monkeypatch.setattr("farhand_server.hangup.time.monotonic", lambda: now + HANGUP_TIME)
    assert not own.has_hung_up()


async def test_what_is_typed_is_left_to_others(controlling: Controlling) -> None:
    own = OwnTerminal(ends_service=True)
    own.watch()
    os.write(controlling.master, b"ls\n")
    await turns()
    assert os.read(controlling.slave, 10) == b"ls\n"
    assert not own.has_hung_up()
    own.close()
    own.close()


async def test_a_service_that_does_not_end_with_its_terminal_never_sees_a_hangup(controlling: Controlling) -> None:
    own = OwnTerminal(ends_service=False)
    own.watch()
    controlling.hang_up()
    assert not own.has_hung_up()


async def test_a_terminal_that_was_closed_during_an_upgrade_is_a_hangup(
    controlling: Controlling, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = OwnTerminal(ends_service=True).environment()
    own = OwnTerminal.at_start(resumed=True, environ=environ)
    assert environ == {}
    controlling.hang_up()

    def no_terminal(*_: object) -> int:
        raise OSError(6, "No such device or address")

    monkeypatch.setattr("os.open", no_terminal)
    own.watch()
    assert own.has_hung_up()


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN], ids=["as usual", "nohup"])
@pytest.mark.parametrize("there", [True, False], ids=["terminal", "no terminal"])
def test_only_a_service_started_in_a_terminal_without_nohup_ends_with_it(
    controlling: Controlling, there: bool, handler: signal.Handlers
) -> None:
    controlling.there = there
    before = signal.signal(signal.SIGHUP, handler)
    try:
        own = OwnTerminal.at_start(resumed=False, environ={"FARHANDD_TERMINAL": "1"})
    finally:
        signal.signal(signal.SIGHUP, before)
    follows = there and handler is signal.SIG_DFL
    assert own.environment() == {"FARHANDD_TERMINAL": "1" if follows else "0"}


def test_after_an_upgrade_from_a_program_that_says_nothing_hangups_reload() -> None:
    assert OwnTerminal.at_start(resumed=True, environ={}).environment() == {"FARHANDD_TERMINAL": "0"}


def test_the_kernel_reports_whether_there_is_a_terminal() -> None:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        assert not has_terminal()
    else:
        assert has_terminal()
