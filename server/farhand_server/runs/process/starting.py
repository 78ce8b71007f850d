"""Starts the leaders of runs by asyncio, and takes them over from it; gives each run's processes a mark.

A mark is one that fork, exec, setsid and a new environment do not change: the soft limit on file locks, which Linux has
ignored since 2.4.24 (RLIMIT_LOCKS, getrlimit(2)), is a number unique to the run. Anybody may read it
(/proc/PID/limits), even for setuid programs and zombies, and anybody may set it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
import time
import zlib
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Final

from . import tree
from .tracked import TrackedRun

_RLIMIT_LOCKS: Final = 10
"""asm-generic/resource.h; Python has no name for it."""

_MARK_BITS: Final = 30
"""Bits of a mark that identify the run. The 32 bits above them identify the service, which may run inside another
service."""


_TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds of a clock tick, the unit of start times (proc_pid_stat(5))."""


def ticks_now() -> int:
    """Return the time since boot in clock ticks, from which the kernel takes the start times of processes."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _TICK


class _TakenOver(Exception):
    """Ends asyncio's part in a start: the leader runs, and the subreaper has taken it over.

    asyncio would only prepare pipes that no leader has, and report the start two turns of the event loop later.
    """


class _PendingStart:
    """A leader that asyncio is starting, and the run once it is tracked."""

    __slots__ = ("mark", "run", "run_id", "ticks")

    def __init__(self, run_id: str | None, mark: int) -> None:
        self.run_id = run_id
        self.mark = mark
        self.ticks = ticks_now()
        """Before the start, in clock ticks since boot."""
        self.run: TrackedRun | None = None


class Starter:
    """Starts one leader after the other on an event loop. `used` are the marks of the runs that are tracked.

    A leader is tracked by `enter`, which returns its run. `other` is called with the pid of a child that is no leader.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        used: Container[int],
        *,
        enter: Callable[[int, int, str | None], TrackedRun],
        other: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._used = used
        self._enter = enter
        self._other = other
        self._clock_agrees = False
        """Whether the kernel has been seen to give a process the start time that this process's clock had."""
        self._start: _PendingStart | None = None
        """The leader that asyncio is currently starting. asyncio does not yield to the loop before it hands over the
        child. Meanwhile this process has the leader's mark, which the leader inherits."""
        myself = tree.look(os.getpid())
        assert myself is not None
        # An execve of the service does not change this.
        self._mark = (1 << 32 | zlib.crc32(b"%d %d" % (myself.pid, myself.started))) << _MARK_BITS

    def is_ours(self, mark: int) -> bool:
        """Return whether this service has made a mark."""
        return mark >> _MARK_BITS << _MARK_BITS == self._mark

    async def start(
        self,
        argv: Sequence[bytes],
        *,
        cwd: bytes,
        env: Mapping[bytes, bytes],
        stdin: int,
        stdout: int,
        stderr: int,
        run_id: str | None,
        passed: Sequence[int] = (),
    ) -> TrackedRun:
        """Start a leader in its own session, and track it and all processes that it leaves behind.

        It also inherits the descriptors in `passed`. Nothing is awaited, so this cannot be cancelled halfway. Raises
        OSError as `asyncio.create_subprocess_exec` does.
        """
        start = self._start = _PendingStart(run_id, self._new_mark())
        soft, hard = resource.getrlimit(_RLIMIT_LOCKS)
        try:
            resource.setrlimit(_RLIMIT_LOCKS, (start.mark, hard))
        except (OSError, ValueError):  # the hard limit is lower
            start.mark = 0
        try:
            transport, _ = await self._loop.subprocess_exec(
                asyncio.SubprocessProtocol,
                *argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                env=env,
                start_new_session=True,
                pass_fds=passed,
            )
        except _TakenOver:
            assert start.run is not None
            return start.run
        finally:
            self._start = None
            if start.mark:
                resource.setrlimit(_RLIMIT_LOCKS, (soft, hard))
        transport.close()  # kills the program
        raise RuntimeError("another child watcher was set on the service's loop; it cannot wait for its runs")

    def take_over(self, pid: int, args: tuple[Any, ...]) -> None:
        """Take a child over from asyncio if it is a leader, by ending its start with an exception."""
        start = self._start
        if start is None or asyncio.get_running_loop() is not self._loop:
            self._other(pid)
            return
        start.run = self._enter(pid, start.mark, start.run_id)
        start.run.start_ticks = self._start_ticks(pid, start.ticks)
        # asyncio must not wait for the leader, kill it, or warn that it still runs: its poll() might reap it first.
        transport: asyncio.SubprocessTransport = args[0]
        transport.get_extra_info("subprocess").returncode = 0
        transport.close()
        raise _TakenOver

    def _start_ticks(self, pid: int, before: int) -> int | None:
        """Return the start time of a leader that was started just now, after `before`; None if it cannot be known.

        A start takes a millisecond, and a tick ten: it is nearly always the tick before and after the start.
        """
        same = ticks_now() == before
        if same and self._clock_agrees:
            return before
        try:
            member = tree.look(pid)
        except OSError:  # no descriptor is left; the program runs all the same
            return None
        if member is None:
            return None
        if same:
            self._clock_agrees = member.started == before
        return member.started

    def _new_mark(self) -> int:
        mark = 0
        while not mark or mark in self._used:
            mark = self._mark | secrets.randbits(_MARK_BITS)
        return mark
