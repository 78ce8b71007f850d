"""Workers that end or are stuck are replaced, and everybody else sees only their supervisor."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farhand_server.edge import reports, supervisor
from farhand_server.edge.reports import WorkerReports
from farhand_server.edge.supervisor import Supervisor
from farhand_server.hangup import OwnTerminal
from farhand_server.logs import Logger, LogSink
from farhand_server.systemd import Notifier
from tests.server.edge.harness import TEST_TIMEOUT


class RecordingNotifier(Notifier):
    """Records what the service manager is told."""

    def __init__(self, watchdog: float | None = None) -> None:
        super().__init__(watchdog=watchdog)
        self.told: list[str] = []

    def ready(self, status: str) -> bool:
        self.told.append(f"ready: {status}")
        return True

    def reloading(self) -> bool:
        self.told.append("reloading")
        return True

    def stopping(self, status: str) -> bool:
        self.told.append("stopping")
        return True

    def watchdog(self) -> bool:
        self.told.append("watchdog")
        return True


class Workers:
    """What the workers do: each reports that it is ready, and turns until it is told to stop."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        self.status_after_reload = "serving"

    def work(self, to: WorkerReports) -> int:
        """Be a worker; never return to the test."""

        async def turn() -> None:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, lambda: to.ready(self.status_after_reload))
            stop = asyncio.Event()
            loop.add_signal_handler(signal.SIGTERM, stop.set)
            to.ready("serving")
            os.write(self._writing, os.getpid().to_bytes(4, "big"))
            turning = asyncio.create_task(to.keep_watchdog())
            gone = asyncio.create_task(to.supervisor_gone())
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait((gone, stopped), return_when=asyncio.FIRST_COMPLETED)
            turning.cancel()

        try:
            asyncio.run(turn())
        finally:
            os._exit(0)

    def next(self) -> int:
        """Return the pid of the next worker that is ready."""
        assert select.select([self._reading], [], [], TEST_TIMEOUT)[0], "no worker became ready"
        return int.from_bytes(os.read(self._reading, 4), "big")

    def close(self) -> None:
        os.close(self._reading)
        os.close(self._writing)


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers()
    yield made
    made.close()


def supervise(
    workers: Workers,
    steps: Callable[[], None],
    *,
    work: Callable[[WorkerReports], int] | None = None,
    notifier: Notifier | None = None,
    parent: int | None = None,
    log: int = 2,
) -> int:
    """Run a supervisor of two workers in this process, as it has to be in the main thread, and `steps` in another; stop
    it when these are done. Return its exit code."""
    errors: list[BaseException] = []
    ready = threading.Event()

    def act() -> None:
        try:
            assert ready.wait(TEST_TIMEOUT)
            steps()
        except BaseException as error:  # noqa: BLE001  # raised below
            errors.append(error)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=act)
    supervising = Supervisor(
        2,
        work or workers.work,
        Logger(LogSink(log), {}),
        notifier or Notifier(),
        terminal=OwnTerminal(ends_service=False),
        ready=ready.set,
        parent=parent,
    )
    handler = signal.signal(signal.SIGTERM, lambda *_: None)  # in case it ends by itself
    thread.start()
    try:
        code = supervising.run()
        thread.join(TEST_TIMEOUT)
    finally:
        signal.signal(signal.SIGTERM, handler)
    for error in errors:
        raise error
    return code


def test_it_is_ready_when_all_workers_are_and_ends_when_they_have_ended(workers: Workers) -> None:
    notifier = RecordingNotifier()
    pids: set[int] = set()

    def steps() -> None:
        pids.update((workers.next(), workers.next()))

    assert supervise(workers, steps, notifier=notifier) == 0
    assert len(pids) == 2
    assert notifier.told == ["ready: serving", "stopping"]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_worker_that_is_killed_is_replaced_at_once_however_often_while_the_other_goes_on(
    workers: Workers, tmp_path: Path
) -> None:
    def steps() -> None:
        first, second = workers.next(), workers.next()
        for _ in range(3):
            os.kill(first, signal.SIGKILL)
            first = workers.next()
        os.kill(second, 0)

    with (tmp_path / "log").open("wb") as log:
        assert supervise(workers, steps, log=log.fileno()) == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.partition("msg=")[2].partition(" worker=")[0] for line in lines] == [
        '"edge worker exited; starting another" code=-9'
    ] * 3


def test_a_worker_that_no_longer_turns_is_killed_and_replaced(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "TURN_INTERVAL", 0.1)
    monkeypatch.setattr(supervisor, "STUCK_TIME", 3.0)

    def steps() -> None:
        first, second = workers.next(), workers.next()
        os.kill(first, signal.SIGSTOP)
        assert workers.next() not in (first, second)
        os.kill(second, 0)

    assert supervise(workers, steps) == 0


def test_a_worker_that_fails_at_the_first_start_ends_the_edge(workers: Workers) -> None:
    def work(reports: WorkerReports) -> int:
        os._exit(3)

    ready: list[None] = []
    supervising = Supervisor(
        2,
        work,
        Logger(LogSink(), {}),
        Notifier(),
        terminal=OwnTerminal(ends_service=False),
        ready=lambda: ready.append(None),
    )
    assert supervising.run() == 3
    assert not ready


@pytest.mark.parametrize("status", ["serving", "serving; the last reload was refused"])
def test_a_reload_is_over_when_all_workers_have_reloaded(workers: Workers, status: str) -> None:
    notifier = RecordingNotifier()
    reloaded = threading.Event()
    workers.status_after_reload = status

    def told(status: str) -> bool:
        notifier.told.append(f"ready: {status}")
        if "reloading" in notifier.told:
            reloaded.set()
        return True

    notifier.ready = told  # type: ignore[method-assign]  # to know when

    def steps() -> None:
        workers.next(), workers.next()
        os.kill(os.getpid(), signal.SIGHUP)
        assert reloaded.wait(TEST_TIMEOUT)

    assert supervise(workers, steps, notifier=notifier) == 0
    assert notifier.told == ["ready: serving", "reloading", f"ready: {status}", "stopping"]


def test_the_end_of_the_core_ends_the_replacing_and_the_workers_the_edge(workers: Workers) -> None:
    ours, theirs = os.pipe()

    def steps() -> None:
        pids = workers.next(), workers.next()
        os.close(theirs)
        time.sleep(0)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    assert supervise(workers, steps, parent=ours) == 0
    os.close(ours)


def test_the_watchdog_is_told_while_the_workers_turn(workers: Workers) -> None:
    notifier = RecordingNotifier(watchdog=0.2)

    def steps() -> None:
        workers.next(), workers.next()
        deadline = time.monotonic() + TEST_TIMEOUT
        while notifier.told.count("watchdog") < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    assert supervise(workers, steps, notifier=notifier) == 0
