"""Whoever holds a loop for too long is counted and named; a loop that has nothing to do is left alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from types import FrameType

import pytest

from farhand_protocol import messages as m
from farhand_server import loopwatch
from farhand_server.logs import LogValue
from farhand_server.loopwatch import Holds, LoopWatch, ProcessorWait, Suspect
from tests.support.client import TIMEOUT
from tests.support.history import LogFile

HELD_FOR = 0.15
"""Seconds: three times the limit."""

looked = threading.Event()
"""Set when somebody has looked at the stack."""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogFile]:
    file = LogFile(tmp_path)
    yield file
    file.close()


@pytest.fixture(autouse=True)
def enough_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a busy machine takes away counts as time of the loop here, and does not keep another hold from the log."""
    monkeypatch.setattr(loopwatch, "HOLD_LOG_INTERVAL", 0.0)
    monkeypatch.setattr(ProcessorWait, "seconds", lambda self: 0.0)


@pytest.fixture(autouse=True)
def noted_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    look = loopwatch.suspect_in

    def noted(frame: FrameType, loop: asyncio.AbstractEventLoop, label: Suspect | None = None) -> Suspect:
        try:
            return look(frame, loop, label)
        finally:
            looked.set()

    monkeypatch.setattr(loopwatch, "suspect_in", noted)


def hold() -> None:
    """Hold the loop until somebody has looked at the stack, and then for `HELD_FOR`."""
    looked.clear()
    looked.wait(TIMEOUT)
    time.sleep(HELD_FOR)


class Session:
    """Acts for somebody, and is slow."""

    acts_for: Mapping[str, LogValue] = {"user": "mallory", "peer": "192.0.2.1:9"}

    def received(self, message: m.Ping) -> None:
        """Hold the loop."""
        hold()


def watched(log: LogFile, work: Callable[[LoopWatch], Coroutine[object, object, None]]) -> Holds:
    """Run `work` on a watched loop."""
    watch = LoopWatch(log.logger)

    async def run() -> None:
        watch.start()
        try:
            await work(watch)
        finally:
            watch.close()

    with asyncio.Runner(loop_factory=watch.new_loop) as runner:
        runner.run(run())
    return watch.holds


def test_a_hold_is_counted_and_says_who_held_the_loop_with_what(log: LogFile) -> None:
    async def work(watch: LoopWatch) -> None:
        asyncio.get_running_loop().call_soon(Session().received, m.Ping(id=1))
        await asyncio.sleep(0.01)

    holds = watched(log, work)
    assert holds.times >= 1
    assert holds.total >= holds.longest >= HELD_FOR
    (line,) = [line for line in str(log).splitlines() if "mallory" in line]
    assert 'msg="the loop was held"' in line
    assert "user=mallory peer=192.0.2.1:9 message=ping" in line
    assert "handler=tests.server.test_loopwatch.Session.received" in line


def test_the_task_is_named_if_nothing_else_says_for_whom(log: LogFile) -> None:
    async def held() -> None:
        hold()

    async def work(watch: LoopWatch) -> None:
        await asyncio.create_task(held(), name="run 42")

    watched(log, work)
    assert 'task="run 42"' in str(log)


def test_short_turns_are_not_counted_however_many(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # what a busy machine takes away does not count

    async def work(watch: LoopWatch) -> None:
        for _ in range(1000):
            await asyncio.sleep(0)

    async def long(watch: LoopWatch) -> None:
        await asyncio.sleep(HELD_FOR)  # the loop waits, and nobody holds it

    assert watched(log, work).times <= 10  # a busy machine may stop us now and then
    assert watched(log, long).times <= 1


def test_work_on_any_loop_can_be_watched(log: LogFile) -> None:
    watch = LoopWatch(log.logger)

    async def work() -> None:
        watch.start()
        with watch.turn("read", {"peer": "192.0.2.2:9"}), watch.turn("decrypt", {}):
            hold()
        watch.close()

    asyncio.run(work())
    assert watch.holds.times == 1
    assert "handler=decrypt" in str(log)


def test_a_hold_that_does_not_end_is_logged_meanwhile(log: LogFile) -> None:
    async def work(watch: LoopWatch) -> None:
        until = time.monotonic() + TIMEOUT
        while "the loop is held" not in str(log) and time.monotonic() < until:
            time.sleep(0.01)  # this is what is to be noticed

    watched(log, work)
    assert str(log).count("the loop is held") == 1


def test_many_holds_are_counted_but_fill_no_log(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopwatch, "HOLD_LOG_INTERVAL", TIMEOUT)
    watch = LoopWatch(log.logger, limit=0.0)

    async def work() -> None:
        watch.start()
        for _ in range(100):
            await asyncio.sleep(0)
        monkeypatch.setattr(loopwatch, "HOLD_LOG_INTERVAL", 0.0)
        await asyncio.sleep(0)
        watch.close()

    with asyncio.Runner(loop_factory=watch.new_loop) as runner:
        runner.run(work())
    assert watch.holds.times >= 100
    lines = str(log).splitlines()
    assert len(lines) < 50  # the first, those that are twice as long, and those after the interval
    counts = [int(line.partition("more_holds=")[2] or 0) for line in lines]
    assert sum(counts) + len(lines) == watch.holds.times
    assert max(counts) > 1


def test_waiting_for_a_processor_is_not_the_loops_doing(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessorWait, "seconds", lambda self: time.monotonic())  # all of the time

    async def work(watch: LoopWatch) -> None:
        time.sleep(HELD_FOR)  # as if there was no processor
        await asyncio.sleep(0)

    assert watched(log, work) == Holds()
    assert not str(log)


def test_the_wait_for_a_processor_only_grows() -> None:
    wait = ProcessorWait()
    first = wait.seconds()
    assert 0 <= first <= wait.seconds()
    wait.close()
    wait.close()
    assert wait.seconds() == 0


def test_an_idle_loop_is_not_looked_at(log: LogFile) -> None:
    looks: list[int] = []

    async def work(watch: LoopWatch) -> None:
        (thread,) = [each for each in threading.enumerate() if each.name == "loop watch"]
        status = Path(f"/proc/self/task/{thread.native_id}/status")

        def wakeups() -> int:
            line = next(line for line in status.read_text().splitlines() if line.startswith("voluntary"))
            return int(line.split()[1])

        await asyncio.sleep(0.1)
        before = wakeups()
        await asyncio.sleep(0.5)
        looks.append(wakeups() - before)

    watched(log, work)
    assert looks[0] <= 4  # 20 if it went on looking; a wake-up may wait for the interpreter's lock as well
