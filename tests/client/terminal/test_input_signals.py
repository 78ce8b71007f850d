"""Resizes and job control are reported; a storm of sizes becomes at most twenty a second, always with the last one."""

from __future__ import annotations

import asyncio
import itertools
import signal

from farhand_client.terminal.input import RESIZE_INTERVAL, TerminalSignals
from farhand_protocol.messages.terminal import WindowSize
from tests.support.clock import virtual_time


class Window:
    """A window and an observer that records what is reported, and when."""

    def __init__(self) -> None:
        self.size = WindowSize(columns=80, rows=24)
        self.sizes: list[tuple[float, int]] = []
        self.jobs: list[str] = []
        self.signals = TerminalSignals(self, lambda: self.size)

    def resized(self, size: WindowSize) -> None:
        self.sizes.append((asyncio.get_running_loop().time(), size.columns))

    def suspend(self) -> None:
        self.jobs.append("suspend")

    def continued(self) -> None:
        self.jobs.append("continued")

    def resize(self, columns: int) -> None:
        self.size = WindowSize(columns=columns, rows=24)
        signal.raise_signal(signal.SIGWINCH)


@virtual_time
async def test_the_first_size_is_reported_at_once() -> None:
    window = Window()
    with window.signals:
        start_time = asyncio.get_running_loop().time()
        window.resize(100)
        await asyncio.sleep(RESIZE_INTERVAL)
    assert window.sizes == [(start_time, 100)]


@virtual_time
async def test_the_first_and_last_size_of_a_storm_and_few_between_are_reported() -> None:
    window = Window()
    with window.signals:
        for columns in range(100, 150):
            window.resize(columns)
            await asyncio.sleep(0.002)
        await asyncio.sleep(RESIZE_INTERVAL)
    times = [at for at, _ in window.sizes]
    assert (window.sizes[0][1], window.sizes[-1][1]) == (100, 149)
    assert len(times) == 3
    assert all(later - earlier > RESIZE_INTERVAL - 1e-6 for earlier, later in itertools.pairwise(times))


@virtual_time
async def test_an_unchanged_size_is_not_reported() -> None:
    window = Window()
    with window.signals:
        for columns in (80, 81, 82, 81):
            window.resize(columns)
            await asyncio.sleep(RESIZE_INTERVAL / 10)
        await asyncio.sleep(2 * RESIZE_INTERVAL)
    assert [columns for _, columns in window.sizes] == [81]


@virtual_time
async def test_stopping_and_continuing_are_reported() -> None:
    window = Window()
    with window.signals:
        for number in (signal.SIGTSTP, signal.SIGCONT):
            signal.raise_signal(number)
            await asyncio.sleep(0.001)
    assert window.jobs == ["suspend", "continued"]


@virtual_time
async def test_nothing_is_reported_after_exit() -> None:
    before = signal.getsignal(signal.SIGWINCH)
    window = Window()
    with window.signals:
        window.resize(100)
        await asyncio.sleep(0.001)
        window.resize(101)
        await asyncio.sleep(0.001)
    window.resize(102)
    await asyncio.sleep(2 * RESIZE_INTERVAL)
    assert [columns for _, columns in window.sizes] == [100]
    assert signal.getsignal(signal.SIGWINCH) is before is signal.SIG_DFL
