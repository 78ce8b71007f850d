"""All runs of the service: which are under way, which are over and still known, and that none is started twice."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from .output.filespool import FileSpool
from .output.spool import SpoolMemory
from .plan import KillReason, Plan, RunResult
from .process.cgroup import Cgroups
from .run import LiveRun


class RunExpired(Exception):
    """A run of this id was started once, and is not remembered any more."""


class TooManyRuns(Exception):
    """As many runs are under way as the configuration allows; the text gives the number."""


class ServiceDraining(Exception):
    """The service is going away and starts nothing."""


class RecordUnavailable(Exception):
    """What is on record cannot be read or written, so that a start could not be told from a repetition."""


class RunLedger(Protocol):
    """The record of all runs, which outlives the service."""

    def starting(self, run: LiveRun) -> None:
        """The run is about to start. Raises `RecordUnavailable`."""

    def ended(self, run: LiveRun, result: RunResult) -> None:
        """The run is over."""

    def started(self, run: LiveRun) -> None:
        """The run's program has been started."""

    def soon(self) -> asyncio.Future[Mapping[str, str]]:
        """Make all of it durable at the end of this turn of the loop. The future has the ids of the starts that could
        not be put on record, each with a sentence that says why."""

    def recent(self, owner: str | None, *, before: str | None, prefix: str, limit: int) -> list[LiveRun]:
        """Return what is on record of the runs started last, as of runs that are over. Raises `RecordUnavailable`."""

    def find(self, run_id: str) -> LiveRun | None:
        """Return a run that is over.

        Raises `RunExpired` if it is no longer known whether there was one, and `RecordUnavailable`.
        """


@dataclass(frozen=True, slots=True)
class Retention:
    """What stays of runs that are over: at most `runs`, for `seconds`, with `disk` bytes of output in files.

    Output in memory counts against `SpoolMemory`: at most half of that. Output that clients are still being sent is
    kept until they have it, or until all of the memory is used up, or there are `unread_runs` runs and `unread_disk`
    bytes beyond those bounds: a client that never reads keeps no more.
    """

    runs: int
    seconds: float
    disk: int
    unread_runs: int = 1024
    """As many as may be under way at once, so that all may end at the same moment."""
    unread_disk: int = 4 << 30
    """Both streams of two runs with the largest spools of a configuration that sets none."""


@dataclass(eq=False, slots=True)
class _Batch:
    """What waits for one transaction."""

    recorded: asyncio.Future[Mapping[str, str]]
    starting: list[LiveRun] = field(default_factory=list)
    ended: list[LiveRun] = field(default_factory=list)


class Registry:
    """Owns every run. One that is over stays for its output to be read, until newer ones need the room."""

    def __init__(
        self,
        ledger: RunLedger,
        *,
        memory: SpoolMemory,
        retention: Retention,
        spool_directory: Path,
        cgroups: Cgroups | None,
        on_end: Callable[[LiveRun, RunResult], None],
        on_failure: Callable[[LiveRun, Exception], None],
    ) -> None:
        self.retention = retention
        self.memory = memory
        self._ledger = ledger
        self._directory = spool_directory
        self._cgroups = cgroups
        self._on_end = on_end
        self._on_failure = on_failure
        self.moved = asyncio.Event()
        """Set whenever a run has been started, or is over and on record."""
        self._runs: dict[str, LiveRun] = {}
        self._kept: OrderedDict[str, tuple[float, LiveRun]] = OrderedDict()
        self._disk = 0
        self._expiry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn: _Batch | None = None
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[LiveRun]:
        """Give the runs under way, the newest first."""
        return reversed(self._runs.values())

    def start(self, plan: Plan, *, max_runs: int) -> LiveRun:
        """Start a new run once this turn of the loop is over, and return it.

        Its id must be unknown: ask `find` first, in the same turn. Raises `ServiceDraining`, `TooManyRuns`, and
        `RecordUnavailable`, also if the spool cannot be created.
        """
        if self._known(plan.id) is not None:
            raise ValueError(f"the run {plan.id} exists already")
        if self._draining:
            raise ServiceDraining("the service is going away and starts no new runs; try again in a moment")
        if len(self._runs) >= max_runs:
            raise TooManyRuns(f"{max_runs} runs are under way, and this service takes no more at once (runs.max_runs)")
        try:
            run = LiveRun(plan, self.memory, self._directory, cgroups=self._cgroups)
        except OSError as error:
            raise RecordUnavailable(f"the output of run {plan.id} cannot be kept on disk: {error.strerror}") from None
        run.on_started = self._started
        try:
            self._ledger.starting(run)
        except RecordUnavailable:
            run.close()
            raise
        self._runs[plan.id] = run
        self._idle.clear()
        self._this_turn().starting.append(run)
        return run

    def find(self, run_id: str) -> LiveRun | None:
        """Return the run, under way or over; None where there never was one. Raises `RunExpired`."""
        return self._known(run_id) or self._ledger.find(run_id)

    def recent(self, owner: str | None, *, before: str | None, prefix: str = "", limit: int) -> list[LiveRun]:
        """Return runs, under way or over, the newest first: up to `limit` that were started before the run `before`.

        Of one owner, unless that is None; only those whose id begins with `prefix`. Raises `RecordUnavailable`.
        """
        recorded = self._ledger.recent(owner, before=before, prefix=prefix, limit=limit)
        return [self._known(run.plan.id) or run for run in recorded]

    def refuse_new(self) -> None:
        """Start no more runs from now on."""
        self._draining = True

    def stop_all(self, reason: KillReason, *, kill_after: float) -> None:
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
        for run_id in tuple(self._kept):
            self._drop(run_id)

    def _known(self, run_id: str) -> LiveRun | None:
        run = self._runs.get(run_id)
        if run is None and run_id in self._kept:
            run = self._kept[run_id][1]
        return run

    def _this_turn(self) -> _Batch:
        # One transaction for all starts and ends of a turn of the loop.
        recorded = self._ledger.soon()
        if self._turn is None or self._turn.recorded is not recorded:
            self._turn = _Batch(recorded)
            recorded.add_done_callback(partial(self._recorded, self._turn))
        return self._turn

    def _recorded(self, turn: _Batch, recorded: asyncio.Future[Mapping[str, str]]) -> None:
        fault = recorded.exception()
        refused = recorded.result() if fault is None else dict.fromkeys((r.plan.id for r in turn.starting), str(fault))
        for run in turn.ended:
            try:
                run.tell_end()
            except Exception as error:  # noqa: BLE001  # one client's fault must not keep the service from its end
                self._on_failure(run, error)
            self._keep(run)
        for run in turn.starting:
            if run.plan.id in refused:
                del self._runs[run.plan.id]
                try:
                    run.refuse(refused[run.plan.id])
                except Exception as error:  # noqa: BLE001  # nor the other starts from theirs
                    self._on_failure(run, error)
                run.close()
                continue
            self._execute(run)
        self.moved.set()
        self._check_idle()

    def _started(self, run: LiveRun) -> None:
        self._ledger.started(run)
        self.moved.set()

    def _execute(self, run: LiveRun) -> None:
        task = asyncio.create_task(self._see_to_the_end(run), name=f"run {run.plan.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _see_to_the_end(self, run: LiveRun) -> None:
        try:
            result = await run.execute()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this run's fault alone, and the log has it
            self._on_failure(run, error)
            result = run.lost()
        try:
            self._ledger.ended(run, result)
        finally:
            self._this_turn().ended.append(run)
        self._on_end(run, result)

    def _check_idle(self) -> None:
        if not self._runs:
            self._idle.set()

    # Runs that are over

    def _keep(self, run: LiveRun) -> None:
        del self._runs[run.plan.id]
        self._kept[run.plan.id] = (time.monotonic() + self.retention.seconds, run)
        self._disk += _on_disk(run)
        run.attachments.on_deserted = self._deserted
        self._make_room()
        if self._expiry is None:
            self._expire()

    def _deserted(self) -> None:
        self._expire()
        self._make_room()

    def _make_room(self) -> None:
        while (
            len(self._kept) > self.retention.runs
            or self._disk > self.retention.disk
            or self.memory.used * 2 > self.memory.limit
        ):
            unread = next((run_id for run_id, (_, run) in self._kept.items() if not run.attachments), None)
            if unread is not None:
                self._drop(unread)
            elif (read := self._oldest_beyond_all_bounds()) is not None:
                self._drop(read)
            else:
                return

    def _oldest_beyond_all_bounds(self) -> str | None:
        kept = self.retention
        any_will_do = len(self._kept) > kept.runs + kept.unread_runs or self.memory.used > self.memory.limit
        on_disk = self._disk > kept.disk + kept.unread_disk
        return next((id for id, (_, run) in self._kept.items() if any_will_do or (on_disk and _on_disk(run))), None)

    def _drop(self, run_id: str) -> None:
        _, run = self._kept.pop(run_id)
        run.attachments.on_deserted = None
        self._disk -= _on_disk(run)
        run.close()

    def _expire(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        now = time.monotonic()
        due = []
        for run_id, (until, run) in self._kept.items():
            if until > now:
                self._expiry = asyncio.get_running_loop().call_later(until - now, self._expire)
                break
            if not run.attachments:  # else it goes with its last client
                due.append(run_id)
        for run_id in due:
            self._drop(run_id)


def _on_disk(run: LiveRun) -> int:
    return run.size if isinstance(run.stdout, FileSpool) else 0
