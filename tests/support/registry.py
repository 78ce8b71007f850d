"""A registry with an in-memory ledger and clients that watch its runs, without a service."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Outcome
from farhand_server.forwards.records import FlowRecord
from farhand_server.runs.kept import KeptRuns, Retention
from farhand_server.runs.output.directory import SpoolDirectory
from farhand_server.runs.output.spool import SpoolMemory
from farhand_server.runs.past import PastRun
from farhand_server.runs.plan import Plan, RunResult
from farhand_server.runs.registry import RecordUnavailable, Registry, RunExpired
from farhand_server.runs.run import LiveRun
from farhand_server.runs.start_queue import StartQueue
from farhand_server.sharing import Tally
from tests.support.processes import children

TIMEOUT = 10.0
MiB = 1 << 20
_numbers = itertools.count()


def plan(*argv: str, run_id: str | None = None, **fields: Any) -> Plan:
    """Return a plan for `argv` with the test's environment."""
    given: dict[str, Any] = {
        "id": run_id or str(next(_numbers)), "owner": "ada", "uid": os.getuid(), "fingerprint": b"f",
        "command": " ".join(argv), "argv": tuple(os.fsencode(argument) for argument in argv), "cwd": b"/",
        "env": dict(os.environb), "stdin": False, "merge_stderr": False, "timeout": None, "idle_timeout": None,
        "kill_after": 5.0, "linger": 0.1, "keep": False, "grace": 60.0, "spool": MiB,
    }  # fmt: skip
    return Plan(**given | fields)


class NoRuns:
    """A registry in which nobody has runs, unless a test counts some."""

    def __init__(self) -> None:
        self.by_user: Tally[int] = Tally()
        self.by_rule: Tally[tuple[int, str]] = Tally()
        self.starts = StartQueue()
        self.memory = SpoolMemory(512 * MiB)
        self.directory = SpoolDirectory(Path("/"))
        self.kept = KeptRuns(Retention(0, 0.0, 0), self.memory)
        self.owners: dict[int, str] = {}

    def owner(self, uid: int) -> str | None:
        return self.owners.get(uid)


class RunWatcher:
    """A client that is notified about a run and reads its output on request; `on_start` may raise."""

    def __init__(self, run: LiveRun, on_start: Callable[[], None] = lambda: None, *, hold: bool = True) -> None:
        self.calls: list[str] = []
        self.result: RunResult | None = None
        self.finished = asyncio.Event()
        self.running = asyncio.Event()
        self._run = run
        self._on_start = on_start
        self.place = run.attach(self, key=None, hold=hold, taken={"stdout": 0, "stderr": 0}, feeds=None)

    def started(self) -> None:
        self.calls.append("started")
        self.running.set()
        self._on_start()

    def stdin_taken(self) -> None:
        pass

    def exited(self, outcome: Outcome) -> None:
        pass

    def ended(self, result: RunResult) -> None:
        self.calls.append("ended")
        self.result = result
        self.finished.set()

    def failed(self, code: ErrorCode, sentence: str) -> None:
        self.calls.append(f"failed: {code}")
        self.finished.set()

    def replaced(self) -> None:
        pass

    def leave(self) -> None:
        """Detach permanently."""
        self._run.detach(self.place)


class FakeLedger:
    """A ledger in memory. It fails to record the starts of `refused`; `forgotten` are runs that have expired."""

    def __init__(self) -> None:
        self.records: list[str] = []
        self.refused: dict[str, str] = {}
        self.forgotten: set[str] = set()
        self.asked_for: list[str | None] = []
        """The owners whose forgotten runs were looked for."""
        self.broken = False
        self.commit = asyncio.Event()
        self.commit.set()
        self._soon: asyncio.Future[Mapping[str, str]] | None = None

    def check(self) -> None:
        pass

    def starting(self, run: LiveRun) -> None:
        if self.broken:
            raise RecordUnavailable("the disk is full")
        self.records.append(f"starting {run.plan.id}")

    def started(self, run: LiveRun) -> None:
        self.records.append(f"started {run.plan.id}")

    def forwarded(self, run: LiveRun, record: FlowRecord) -> None:
        self.records.append(f"{record.kind} {record.target}")

    def ended(self, run: LiveRun, result: RunResult) -> None:
        self.records.append(f"ended {run.plan.id}")

    def soon(self) -> asyncio.Future[Mapping[str, str]]:
        if self._soon is None:
            self._soon = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._commit(self._soon))
        return self._soon

    async def _commit(self, soon: asyncio.Future[Mapping[str, str]]) -> None:
        await self.commit.wait()
        self._soon = None
        soon.set_result(self.refused)

    def recent(
        self, owner: str | None, *, before: str | None, prefix: str, limit: int
    ) -> tuple[list[PastRun], str | None]:
        return [], None

    def find(self, run_id: str, owner: str | None) -> PastRun | None:
        self.asked_for.append(owner)
        if run_id in self.forgotten:
            raise RunExpired(f"{run_id} is forgotten")
        return None


class Service:
    """A registry and what it reports."""

    def __init__(self, directory: Path) -> None:
        self.others = children(os.getpid())
        """Children of this process that the registry did not start."""
        self.ended: list[LiveRun] = []
        self.failed: list[Exception] = []
        self.memory = SpoolMemory(1 << 30)
        self.ledger = FakeLedger()
        self.registry = Registry(
            self.ledger,
            memory=self.memory,
            retention=Retention(1000, 3600.0, 1 << 30),
            directory=SpoolDirectory(directory / "spool"),
            cgroups=None,
            on_end=lambda run, _: self.ended.append(run),
            on_failure=lambda _, error: self.failed.append(error),
        )

    def start(self, wanted: Plan, **options: Any) -> tuple[LiveRun, RunWatcher]:
        """Start a run, or attach to it."""
        max_runs = options.pop("max_runs", 10)
        run = self.registry.find(wanted.id, "ada") or self.registry.start(wanted, max_runs=max_runs)
        assert isinstance(run, LiveRun)
        return run, RunWatcher(run, **options)

    async def idle(self) -> None:
        """Wait until nothing runs."""
        async with asyncio.timeout(TIMEOUT):
            await self.registry.idle()
