"""Every run that is started comes to its end, whatever happens on the way, and the registry forgets it then."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

import pytest

from farhand_protocol.outcome import Exited, Killed
from farhand_server.runs import process as process_module
from farhand_server.runs.process import prepare_loop
from farhand_server.runs.registry import Draining, IdConflict, Registry, TooManyRuns
from farhand_server.runs.run import Plan, Result, Run
from tests.support.processes import children, descriptors, reaped, session_is_gone

PATIENCE = 10.0
_numbers = itertools.count()


def plan(*argv: str, run_id: str | None = None, kill_after: float = 5.0) -> Plan:
    """A run of `argv` with the test's own environment."""
    return Plan(
        id=run_id or str(next(_numbers)),
        owner="ada",
        argv=tuple(os.fsencode(argument) for argument in argv),
        cwd=b"/",
        env=dict(os.environb),
        stdin=False,
        merge_stderr=False,
        timeout=None,
        kill_after=kill_after,
        linger=0.1,
        spool=65536,
    )


class Watching:
    """A watcher that remembers; `on_start` may make trouble."""

    def __init__(self, on_start: Callable[[], None] = lambda: None) -> None:
        self.told: list[str] = []
        self.pid = 0
        self.result: Result | None = None
        self.over = asyncio.Event()
        self._on_start = on_start
        self.running = asyncio.Event()

    def started(self, pid: int) -> None:
        """Watcher."""
        self.told.append("started")
        self.pid = pid
        self.running.set()
        self._on_start()

    def stdin_taken(self, count: int) -> None:
        """Watcher."""

    def ended(self, result: Result) -> None:
        """Watcher."""
        self.told.append("ended")
        self.result = result
        self.over.set()

    def failed(self) -> None:
        """Watcher."""
        self.told.append("failed")
        self.over.set()


class Log:
    """What the registry reports."""

    def __init__(self, others: list[int]) -> None:
        self.others = others
        """Children that are not the registry's."""
        self.ended: list[Run] = []
        self.failed: list[Exception] = []
        self.registry = Registry(lambda run, _: self.ended.append(run), lambda _, error: self.failed.append(error))

    async def idle(self) -> None:
        """Wait until nothing runs."""
        async with asyncio.timeout(PATIENCE):
            await self.registry.idle()


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    """A registry on a loop that is made for processes."""
    prepare_loop()
    others = children(os.getpid())
    yield Log(others)
    await reaped(others)


async def test_a_run_goes_from_its_start_to_its_end(log: Log) -> None:
    watching = Watching()
    log.registry.start(plan("sh", "-c", "exit 3"), watching, max_runs=10)
    assert len(log.registry) == 1
    await log.idle()
    assert watching.told == ["started", "ended"]
    assert watching.result is not None
    assert watching.result.outcome == Exited(code=3)
    assert len(log.registry) == 0
    assert len(log.ended) == 1


async def test_an_id_is_taken_from_the_start_and_for_long_after_the_end(log: Log) -> None:
    log.registry.start(plan("true", run_id="one"), Watching(), max_runs=10)
    with pytest.raises(IdConflict, match="one"):
        log.registry.start(plan("true", run_id="one"), Watching(), max_runs=10)
    await log.idle()
    with pytest.raises(IdConflict, match="one"):
        log.registry.start(plan("true", run_id="one"), Watching(), max_runs=10)


async def test_no_more_runs_at_once_than_allowed(log: Log) -> None:
    log.registry.start(plan("true"), Watching(), max_runs=1)
    with pytest.raises(TooManyRuns, match="1 runs"):
        log.registry.start(plan("true"), Watching(), max_runs=1)
    await log.idle()
    log.registry.start(plan("true"), Watching(), max_runs=1)
    await log.idle()


async def test_none_are_started_once_that_is_said(log: Log) -> None:
    log.registry.refuse_new()
    with pytest.raises(Draining):
        log.registry.start(plan("true"), Watching(), max_runs=10)


async def test_all_are_stopped_within_the_grace_of_the_service(log: Log) -> None:
    watchers = [Watching() for _ in range(3)]
    for watching in watchers:
        log.registry.start(plan("sh", "-c", "trap '' TERM; sleep 60", kill_after=3600), watching, max_runs=10)
        async with asyncio.timeout(PATIENCE):
            await watching.running.wait()
    log.registry.stop_all("draining", kill_after=0.1)
    await log.idle()
    for watching in watchers:
        assert watching.result is not None
        assert isinstance(watching.result.outcome, Killed)
        assert watching.result.outcome.reason == "draining"


async def test_a_run_that_nobody_watches_comes_to_its_end(log: Log) -> None:
    run = log.registry.start(plan("sh", "-c", "head -c 10000000 /dev/zero"), Watching(), max_runs=10)
    run.unwatch()
    await log.idle()
    assert log.ended == [run]
    assert run.stdout.end == 10_000_000


async def test_a_fault_of_the_service_before_the_start_is_told_and_leaves_nothing(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*arguments: object, **options: object) -> NoReturn:
        raise RuntimeError("a fault")

    watching = Watching()
    before = descriptors(os.getpid())
    monkeypatch.setattr(process_module.Process, "start", fault)
    log.registry.start(plan("true"), watching, max_runs=10)
    await log.idle()
    assert watching.told == ["failed"]
    assert [str(error) for error in log.failed] == ["a fault"]
    assert descriptors(os.getpid()) == before


async def test_a_fault_of_the_service_at_the_start_ends_the_program(log: Log) -> None:
    def fault() -> NoReturn:
        raise RuntimeError("a fault")

    watching = Watching(on_start=fault)
    before = descriptors(os.getpid())
    log.registry.start(plan("sleep", "60"), watching, max_runs=10)
    await log.idle()
    assert watching.told == ["started", "failed"]
    assert [str(error) for error in log.failed] == ["a fault"]
    await session_is_gone(watching.pid)
    await reaped(log.others)
    assert descriptors(os.getpid()) == before


async def test_signals_after_the_end_reach_nobody(log: Log) -> None:
    watching = Watching()
    run = log.registry.start(plan("true"), watching, max_runs=10)
    await log.idle()
    assert not run.signal(signal.SIGKILL)
    run.stop("requested")
    run.write_stdin(b"late")
    run.end_stdin()
    assert watching.told == ["started", "ended"]
