"""Runs that are over and whose output is kept for readers until newer runs need the space."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from farhand_server.sharing import Tally

from .output.spool import MIN_SPOOL, SpoolMemory
from .run import LiveRun, RunSnapshot
from .snapshots import Put


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept of runs that are over: at most `runs` runs, for `seconds`, with `disk` bytes of output in files.

    Beyond a bound, the output is deleted of the user who has the most, that user's oldest first: nobody can push out
    what others have kept. Output in memory may use up to half of `SpoolMemory`. Output that is still being sent to
    clients is kept until they have received it, or until these bounds are exceeded by `unread_runs` runs or
    `unread_disk` bytes, or all of the memory by `unread_memory` bytes: clients that never read cannot keep more.
    """

    runs: int
    seconds: float
    disk: int
    unread_runs: int = 1024
    """As many as may be active at once, so that all of them may end at the same moment."""
    unread_disk: int = 4 << 30
    """Both streams of two runs with the largest spools that the default configuration allows."""
    unread_memory: int = 1024 * MIN_SPOOL
    """What as many runs keep when they end at the same moment, each with as much of one stream as it may keep although
    the memory is used up."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A run that is kept `until` then, with `disk` bytes of output in files."""

    run: LiveRun
    until: float
    disk: int


class KeptRuns:
    """Owns the runs that are over, and keeps them within the bounds of `retention`, which may change at any time."""

    def __init__(self, retention: Retention, memory: SpoolMemory) -> None:
        self.retention = retention
        self._memory = memory
        self._runs: dict[str, _Kept] = {}
        self._of_user: dict[int, dict[str, _Kept]] = {}
        """The runs of each account, oldest first."""
        self._number: Tally[int] = Tally()
        self._disk: Tally[int] = Tally()
        self._expiry: asyncio.TimerHandle | None = None

    def __iter__(self) -> Iterator[LiveRun]:
        """Iterate over the runs, oldest first."""
        return (kept.run for kept in self._runs.values())

    def memory_of(self, uid: int) -> int:
        """Return how many bytes of memory the kept output of an account takes that nobody is reading."""
        runs = self._of_user.get(uid, {}).values()
        return sum(kept.run.size - kept.disk for kept in runs if not kept.run.attachments)

    def get(self, run_id: str) -> LiveRun | None:
        """Return the run with this id, or None if it is not kept."""
        return self._runs[run_id].run if run_id in self._runs else None

    def add(self, run: LiveRun) -> None:
        """Keep a run that is over and announced. Older runs may be deleted to make room for it."""
        self._add(run, time.monotonic() + self.retention.seconds)
        self._make_room()
        if self._expiry is None:
            self._expire()

    def close(self) -> None:
        """Delete the output of all runs."""
        if self._expiry is not None:
            self._expiry.cancel()
        for run_id in tuple(self._runs):
            self._drop(run_id)

    def pause(self) -> None:
        """Delete nothing, even though all clients are about to lose their connections. `resume` undoes this."""
        for run in self:
            run.attachments.on_deserted = None

    def resume(self) -> None:
        """Delete runs again when they are due, after `pause`."""
        for run in self:
            run.attachments.on_deserted = self._deserted

    def snapshot(self, put: Put) -> Iterator[RunSnapshot]:
        """Yield the states of all runs for `restore`, oldest first."""
        return (kept.run.snapshot(put, kept_until=kept.until) for kept in self._runs.values())

    def restore(self, run: LiveRun, kept_until: float) -> None:
        """Keep a run that the previous program kept. Call `expire` once all runs are restored."""
        self._add(run, kept_until)

    def expire(self) -> None:
        """Delete runs whose time is up, and schedule the next deletion."""
        self._expire()

    def _add(self, run: LiveRun, until: float) -> None:
        kept, uid = _Kept(run, until, run.on_disk), run.plan.uid
        self._runs[run.id] = kept
        self._of_user.setdefault(uid, {})[run.id] = kept
        self._number.add(uid)
        self._disk.add(uid, kept.disk)
        run.attachments.on_deserted = self._deserted

    def _deserted(self) -> None:
        # They are in order, so if the oldest is not due, none is; the timer, if it is no longer needed, does no harm.
        oldest = next(iter(self._runs.values()), None)
        if oldest is not None and oldest.until <= time.monotonic():
            self._expire()
        self._make_room()

    def _make_room(self) -> None:
        bounds, memory = self.retention, self._memory
        while True:
            if self._number.total > bounds.runs:
                shared, bound, all_exceeded = self._number, bounds.runs, bounds.runs + bounds.unread_runs
            elif self._disk.total > bounds.disk:
                shared, bound, all_exceeded = self._disk, bounds.disk, bounds.disk + bounds.unread_disk
            elif memory.used * 2 > memory.limit:
                shared, bound, all_exceeded = memory.by_user, memory.limit // 2, memory.limit + bounds.unread_memory
            else:
                return
            run_id = self._oldest_of_the_largest_user(shared, bound, read=shared.total > all_exceeded)
            if run_id is None:
                return
            self._drop(run_id)

    def _oldest_of_the_largest_user(self, shared: Tally[int], bound: int, *, read: bool) -> str | None:
        """Return the oldest run of the user who has the most of something, and more than an equal part of `bound`; with
        `read`, also one that is being read."""
        equal = bound // max(1, len(shared))
        users = sorted((uid for uid in shared if shared.of(uid) > equal), key=shared.of, reverse=True)
        for may_be_read in (False, True) if read else (False,):
            for uid in users:
                for run_id, kept in self._of_user.get(uid, {}).items():
                    uses = self._uses(shared, kept)
                    if uses and (may_be_read or not kept.run.attachments):
                        return run_id
        return None

    def _uses(self, shared: Tally[int], kept: _Kept) -> bool:
        if shared is self._number:
            return True
        return kept.disk > 0 if shared is self._disk else kept.run.size > kept.disk

    def _drop(self, run_id: str) -> None:
        kept = self._runs.pop(run_id)
        uid = kept.run.plan.uid
        del self._of_user[uid][run_id]
        if not self._of_user[uid]:
            del self._of_user[uid]
        self._number.remove(uid)
        self._disk.remove(uid, kept.disk)
        kept.run.attachments.on_deserted = None
        kept.run.close()

    def _expire(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        now = time.monotonic()
        due = []
        for run_id, kept in self._runs.items():
            if kept.until > now:
                self._expiry = asyncio.get_running_loop().call_later(kept.until - now, self._expire)
                break
            if not kept.run.attachments:  # otherwise the run is deleted when its last client detaches
                due.append(run_id)
        for run_id in due:
            self._drop(run_id)
