"""One run as `subreaper` knows it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Callable, Iterable
from typing import Final

from .meter import UsageMeter
from .tree import Census, Tree, is_exiting, look, name_of, pending_signals

_FATAL: Final = sum(1 << number - 1 for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM))
"""Signals with which people and shells end a program. One that is in the middle of fork(2) or execve(2) may act on
SIGHUP first although it was sent later."""

MAX_HUNG_UP: Final = 1024
"""Processes that are counted one by one when their terminal is hung up: about 200 KiB for each run that ends."""


class TrackedRun:
    """One run as the subreaper knows it: its tree of processes, what they have used, and the exit of its leader."""

    def __init__(
        self,
        pid: int,
        mark: int,
        run_id: str | None,
        orphans: Callable[[TrackedRun], Iterable[int]],
        meter: UsageMeter,
        census: Census | None = None,
    ) -> None:
        self.mark = mark
        self.run_id = run_id
        self.orphans: set[int] = set()
        """The pids of its processes that have become children of the service."""
        self.tree = Tree(pid, lambda: orphans(self), census)
        self.meter = meter
        self.closed = False
        self.start_ticks: int | None = None
        """When the leader was started, in clock ticks since boot; None if that is not known. See `tree.Member`."""
        self.hung_up: dict[tuple[int, int], str] = {}
        """Pid, start time and name of each process that SIGHUP has ended together with the leader.

        The kernel sends it to the foreground process group when a leader with a terminal exits, and to stopped jobs
        that lose their shell (_exit(2)). Such a process may be gone before anybody could see that it was left behind.
        """
        self.on_left_ended: Callable[[], None] | None = None
        """Set if the run is over and has left processes running: called when the last of them has ended."""
        self.reaped = asyncio.Event()
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The leader's exit code, or the negated signal number. Waiting tasks may cancel this future, but `reaped` is
        only ever set."""

    def orphan_ended(self, ended: os.waitid_result) -> None:
        """Record the end of an orphan. Call this before it is reaped, because afterwards it has no name."""
        if self.closed or ended.si_code != os.CLD_KILLED or ended.si_status != signal.SIGHUP:
            return
        with contextlib.suppress(OSError):  # no descriptor is left to examine it
            # The signal is sent before the leader has ended, so the orphan may be reaped first.
            if self.tree.reaped or is_exiting(self.tree.leader):
                member = look(ended.si_pid)
                killed_before = pending_signals(ended.si_pid) & _FATAL
                if member is not None and not killed_before and len(self.hung_up) < MAX_HUNG_UP:
                    self.hung_up[member.pid, member.started] = name_of(member.pid)

    def leader_ended(self, status: int, usage: resource.struct_rusage) -> None:
        """Record that the leader was reaped with this wait status."""
        self.tree.reaped = True
        self.meter.add(usage)
        self.reaped.set()
        code = os.waitstatus_to_exitcode(status)
        if not self.exited.done():
            self.exited.set_result(code)
