"""Starts the leaders of runs by asyncio, and takes them over from it; gives each run's processes a mark.

A mark is one that fork, exec, setsid and a new environment do not change: the soft limit on file locks, which Linux has
ignored since 2.4.24 (RLIMIT_LOCKS, getrlimit(2)), is a number unique to the run. Anybody may read it
(/proc/PID/limits), even for setuid programs and zombies, and anybody may set it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import secrets
import zlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, Final

from . import childwatcher, tree
from .tracked import TrackedRun

_RLIMIT_LOCKS: Final = 10
"""asm-generic/resource.h; Python has no name for it."""

_MARK_BITS: Final = 30
"""Bits of a mark that identify the run. The 32 bits above them identify the service, which may run inside another
service."""


class _PendingStart:
    """A leader that asyncio is starting."""

    def __init__(self, run_id: str | None, mark: int, unmark: Callable[[], None]) -> None:
        self.run_id = run_id
        self.mark = mark
        self.unmark = unmark
        self.run: TrackedRun | None = None
        self.transport: asyncio.SubprocessTransport | None = None
        self.notify_asyncio: Callable[[asyncio.Future[int]], object] | None = None

    async def kill(self) -> None:
        """Kill the program if it already runs, and wait until asyncio knows of its exit, even when cancelled."""
        if self.run is None or self.transport is None or self.notify_asyncio is None:
            return  # asyncio has not handed the child over and kills the program itself
        self.run.exited.add_done_callback(self.notify_asyncio)
        self.run.tree.kill()
        # asyncio passes the exit on to the transport two turns of the loop later.
        while self.transport.get_returncode() is None:
            with contextlib.suppress(asyncio.CancelledError):
                await self.run.reaped.wait()
                await asyncio.sleep(0)


class Starter:
    """Starts one leader after the other on an event loop. `used` are the marks of the runs that are tracked.

    A leader is tracked by `enter`, which returns its run, and no longer by `leave`. `other` is called with the pid of
    a child that is no leader.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        used: Container[int],
        *,
        enter: Callable[[int, int, str | None], TrackedRun],
        leave: Callable[[TrackedRun], None],
        other: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._used = used
        self._enter = enter
        self._leave = leave
        self._other = other
        self._start: _PendingStart | None = None
        """The leader that asyncio is currently starting. asyncio does not yield to the loop before it hands over the
        child."""
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

        It also inherits the descriptors in `passed`. When cancelled, it first kills the program. Raises OSError as
        `asyncio.create_subprocess_exec` does.
        """
        with contextlib.ExitStack() as marking:
            start = self._start = _PendingStart(run_id, marking.enter_context(self._marking()), marking.close)
            try:
                starting = self._loop.subprocess_exec(
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
                transport, _ = await childwatcher.unless_cancelled(starting, start.kill)
            except asyncio.CancelledError:
                if start.run is not None:
                    self._leave(start.run)
                raise
            finally:
                if self._start is start:  # the start has failed
                    self._start = None
        # The transport could only report the exit, four turns of the loop later than the subreaper does. Closing it
        # does not kill the program: see `take_over`.
        transport.close()
        if start.run is None:
            raise RuntimeError("another child watcher was set on the service's loop; it cannot wait for its runs")
        return start.run

    def take_over(self, pid: int, callback: Callable[..., object], args: tuple[Any, ...]) -> bool:
        """Take a child over from asyncio if it is a leader. The next start may follow at once."""
        start = self._start
        if start is None or asyncio.get_running_loop() is not self._loop:
            self._other(pid)
            return False
        self._start = None
        start.unmark()
        start.run = self._enter(pid, start.mark, start.run_id)
        start.transport = args[0]
        start.notify_asyncio = lambda exited: callback(pid, exited.result(), *args)
        # The Popen object must not wait for the leader, kill it, or warn that it still runs: its poll(), which asyncio
        # calls before it kills, might reap it first.
        args[0].get_extra_info("subprocess").returncode = 0
        return True

    @contextlib.contextmanager
    def _marking(self) -> Iterator[int]:
        """Give processes that are started inside the block a new mark, and yield it; 0 if the system does not allow
        marks."""
        mark = 0
        while not mark or mark in self._used:
            mark = self._mark | secrets.randbits(_MARK_BITS)
        soft, hard = resource.getrlimit(_RLIMIT_LOCKS)
        try:
            resource.setrlimit(_RLIMIT_LOCKS, (mark, hard))
        except (OSError, ValueError):  # the hard limit is lower
            yield 0
            return
        try:
            yield mark
        finally:
            resource.setrlimit(_RLIMIT_LOCKS, (soft, hard))
