"""Runs that are over and whose output is kept for readers until newer runs need the space."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from .output.spool import SpoolMemory
from .run import LiveRun, RunSnapshot
from .snapshots import Put


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept of runs that are over: at most `runs` runs, for `seconds`, with `disk` bytes of output in files.

    Output in memory may use up to half of `SpoolMemory`. Output that is still being sent to clients is kept until they
    have received it, until all of the memory is used up, or until these bounds are exceeded by `unread_runs` runs or
    `unread_disk` bytes: clients that never read cannot keep more.
    """

    runs: int
    seconds: float
    disk: int
    unread_runs: int = 1024
    """As many as may be active at once, so that all of them may end at the same moment."""
    unread_disk: int = 4 << 30
    """Both streams of two runs with the largest spools that the default configuration allows."""


class KeptRuns:
    """Owns the runs that are over, and keeps them within the bounds of `retention`, which may change at any time."""

    def __init__(self, retention: Retention, memory: SpoolMemory) -> None:
        self.retention = retention
        self._memory = memory
        self._runs: OrderedDict[str, tuple[float, LiveRun]] = OrderedDict()
        self._disk = 0
        self._expiry: asyncio.TimerHandle | None = None

    def __iter__(self) -> Iterator[LiveRun]:
        """Iterate over the runs, oldest first."""
        return (run for _, run in self._runs.values())

    def get(self, run_id: str) -> LiveRun | None:
        """Return the run with this id, or None if it is not kept."""
        return self._runs[run_id][1] if run_id in self._runs else None

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
        return (run.snapshot(put, kept_until=until) for until, run in self._runs.values())

    def restore(self, run: LiveRun, kept_until: float) -> None:
        """Keep a run that the previous program kept. Call `expire` once all runs are restored."""
        self._add(run, kept_until)

    def expire(self) -> None:
        """Delete runs whose time is up, and schedule the next deletion."""
        self._expire()

    def _add(self, run: LiveRun, until: float) -> None:
        self._runs[run.id] = (until, run)
        self._disk += run.on_disk
        run.attachments.on_deserted = self._deserted

    def _deserted(self) -> None:
        self._expire()
        self._make_room()

    def _make_room(self) -> None:
        while (
            len(self._runs) > self.retention.runs
            or self._disk > self.retention.disk
            or self._memory.used * 2 > self._memory.limit
        ):
            unread = next((run.id for run in self if not run.attachments), None)
            if unread is not None:
                self._drop(unread)
            elif (read := self._oldest_beyond_all_bounds()) is not None:
                self._drop(read)
            else:
                return

    def _oldest_beyond_all_bounds(self) -> str | None:
        bounds, memory = self.retention, self._memory
        any_will_do = len(self._runs) > bounds.runs + bounds.unread_runs or memory.used > memory.limit
        disk_exceeded = self._disk > bounds.disk + bounds.unread_disk
        return next((run.id for run in self if any_will_do or (disk_exceeded and run.on_disk)), None)

    def _drop(self, run_id: str) -> None:
        _, run = self._runs.pop(run_id)
        run.attachments.on_deserted = None
        self._disk -= run.on_disk
        run.close()

    def _expire(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        now = time.monotonic()
        due = []
        for run_id, (until, run) in self._runs.items():
            if until > now:
                self._expiry = asyncio.get_running_loop().call_later(until - now, self._expire)
                break
            if not run.attachments:  # otherwise the run is deleted when its last client detaches
                due.append(run_id)
        for run_id in due:
            self._drop(run_id)
