"""All runs of the service: starts them, finds them by id, and records and announces how they end.

    start -> LiveRun, recorded as starting -> executed -> recorded as ended -> announced -> KeptRuns -> PastRun

A run is executed only once the record of its start is durable, and its end is announced only once the record of its end
is. All starts and ends in one turn of the event loop share a transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from farhand_protocol.loop_time import LoopTime
from farhand_server.forwards.records import FlowRecord
from farhand_server.sharing import Tally

from .attachments.attachments import ClientIdentity
from .charged import Charged
from .kept import KeptRuns, Retention
from .left import LeftRuns, LeftRunSnapshot
from .output.directory import SpoolDirectory
from .output.spool import SpoolMemory
from .past import PastRun
from .plan import KillReason, Plan, RunResult
from .process.cgroup import Cgroups
from .run import AnyRun, LiveRun, RunSnapshot
from .snapshots import Get, Put
from .start_queue import StartQueue

MIN_RETURN_TIME: Final = 30.0
"""Seconds that every client has at least to return after an upgrade, whatever its grace period, because it was the
service that closed the connection. Clients retry at least every five seconds, and the machine may be busy."""

TUNNEL_REMEMBERED: Final = 60.0
"""Seconds for which the pid of a tunnel is known after its end. What it has sent to a socket of the service may still
wait in the kernel's queue, 4,096 connections long, when the core learns that it is gone; that is worked off within a
second, unless descriptors have run out. A program that gets the pid meanwhile is taken for the tunnel."""


class RunExpired(Exception):
    """A run with this id was once started, but is no longer remembered."""


class TooManyRuns(Exception):
    """As many runs are active as the configuration allows. The text gives the number."""


class ServiceDraining(Exception):
    """The service is shutting down and starts no more runs."""


class RecordUnavailable(Exception):
    """The record cannot be read or written, so a new request could not be told from a repeated one."""


class RunLedger(Protocol):
    """The record of all runs, which outlives the service."""

    def check(self) -> None:
        """Check whether the start of a run could be recorded. Raises `RecordUnavailable`."""

    def starting(self, run: LiveRun) -> None:
        """Record that the run is about to start. Raises `RecordUnavailable`."""

    def started(self, run: LiveRun) -> None:
        """Record that the run's program has started."""

    def forwarded(self, run: LiveRun, record: FlowRecord) -> None:
        """Record what became of a connection or a listener of a tunnel."""

    def ended(self, run: LiveRun, result: RunResult) -> None:
        """Record that the run is over."""

    def soon(self) -> asyncio.Future[Mapping[str, str]]:
        """Make all records durable at the end of this turn of the event loop.

        The future returns the ids of the runs whose start could not be recorded, each with a sentence that says why.
        """

    def recent(
        self, owner: str | None, *, before: str | None, prefix: str, limit: int
    ) -> tuple[list[PastRun], str | None]:
        """Return runs that were started last and are on record, as `Registry.recent` does. Raises
        `RecordUnavailable`."""

    def find(self, run_id: str, owner: str | None) -> PastRun | None:
        """Return the record of a run; None if there never was a run with this id.

        Raises `RunExpired` if `owner` (anybody, for None) may have started a run with this id that is no longer
        remembered, and `RecordUnavailable`.
        """


@dataclass(eq=False, slots=True)
class _Batch:
    """The starts and ends that are waiting for the same transaction."""

    recorded: asyncio.Future[Mapping[str, str]]
    starting: list[LiveRun] = field(default_factory=list)
    ended: list[LiveRun] = field(default_factory=list)


class Registry:
    """Owns every run. The output of runs that are over is kept for readers: see `KeptRuns`."""

    def __init__(
        self,
        ledger: RunLedger,
        *,
        memory: SpoolMemory,
        retention: Retention,
        directory: SpoolDirectory,
        cgroups: Cgroups | None,
        on_end: Callable[[LiveRun, RunResult], None],
        on_failure: Callable[[LiveRun, Exception], None],
        time_of: Callable[[int], LoopTime] | None = None,
    ) -> None:
        """`time_of` returns the share of the loop's time that an account has, by its uid; without it, each has all."""
        self.memory: Final = memory
        self.kept: Final = KeptRuns(retention, memory)
        self.left: Final = LeftRuns()
        self.by_user: Final[Tally[int]] = Tally()
        """The active runs of each account, by its uid."""
        self.by_rule: Final[Tally[tuple[int, str]]] = Tally()
        """The active runs of each account by the policy's rule that allowed them."""
        self.tunnels: Final[set[int]] = set()
        """The pids of the forward workers of active runs, and of those that ended within `TUNNEL_REMEMBERED`."""
        self.starts: Final = StartQueue(time_of)
        self._ledger = ledger
        self.directory: Final = directory
        self._cgroups = cgroups
        self._on_end = on_end
        self._on_failure = on_failure
        self.moved = asyncio.Event()
        """Set whenever a run has been started, or is over and recorded."""
        self._runs: dict[str, LiveRun] = {}
        self._owners: dict[int, str] = {}
        """The names of all accounts that have had runs: as many as the machine has at most."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._batch: _Batch | None = None
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._requested = 0
        """Active runs that are neither internal nor tunnels."""
        self._done = asyncio.Event()
        """Set while there are none."""
        self._done.set()

    def __len__(self) -> int:
        """Return the number of active runs."""
        return len(self._runs)

    def __iter__(self) -> Iterator[LiveRun]:
        """Iterate over the active runs, newest first."""
        return reversed(self._runs.values())

    def owner(self, uid: int) -> str | None:
        """Return the name of an account, None if it has had no runs since the service started."""
        return self._owners.get(uid)

    def start(self, plan: Plan, *, max_runs: int) -> LiveRun:
        """Return a new run, which starts once this turn of the event loop is over.

        Its id must be unknown: call `find` first, in the same turn. Raises `ServiceDraining`, `TooManyRuns`, and
        `RecordUnavailable`, the last also if the spool cannot be created.
        """
        if self._live(plan.id) is not None:
            raise ValueError(f"run {plan.id} already exists")
        self.check_not_draining()
        if len(self._runs) >= max_runs:
            raise TooManyRuns(f"{max_runs} runs are active, and this service allows no more at once (runs.max_runs)")
        self._ledger.check()  # before anything is created in a directory that may be another one now
        try:
            run = LiveRun(plan, self.memory.of(plan.uid), self.directory.of(plan.uid), cgroups=self._cgroups)
        except OSError as error:
            raise RecordUnavailable(f"the output of run {plan.id} cannot be kept on disk: {error.strerror}") from None
        run.on_started = self._started
        try:
            self._ledger.starting(run)
            batch = self._current_batch()
        except BaseException:  # also a bug must not leave files behind
            run.close()
            raise
        self._add(run)
        batch.starting.append(run)
        return run

    def find(self, run_id: str, owner: str | None) -> AnyRun | None:
        """Return the run with this id, whoever started it; None if there never was one.

        Raises `RunExpired` if `owner` (anybody, for None) may have started one that is no longer remembered, and
        `RecordUnavailable`.
        """
        return self._live(run_id) or self._ledger.find(run_id, owner)

    def recent(
        self, owner: str | None, *, before: str | None, prefix: str = "", limit: int
    ) -> tuple[list[AnyRun], str | None]:
        """Return up to `limit` runs that were started before the run `before`, newest first; and what `before` is for
        those that follow, None if there are none. So that this takes little time, it may return fewer runs, or none,
        although more follow.

        Selects runs whose id begins with `prefix` and, unless `owner` is None, runs of that owner. Raises
        `RecordUnavailable`.
        """
        recorded, more = self._ledger.recent(owner, before=before, prefix=prefix, limit=limit)
        return [self._live(run.id) or run for run in recorded], more

    def check_not_draining(self) -> None:
        """Raise `ServiceDraining` if no more runs are started."""
        if self._draining:
            raise ServiceDraining("the service is shutting down and starts no new runs; try again in a moment")

    def refuse_new(self) -> None:
        """Start no more runs from now on."""
        self._draining = True
        self.starts.stop_pacing()

    def stop_all(self, reason: KillReason, *, kill_after: float) -> None:
        """Stop every active run, with its own grace period, but with no more than `kill_after` seconds."""
        for run in tuple(self._runs.values()):
            run.stop(reason, min(run.plan.kill_after, kill_after))

    async def idle(self) -> None:
        """Wait until no run is active."""
        await self._idle.wait()

    async def done(self) -> None:
        """Wait until no run is active but those that may last as long as their clients: tunnels, and what programs have
        started for themselves."""
        await self._done.wait()

    def close(self) -> None:
        """Delete the output of all runs that are over."""
        self.kept.close()

    # Upgrade: a new program continues with all runs

    def await_return(self) -> None:
        """Wait longer for absent clients, because the service is about to close all connections. `stop_awaiting` undoes
        this."""
        for run in self._runs.values():
            run.attachments.grace = max(run.plan.grace, MIN_RETURN_TIME)
        self.kept.pause()

    def stop_awaiting(self) -> None:
        """Restore the ordinary grace periods, after `await_return`."""
        for run in self._runs.values():
            run.attachments.grace = run.plan.grace
        self.kept.resume()

    def client_refused(self, is_refused: Callable[[ClientIdentity], bool]) -> None:
        """Let the grace periods of absent clients begin again, if an edge refuses their connections. See
        `Attachments.client_refused`."""
        for run in self._runs.values():
            run.attachments.client_refused(is_refused)

    @property
    def settled(self) -> bool:
        """Whether a snapshot would contain every run: none is currently being started or recorded."""
        return all(run.steady for run in self._runs.values())

    async def settle(self) -> None:
        """Wait until the registry is `settled`. Meanwhile no new run may be started."""
        self.starts.stop_pacing()
        try:
            while not self.settled:
                self.moved.clear()
                await self.moved.wait()
        finally:
            self.starts.pace()

    def snapshot(self, put: Put) -> tuple[RunSnapshot, ...]:
        """Return the states of all runs that can be recorded now, for `restore`, oldest first. Changes nothing."""
        live = [run.snapshot(put) for run in self._runs.values() if run.steady]
        return (*self.kept.snapshot(put), *live)

    def restore(self, snapshots: Iterable[RunSnapshot], left: Iterable[LeftRunSnapshot], get: Get) -> None:
        """Continue with all runs of a snapshot, and those of `LeftRuns.snapshot`. Call this only on a new object.

        This must happen in the same turn of the event loop as `prepare_loop`. Raises OSError and ChildProcessError.
        """
        self.left.restore(left, self._cgroups)
        for snapshot in snapshots:
            uid = snapshot.plan.uid
            memory, directory = self.memory.of(uid), self.directory.of(uid)
            run = LiveRun.restore(snapshot, get, memory, directory, self._cgroups)
            self._owners[uid] = run.plan.owner
            if snapshot.kept_until is None:
                self._add(run)
                self._execute(run)
            else:
                self.kept.restore(run, max(snapshot.kept_until, time.monotonic() + MIN_RETURN_TIME))
        self.kept.expire()

    # From the start of a run to its end

    def _live(self, run_id: str) -> LiveRun | None:
        return self._runs.get(run_id) or self.kept.get(run_id)

    def _add(self, run: LiveRun) -> None:
        run.on_record = self._ledger.forwarded
        if run.forward and run.pid is not None:
            self.tunnels.add(run.pid)
        self._runs[run.id] = run
        self._owners[run.plan.uid] = run.plan.owner
        self.by_user.add(run.plan.uid)
        self.by_rule.add((run.plan.uid, run.plan.rule.name))
        self._idle.clear()
        if not (run.internal or run.forward):
            self._requested += 1
            self._done.clear()

    def _remove(self, run: LiveRun) -> None:
        del self._runs[run.id]
        if run.forward and run.pid is not None:
            asyncio.get_running_loop().call_later(TUNNEL_REMEMBERED, self._forget_tunnel, run.pid)
        self.by_user.remove(run.plan.uid)
        self.by_rule.remove((run.plan.uid, run.plan.rule.name))
        if not self._runs:
            self._idle.set()
        if not (run.internal or run.forward):
            self._requested -= 1
            if not self._requested:
                self._done.set()

    def _forget_tunnel(self, pid: int) -> None:
        if not any(run.forward and run.pid == pid for run in self._runs.values()):  # the kernel uses pids again
            self.tunnels.discard(pid)

    def _current_batch(self) -> _Batch:
        recorded = self._ledger.soon()
        if self._batch is None or self._batch.recorded is not recorded:
            self._batch = _Batch(recorded)
            recorded.add_done_callback(partial(self._recorded, self._batch))
        return self._batch

    def _recorded(self, batch: _Batch, recorded: asyncio.Future[Mapping[str, str]]) -> None:
        fault = recorded.exception()
        refused = recorded.result() if fault is None else dict.fromkeys((run.id for run in batch.starting), str(fault))
        for run in batch.ended:
            try:
                run.announce_end()
            except Exception as error:  # noqa: BLE001  # one client's failure must not keep the service from ending
                self._on_failure(run, error)
            self._remove(run)
            self.kept.add(run)
        for run in batch.starting:
            if run.id in refused:
                self._remove(run)
                try:
                    run.refuse(refused[run.id])
                except Exception as error:  # noqa: BLE001  # nor keep the other runs from starting
                    self._on_failure(run, error)
                run.close()
                continue
            rule = run.plan.rule
            self.starts.add(run.plan.uid, run.id, rule, partial(self._execute, run))
        self.moved.set()

    def _started(self, run: LiveRun) -> None:
        self.starts.launched(run.plan.uid, run.id)
        if run.forward and run.pid is not None:
            self.tunnels.add(run.pid)
        self._ledger.started(run)
        self.moved.set()

    def _execute(self, run: LiveRun) -> None:
        task = asyncio.create_task(self._until_recorded(run), name=f"run {run.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_recorded(self, run: LiveRun) -> None:
        try:
            result = await Charged(run.execute(), partial(self.starts.spend, run.plan.uid))
        except Exception as error:  # noqa: BLE001  # any failure concerns only this run, and is logged
            self._on_failure(run, error)
            result = run.mark_lost()
        self.starts.launched(run.plan.uid, run.id)
        if run.left_tree is not None:
            self.left.add(run.past, run.left_tree)
        try:
            self._ledger.ended(run, result)
        finally:
            self._current_batch().ended.append(run)
        self._on_end(run, result)
