"""All runs of the service: which are under way, which are over and still known, and that none is started twice."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .filespool import FileSpool
from .plan import Plan, Reason, Result
from .run import Run
from .spool import Memory


class IdConflict(Exception):
    """A run of this id was started before, by another request."""


class Expired(Exception):
    """A run of this id was started once, and is not remembered any more."""


class TooManyRuns(Exception):
    """As many runs are under way as the configuration allows; the text gives the number."""


class Draining(Exception):
    """The service is going away and starts nothing."""


class Unavailable(Exception):
    """The start cannot be put on record, so that it could not be told from a repetition; the text says why."""


class Ledger(Protocol):
    """The record of all runs, which outlives the service."""

    def starting(self, run: Run) -> None:
        """The run is about to start."""

    def ended(self, run: Run, result: Result) -> None:
        """The run is over."""

    def flush(self) -> None:
        """Make all of it durable. Raises `Unavailable` where a start cannot be put on record."""

    def find(self, run_id: str) -> Run | None:
        """Return a run that is over. Raises `Expired` where it is not known whether there was one."""

    def forget(self, run: Run) -> None:
        """The run that was said to be starting does not start."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What stays of runs that are over: at most `runs`, for `seconds`, with `disk` bytes of output in files.

    What is in memory counts against `Memory`: at most half of that.
    """

    runs: int
    seconds: float
    disk: int


class Registry:
    """Owns every run. One that is over stays for its output to be read, until newer ones need the room."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        memory: Memory,
        retention: Retention,
        spool_directory: Path,
        on_end: Callable[[Run, Result], None],
        on_failure: Callable[[Run, Exception], None],
    ) -> None:
        self.retention = retention
        self.memory = memory
        self._ledger = ledger
        self._directory = spool_directory
        self._on_end = on_end
        self._on_failure = on_failure
        self._runs: dict[str, Run] = {}
        self._kept: OrderedDict[str, tuple[float, Run]] = OrderedDict()
        self._disk = 0
        self._expiry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: list[Run] = []
        self._ended: list[Run] = []
        self._flushing = False
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        """Give the runs under way, the newest first."""
        return reversed(self._runs.values())

    def start(self, plan: Plan, *, max_runs: int) -> tuple[Run, bool]:
        """Return the run of this plan, and whether it is a new one: it is started once this turn of the loop is over.

        Raises `IdConflict`, `Expired`, `Draining`, `TooManyRuns`, or OSError where the spool cannot be made.
        """
        known = self.find(plan.id)
        if known is not None:
            if (known.plan.fingerprint, known.plan.owner) != (plan.fingerprint, plan.owner):
                raise IdConflict(f"a run with the id {plan.id} was started before, by another request")
            return known, False
        if self._draining:
            raise Draining("the service is going away and starts no new runs; try again in a moment")
        if len(self._runs) >= max_runs:
            raise TooManyRuns(f"{max_runs} runs are under way, and this service takes no more at once (runs.max_runs)")
        run = self._runs[plan.id] = Run(plan, self.memory, self._directory)
        self._idle.clear()
        self._ledger.starting(run)
        self._starting.append(run)
        self._flush_soon()
        return run, True

    def find(self, run_id: str) -> Run | None:
        """Return the run, under way or over; None where there never was one. Raises `Expired`."""
        run = self._runs.get(run_id)
        if run is None and run_id in self._kept:
            run = self._kept[run_id][1]
        return run or self._ledger.find(run_id)

    def refuse_new(self) -> None:
        """Start no more runs from now on."""
        self._draining = True

    def stop_all(self, reason: Reason, *, kill_after: float) -> None:
        """Stop every run that is under way, with its own grace but at most `kill_after` seconds."""
        for run in tuple(self._runs.values()):
            run.stop(reason, min(run.plan.kill_after, kill_after))

    async def idle(self) -> None:
        """Wait until no run is under way."""
        await self._idle.wait()

    def close(self) -> None:
        """Forget the output of all runs that are over."""
        if self._expiry is not None:
            self._expiry.cancel()
        while self._kept:
            self._drop_oldest()

    def _flush_soon(self) -> None:
        # One transaction for all starts and ends of a turn of the loop.
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        starting, self._starting = self._starting, []
        ended, self._ended = self._ended, []
        try:
            self._ledger.flush()
        except Unavailable as error:
            for run in starting:
                self._ledger.forget(run)
                del self._runs[run.plan.id]
                run.refuse(str(error))
                run.close()
            starting = []
        for run in ended:
            run.tell_end()
            self._keep(run)
        for run in starting:
            task = asyncio.create_task(self._see_to_the_end(run), name=f"run {run.plan.id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._check_idle()

    async def _see_to_the_end(self, run: Run) -> None:
        try:
            result = await run.execute()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this run's fault alone, and the log has it
            self._on_failure(run, error)
            result = run.lost()
        self._ledger.ended(run, result)
        self._ended.append(run)
        self._flush_soon()
        self._on_end(run, result)

    def _check_idle(self) -> None:
        if not self._runs:
            self._idle.set()

    # Runs that are over

    def _keep(self, run: Run) -> None:
        del self._runs[run.plan.id]
        self._kept[run.plan.id] = (time.monotonic() + self.retention.seconds, run)
        self._disk += _on_disk(run)
        while self._kept and (
            len(self._kept) > self.retention.runs
            or self._disk > self.retention.disk
            or self.memory.used * 2 > self.memory.limit
        ):
            self._drop_oldest()
        if self._expiry is None and self._kept:
            self._watch_oldest()

    def _drop_oldest(self) -> None:
        _, (_, run) = self._kept.popitem(last=False)
        self._disk -= _on_disk(run)
        run.close()

    def _watch_oldest(self) -> None:
        when, _ = next(iter(self._kept.values()))
        delay = max(0.0, when - time.monotonic())
        self._expiry = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        now = time.monotonic()
        while self._kept and next(iter(self._kept.values()))[0] <= now:
            self._drop_oldest()
        if self._kept:
            self._watch_oldest()


def _on_disk(run: Run) -> int:
    return run.size if isinstance(run.stdout, FileSpool) else 0
