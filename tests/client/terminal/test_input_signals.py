"""What happens to the terminal is told: sizes at most twenty times a second, the last one always."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time

from farhand_client.terminal.input import RESIZE_INTERVAL, TerminalSignals
from farhand_protocol.messages.terminal import WindowSize


class Shown:
    """Keeps what it is told, and when."""

    def __init__(self) -> None:
        self.size = WindowSize(columns=80, rows=24)
        self.told: list[tuple[float, WindowSize]] = []
        self.jobs: list[str] = []
        self.changed = asyncio.Event()

    def resized(self, size: WindowSize) -> None:
        self.told.append((time.monotonic(), size))
        self.changed.set()

    def suspend(self) -> None:
        self.jobs.append("suspend")
        self.changed.set()

    def continued(self) -> None:
        self.jobs.append("continued")
        self.changed.set()

    def resize(self, columns: int) -> None:
        self.size = WindowSize(columns=columns, rows=24)
        os.kill(os.getpid(), signal.SIGWINCH)

    async def until(self, columns: int) -> None:
        async with asyncio.timeout(10):
            while not self.told or self.told[-1][1].columns != columns:
                self.changed.clear()
                await self.changed.wait()


async def test_the_first_size_is_told_at_once() -> None:
    shown = Shown()
    with TerminalSignals(shown, lambda: shown.size):
        began = time.monotonic()
        shown.resize(100)
        await shown.until(100)
    assert shown.told[0][0] - began < RESIZE_INTERVAL


async def test_of_a_storm_the_first_and_the_last_are_told_and_few_between() -> None:
    shown = Shown()
    with TerminalSignals(shown, lambda: shown.size):
        for columns in range(100, 150):
            shown.resize(columns)
            await asyncio.sleep(0.002)
        await shown.until(149)
    times = [at for at, _ in shown.told]
    assert shown.told[0][1].columns == 100
    assert all(later - earlier >= RESIZE_INTERVAL * 0.9 for earlier, later in itertools.pairwise(times))


async def test_a_size_that_is_the_same_is_not_told() -> None:
    shown = Shown()
    with TerminalSignals(shown, lambda: shown.size):
        shown.resize(80)
        shown.resize(81)
        await shown.until(81)
        shown.resize(82)
        shown.resize(81)
        await asyncio.sleep(2 * RESIZE_INTERVAL)
    assert [size.columns for _, size in shown.told] == [81]


async def test_stopping_and_continuing_are_told() -> None:
    shown = Shown()
    with TerminalSignals(shown, lambda: shown.size):
        for number, name in ((signal.SIGTSTP, "suspend"), (signal.SIGCONT, "continued")):
            shown.changed.clear()
            os.kill(os.getpid(), number)
            await shown.changed.wait()
            assert shown.jobs.pop() == name


async def test_nothing_is_told_afterwards() -> None:
    shown = Shown()
    with TerminalSignals(shown, lambda: shown.size):
        shown.resize(100)
        await shown.until(100)
        shown.resize(101)
        await asyncio.sleep(0)
    shown.resize(102)
    await asyncio.sleep(2 * RESIZE_INTERVAL)
    assert [size.columns for _, size in shown.told] == [100]
    assert signal.getsignal(signal.SIGWINCH) is signal.SIG_DFL
