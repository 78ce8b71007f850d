"""One run as `subreaper` knows it."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable, Iterable

from .tree import Tree
from .usage import MeterSnapshot, UsageMeter


class TrackedRun:
    """One run as the subreaper knows it: its tree of processes, what they have used, and the exit of its leader."""

    def __init__(
        self,
        pid: int,
        mark: int,
        run_id: str | None,
        orphans: Callable[[TrackedRun], Iterable[int]],
        counted: MeterSnapshot | None = None,
    ) -> None:
        self.mark = mark
        self.run_id = run_id
        self.tree = Tree(pid, lambda: orphans(self))
        self.meter = UsageMeter(counted)
        self.closed = False
        self.on_left_ended: Callable[[], None] | None = None
        """Set if the run is over and has left processes running: called when the last of them has ended."""
        self.reaped = asyncio.Event()
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The leader's exit code, or the negated signal number. Waiting tasks may cancel this future, but `reaped` is
        only ever set."""

    def leader_ended(self, status: int, usage: resource.struct_rusage) -> None:
        """Record that the leader was reaped with this wait status."""
        self.tree.reaped = True
        self.meter.add(usage)
        self.reaped.set()
        code = os.waitstatus_to_exitcode(status)
        if not self.exited.done():
            self.exited.set_result(code)
