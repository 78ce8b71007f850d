"""Makes the service the parent of its runs' orphans, determines to which run each orphan belongs, and reaps it.

asyncio starts the leaders (`loop.subprocess_exec`), but this module reaps leaders and orphans, on SIGCHLD with
wait4(2), which also reports what they have used. `childwatcher` hooks into asyncio for that and explains why: without
the hook, asyncio would reap the leaders itself, report their exit several turns of the event loop later, and discard
what wait4(2) reports. `starting` starts the leaders, each with the mark of its run.

An orphan belongs to the run whose session, process group or cgroup it is in; only the kernel sets these. If they
identify no run, the mark does, which anybody may set. A program that changes its mark can still be recognized by
FARHAND_RUN_ID in its environment.

A child that none of these identifies is left running. When it ends, it is reaped, too, unless somebody else waits for
it: a child that asyncio has started for another part of the service. Nobody examines a child twice, so the processes
that one user has let escape cost others nothing but their place in the list of children.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import weakref
from collections.abc import Callable, Coroutine, Iterable
from typing import Final

from farhand_server.descriptors import reserve

from . import childwatcher, tree
from .meter import MeterSnapshot, PeakFloors, UsageMeter
from .starting import Starter
from .tracked import TrackedRun

MAX_EXAMINE_TIME: Final = 0.005
"""Seconds of one turn of the loop for examining or reaping children: a user may leave thousands at once."""

WHOLE_LIST: Final = 2048
"""Bytes up to which one read has returned the whole list of children: otherwise it fills at least a page of memory but
for a pid (fs/seq_file.c)."""

_PR_SET_CHILD_SUBREAPER: Final = 36
"""linux/prctl.h."""

RETRIES: Final = (0.01, 0.1, 1.0)
"""Seconds after which a child is examined again that seems to have no environment. It may be in the middle of an
execve(2), which takes milliseconds, or have an empty one."""

MAX_EXAMINE_TURNS: Final = 200
"""Turns for which the end of a run waits for the examination of children: a second of work. Whoever starts processes
faster than they can be examined must not keep the runs of others from ending."""


class Subreaper:
    """Waits for the leaders of all runs and for all of their orphans, on SIGCHLD.

    Create it in the main thread, on the event loop running there.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, sole_parent: bool) -> None:
        """`sole_parent` is whether no other part of the process starts children but through asyncio, so that all others
        are orphans."""
        self.loop = loop
        self._sole_parent = sole_parent
        self._tasks: set[asyncio.Task[None]] = set()
        self._expecting: set[int] = set()
        self._leaders: dict[int, TrackedRun] = {}
        """Leaders that have not been reaped, by pid."""
        self._sessions: dict[int, TrackedRun] = {}
        """Runs by the number of their session and process group, which is their leader's pid."""
        self._marks: dict[int, TrackedRun] = {}
        self._ids: dict[str, TrackedRun] = {}
        self._adopted: dict[int, TrackedRun | None] = {}
        """The run of each child that is not a leader, by pid; None if nobody claims it. A pid is not reused before the
        child is reaped."""
        self._others: set[int] = set()
        """Children that others wait for."""
        self._postponed: set[int] = set()
        """Children that nobody claims yet while leaders are expected: they are examined again once one is adopted."""
        self._retries: dict[int, tuple[int, float]] = {}
        """Children whose run could not be determined: how often, and when to try again."""
        self._retrying: asyncio.TimerHandle | None = None
        self._last_listed = b""
        self.census = tree.Census()
        self._floors = PeakFloors(loop)
        self._unchecked: set[TrackedRun] = set()
        """Runs that have left processes running, one of which has just ended: the others may have ended, too."""
        self._nobody = self._track(0, 0, None)
        """A stand-in that owns the orphans of runs that are over. They are killed."""
        self._nobody.tree.reaped = self._nobody.closed = True
        self._starter = Starter(loop, self._marks, enter=self.enter, other=self._others.add)
        self.start: Final = self._starter.start
        # Kept open, so that a run can be ended even when no descriptors are left. Only the main thread has children: it
        # starts them, and the kernel gives orphans to the first living thread.
        self._children = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._children)
        reserve.keep()
        _become_subreaper()
        childwatcher.install(self._starter.take_over, self._others.discard)
        loop.add_signal_handler(signal.SIGCHLD, self.reap)
        loop.call_soon(self.reap)  # children that have already ended

    def _track(self, pid: int, mark: int, run_id: str | None, counted: MeterSnapshot | None = None) -> TrackedRun:
        meter = UsageMeter(self._floors.current()) if counted is None else UsageMeter.restore(counted)
        return TrackedRun(pid, mark, run_id, self._orphans, meter, self.census)

    def expect(self, pids: Iterable[int]) -> None:
        """Do not reap these children until they are adopted. They are leaders that were started before an execve of the
        service."""
        self._expecting.update(pids)

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run the remaining work for a run that is over in a task."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def enter(self, pid: int, mark: int, run_id: str | None, counted: MeterSnapshot | None = None) -> TrackedRun:
        """Track a leader that was just started, and all processes that it leaves behind."""
        run = self._leaders[pid] = self._sessions[pid] = self._track(pid, mark, run_id, counted)
        if mark:
            self._marks[mark] = run
        if run_id:
            self._ids[run_id] = run
        return run

    def adopt_rest(self, pid: int, mark: int, run_id: str | None, code: int, counted: MeterSnapshot) -> TrackedRun:
        """Track the remaining processes of a run whose leader was reaped, with this exit code, before an execve."""
        run = self.enter(pid, mark, run_id, counted)
        del self._leaders[pid]
        run.tree.reaped = True
        run.reaped.set()
        run.exited.set_result(code)
        self._examine_postponed()
        return run

    def adopt(self, pid: int, run_id: str | None, counted: MeterSnapshot) -> TrackedRun:
        """Track a leader that this process started before an execve. Raises ChildProcessError if it is not a child."""
        child = tree.look(pid)
        if child is None or child.parent != os.getpid():
            raise ChildProcessError(f"the process {pid} is not a child of this service")
        self._expecting.discard(pid)
        mark = tree.mark_of(pid)
        run = self.enter(pid, mark if self._starter.is_ours(mark) else 0, run_id, counted)
        self._examine_postponed()
        self.loop.call_soon(self.reap)
        return run

    def _examine_postponed(self) -> None:
        self._postponed.clear()
        self._last_listed = b""

    def leave(self, run: TrackedRun) -> None:
        """Stop tracking a run that is over. If its leader is alive, it is still reaped when it ends. Orphans are killed
        when found."""
        run.closed = True
        if run.tree.reaped:
            self._forget(run)

    def release(self, run: TrackedRun, ended: Callable[[], None]) -> None:
        """Stop tracking a run that is over, but leave its orphans running: they are reaped, and not killed when found.

        Later, when the last one has ended, `ended` is called."""
        run.closed = True
        run.on_left_ended = ended
        self._check_released_soon(run)

    def _check_released_soon(self, run: TrackedRun) -> None:
        if run not in self._unchecked:  # many processes may have ended at once
            self._unchecked.add(run)
            self.loop.call_soon(self._check_released, run)

    def _check_released(self, run: TrackedRun) -> None:
        self._unchecked.discard(run)
        if run.on_left_ended is None:
            return
        try:
            if run.tree.members(limit=1):
                return
        except OSError:
            return  # no descriptor is left to examine them until the next one ends
        ended, run.on_left_ended = run.on_left_ended, None
        self._forget(run)
        ended()

    def _forget(self, run: TrackedRun) -> None:
        self._marks.pop(run.mark, None)
        if run.run_id is not None and self._ids.get(run.run_id) is run:
            del self._ids[run.run_id]
        # A later leader may have the same pid, which is free once the session is empty.
        if self._sessions.get(run.tree.leader) is run:
            del self._sessions[run.tree.leader]
        # These orphans will be examined again, and then belong to a run that is over.
        self._last_listed = b""
        for pid in run.orphans:
            del self._adopted[pid]
        run.orphans.clear()

    def _orphans(self, run: TrackedRun) -> Iterable[int]:  # including zombies
        self.examine()
        return run.orphans

    def examine(self) -> None:
        """Determine to which run each child belongs that has not been examined, as far as there is time."""
        listed = self._listed()
        if listed == self._last_listed and not self.census.unexamined and not self._retries:
            return
        self._last_listed = listed
        children = set(map(int, listed.split()))
        self._postponed &= children
        for pid in (self._adopted.keys() | self._retries.keys()) - children:  # somebody else has reaped them
            self._disown(pid)
        now = self.loop.time()
        examined, until = 0, now + MAX_EXAMINE_TIME
        self.census.unexamined = False
        known = self._leaders.keys() | self._expecting | self._others | self._postponed
        for pid in children - self._adopted.keys() - known:
            tries, due = self._retries.get(pid, (0, now))
            if due > now:
                continue
            if examined and self.loop.time() > until:
                self.census.unexamined = True
                self.loop.call_soon(self._examine_rest)
                break
            examined += 1
            try:
                owner = self._owner(pid, tree.EXEC_LOOKS if tries == 0 else 1)
            except LookupError:
                self._try_again(pid, tries, now)
                continue
            if owner is None and self._expecting:  # its run may not be known yet
                self._retries.pop(pid, None)
                self._postponed.add(pid)
            else:
                self._adopt(pid, owner)
        self.census.undetermined = bool(self._retries)
        if self._nobody.orphans:
            self.loop.call_soon(self._nobody.tree.kill)

    async def examined(self, run: TrackedRun) -> None:
        """Wait until all children have been examined, but no longer than `MAX_EXAMINE_TURNS`.

        If there is nothing of `run` among them, its tree then knows that it is over."""
        with contextlib.suppress(OSError):  # no descriptor is left to examine them
            for _ in range(MAX_EXAMINE_TURNS):
                self.examine()
                if not self.census.unexamined:
                    run.tree.note_orphans(run.orphans)
                    return
                await asyncio.sleep(0)

    def _examine_rest(self) -> None:
        with contextlib.suppress(OSError):  # no descriptor is left to examine them
            self.examine()

    def _try_again(self, pid: int, tries: int, now: float) -> None:
        if tries == len(RETRIES):
            self._adopt(pid, None)
            return
        due = now + RETRIES[tries]
        self._retries[pid] = tries + 1, due
        if self._retrying is None:
            self._retrying = self.loop.call_at(due, self._retry)

    def _retry(self) -> None:
        self._retrying = None
        self._examine_rest()
        if self._retries and self._retrying is None:
            self._retrying = self.loop.call_at(min(due for _, due in self._retries.values()), self._retry)

    def _adopt(self, pid: int, run: TrackedRun | None) -> None:
        self._retries.pop(pid, None)
        self._adopted[pid] = run
        if run is not None:
            run.orphans.add(pid)

    def _disown(self, pid: int) -> TrackedRun | None:
        """Forget a child that has been or is about to be reaped, and return its run."""
        self._retries.pop(pid, None)
        run = self._adopted.pop(pid, None)
        if run is not None:
            run.orphans.discard(pid)
        return run

    def _listed(self) -> bytes:
        """Return the pids of this process's children, including zombies, with a space after each."""
        listed = chunk = os.pread(self._children, 64 << 10, 0)
        while len(chunk) > WHOLE_LIST and (chunk := os.pread(self._children, 64 << 10, len(listed))):
            listed += chunk
        return listed

    def _owner(self, pid: int, looks: int = tree.EXEC_LOOKS) -> TrackedRun | None:
        """Return the run to which a child belongs, or None. Raises LookupError if the run cannot be determined at
        present."""
        member = tree.look(pid)
        if member is None:
            return None
        # First check what only the kernel sets, because anybody can read another run's mark and set it.
        for number in (member.session, member.group):
            if number in self._sessions:
                return self._sessions[number]
        for name in tree.read(f"/proc/{pid}/cgroup").decode(errors="replace").split("/"):
            if name.startswith("run-") and name[4:].rstrip() in self._ids:
                return self._ids[name[4:].rstrip()]
        mark = tree.mark_of(pid)
        if mark in self._marks:
            return self._marks[mark]
        # While some leaders are still expected, the marks of their runs are not known yet.
        if self._starter.is_ours(mark) and not self._expecting:
            return self._nobody
        run_id = tree.run_id_of(pid, looks) if member.alive else None
        if run_id == "":
            raise LookupError
        return self._ids.get(run_id) if run_id else None

    def reap(self) -> None:
        """Reap leaders and orphans that have ended, as far as there is time; the others in the next turns."""
        until = self.loop.time() + MAX_EXAMINE_TIME
        with contextlib.suppress(ChildProcessError):  # there are no children
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if not self._take(found):
                    # This child is left to another part of the service, but it hides the children behind it.
                    self._reap_behind()
                    return
                if self.loop.time() > until:
                    self.loop.call_soon(self.reap)
                    return

    def _reap_behind(self) -> None:
        for pid in map(int, self._listed().split()):
            with contextlib.suppress(ChildProcessError):
                if (found := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                    self._take(found)

    def _take(self, found: os.waitid_result) -> bool:
        """Reap a zombie. Return False if it is not ours to reap."""
        pid = found.si_pid
        if pid in self._others or pid in self._expecting:
            return False
        self._last_listed = b""  # the pid may be used again
        self.census.child_ended()
        run = self._leaders.pop(pid, None)
        if run is not None:
            _, status, usage = os.wait4(pid, 0)
            run.leader_ended(status, usage)
            if run.closed:
                self._forget(run)
            return True
        try:
            if pid not in self._adopted:
                self._adopt(pid, self._owner(pid))  # for a zombie, the owner can always be determined
        except OSError:
            return False  # no descriptor is left to examine it; it is reaped when the next child ends
        whose = self._adopted[pid]
        if whose is None and (self._expecting or not self._sole_parent):
            if self._expecting:  # its run may not be known yet
                self._disown(pid)
            return False
        self._disown(pid)
        if whose is None:
            os.wait4(pid, 0)
            return True
        whose.orphan_ended(found)
        whose.meter.add(os.wait4(pid, 0)[2])
        if whose.on_left_ended is not None:
            self._check_released_soon(whose)
        if whose is self._nobody:
            self.loop.call_soon(self._nobody.tree.kill)  # its children have become children of this process
        return True


_current: Subreaper | None = None


def prepare(expecting: Iterable[int] = (), *, sole_parent: bool = False) -> Subreaper:
    """Make this process a subreaper whose children are reaped on the running event loop. May be called repeatedly.

    Call this in the main thread. For `expecting` see `Subreaper.expect`, for `sole_parent` see `Subreaper`.
    """
    global _current
    loop = asyncio.get_running_loop()
    if _current is None or _current.loop is not loop:
        _current = Subreaper(loop, sole_parent=sole_parent)
    _current.expect(expecting)
    return _current


def current() -> Subreaper:
    """Return the subreaper of the running event loop. Raises RuntimeError before `prepare`."""
    if _current is None or _current.loop is not asyncio.get_running_loop():
        raise RuntimeError("prepare_loop() must be called on this loop before a process is started")
    return _current


def _become_subreaper() -> None:
    """Make this process the parent of all orphans among its descendants. Raises OSError before Linux 3.4."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot become a child subreaper: {os.strerror(number)}")
