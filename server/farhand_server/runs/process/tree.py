"""Finds the processes of one run among the service's descendants, and signals them without ever hitting another
process.

Every process of a run is a descendant of the service, which is a subreaper: either a descendant of the leader, or an
orphan, which becomes the service's own child (prctl(2), PR_SET_CHILD_SUBREAPER), or a descendant of an orphan. Pids may
be reused, so processes are told apart by their start time (proc_pid_stat(5)) and by pidfds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from farhand_server.descriptors import reserve

RUN_ID_VARIABLE: Final = b"FARHAND_RUN_ID"
"""The environment variable that tells a program which run it belongs to. Orphans are recognized by it if nothing else
identifies them."""

SWEEPS: Final = 16
"""Passes over a tree within one kill. Each pass finds processes that were started during the previous one. A tree that
outruns all passes is scanned again whenever one of its processes has ended."""

MAX_ENVIRONMENT: Final = 6 << 20
"""Bytes of an environment that are read: as many as there can be (three quarters of 8 MiB, execve(2)), because the
service's own variable may come after all the variables that a request has set."""

EXEC_LOOKS: Final = 30
"""How often to read the environment of a process that seems to have none, because it may be in the middle of an
execve(2). Each read takes about 10 µs."""

_MARK: Final = b"Max file locks"

_PF_EXITING: Final = 0x4
"""A flag of a process that has begun to exit (include/linux/sched.h). Its descriptors are closed after that."""


class Member(NamedTuple):
    """A process at one moment. `started` is its start time in clock ticks since boot, and tells it from another process
    with the same pid."""

    pid: int
    parent: int
    group: int
    session: int
    started: int
    alive: bool


def look(pid: int) -> Member | None:
    """Return what /proc/PID/stat says about a process; None if there is no such process."""
    text = read(f"/proc/{pid}/stat")
    if not text:
        return None
    # "pid (comm) state ppid pgrp session …", where comm may hold anything; num_threads is field 20, starttime 22.
    fields = text[text.rindex(b")") + 2 :].split(maxsplit=20)
    # A process whose first thread alone has ended looks like a zombie, but has other threads.
    alive = fields[0] not in (b"Z", b"X") or int(fields[17]) > 1
    return Member(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]), alive)


def children(pid: int) -> list[int]:
    """Return the pids of the children of all threads of a process, including zombies."""
    try:
        # A Path for each would take as long again.
        threads = reserve.spend(os.listdir, f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
    return [int(child) for thread in threads for child in read(f"/proc/{pid}/task/{thread}/children").split()]


def run_id_of(pid: int, looks: int = EXEC_LOOKS) -> str | None:
    """Return the run's id from the environment with which a program was started; None if there is none.

    Return "" if no environment can be read `looks` times: it is empty, we may not read it, or the process is in the
    middle of an execve(2).
    """
    for _ in range(looks):
        environment = read(f"/proc/{pid}/environ", MAX_ENVIRONMENT)
        if environment:
            break
        os.sched_yield()
    else:
        return ""
    for variable in environment.split(b"\0"):
        name, _, value = variable.partition(b"=")
        if name == RUN_ID_VARIABLE:
            return value.decode(errors="replace")
    return None


def mark_of(pid: int) -> int:
    """Return the soft limit on file locks of a process or zombie; 0 if it has none or is gone. See `subreaper`."""
    for line in read(f"/proc/{pid}/limits").splitlines():
        if line.startswith(_MARK):
            soft = line[len(_MARK) :].split()[0]
            return int(soft) if soft.isdigit() else 0
    return 0


def name_of(pid: int) -> str:
    """Return the name that a process has given itself, at most 15 characters (proc_pid_comm(5)).

    It is empty if the process is gone.
    """
    return read(f"/proc/{pid}/comm").removesuffix(b"\n").decode(errors="replace")


def pending_signals(pid: int) -> int:
    """Return the signals that a process or zombie with one thread has not acted on, as a bit mask (1 << number - 1)."""
    lines = (line.split() for line in read(f"/proc/{pid}/status").splitlines())
    masks = [int(words[1], 16) for words in lines if words and words[0] in (b"SigPnd:", b"ShdPnd:")]
    return masks[0] | masks[1] if len(masks) == 2 else 0


def is_exiting(pid: int) -> bool:
    """Return whether all that is left of a process is about to end, or has ended."""
    text = read(f"/proc/{pid}/stat")
    if not text:
        return True
    # Flags are field 9, num_threads field 20, pending signals field 31. Whatever signal kills a process, KILL becomes
    # pending (complete_signal() in kernel/signal.c).
    fields = text[text.rindex(b")") + 2 :].split(maxsplit=29)
    killed = bool(int(fields[28]) & 1 << signal.SIGKILL - 1)
    return killed or (bool(int(fields[6]) & _PF_EXITING) and int(fields[17]) == 1)


def read(path: str, limit: int = 1 << 30) -> bytes:
    """Return at most `limit` bytes of a file in /proc; empty if the process is gone or we may not look at it."""
    return reserve.spend(_read, path, limit)


def _read(path: str, limit: int) -> bytes:
    chunks = []
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while limit > 0 and (chunk := os.read(fd, min(limit, 64 << 10))):
                chunks.append(chunk)
                limit -= len(chunk)
        finally:
            os.close(fd)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
    return b"".join(chunks)


def descend(roots: Iterable[int]) -> Iterator[Member]:
    """Yield those of the processes `roots` and their descendants that are alive."""
    todo = list(roots)
    seen: set[int] = set()
    while todo:
        pid = todo.pop()
        if pid in seen:
            continue
        seen.add(pid)
        member = look(pid)
        if member is not None and member.alive:
            yield member
            todo += children(pid)


def open_pidfd(member: Member) -> int | None:
    """Return a pidfd of exactly this process; None if it has ended. Raises OSError if no more descriptors are
    available."""
    try:
        fd = os.pidfd_open(member.pid)
    except ProcessLookupError:
        return None
    # Check after opening the pidfd: the same pid with the same start time is the same process.
    now = look(member.pid)
    if now is None or now.started != member.started:
        os.close(fd)
        return None
    return fd


def send(member: Member, number: int) -> None:
    """Send a signal to exactly this process. Does nothing if it has ended. Raises PermissionError."""
    reserve.spend(_send_by_pidfd, member, number)


def _send_by_pidfd(member: Member, number: int) -> None:
    fd = open_pidfd(member)
    if fd is None:
        return
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)


@dataclass(slots=True)
class Census:
    """How complete it is what the service knows about its children."""

    unexamined: bool = False
    """Whether there was no time to examine all of them."""
    undetermined: bool = False
    """Whether it is not known yet to which run some of them belong."""
    waiting: list[asyncio.Future[None]] = field(default_factory=list)

    def next_end(self) -> asyncio.Future[None]:
        """Return a future that is done once a child has ended after this call."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

    def child_ended(self) -> None:
        """Note that a child has ended and been reaped."""
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


class Tree:
    """All processes of a run.

    `orphans` returns the pids of the processes that have become children of the service. There may be more of them if
    the `census` says so; then `orphans` continues when called again.
    """

    def __init__(self, leader: int, orphans: Callable[[], Iterable[int]], census: Census | None = None) -> None:
        self.leader = leader
        self.reaped = False
        """Whether the leader has been reaped. Its pid is then free, unless it is still the id of a process group or
        session."""
        self.untouchable: set[int] = set()
        """Pids of processes that the kernel did not allow the service to signal."""
        self.killed: set[tuple[int, int]] = set()
        """Pid and start time of each process that `kill` has found."""
        self._orphans = orphans
        self._census = census or Census()
        self._killing = False
        self.over = False
        """Whether it is known that no process is left; there never will be one again, because every process of a run
        has another as its parent. Never for the stand-in that has no leader (`subreaper`)."""

    def note_orphans(self, orphans: Collection[int]) -> None:
        """Note which orphans the run has now, according to the `census`: if it has none, all its processes may have
        ended."""
        known = not self._census.unexamined and not self._census.undetermined
        if known and not orphans and self.reaped and self.leader:
            self.over = True

    def members(self, limit: int | None = None) -> list[Member]:
        """Return the processes that are alive now; with `limit`, not more of them than that."""
        if self.over:
            return []
        found: dict[int, Member] = {}
        seen: set[int] = set()
        roots = set(self._orphans())
        self.note_orphans(roots)
        if not self.reaped:
            roots.add(self.leader)
        while roots:
            for member in descend(roots):
                found[member.pid] = member
                if len(found) == limit:
                    return list(found.values())
            seen |= roots
            # A process that has lost its parent during this pass is now an orphan.
            roots = set(self._orphans()) - seen - found.keys()
        return list(found.values())

    def signal_group(self, number: int) -> bool:
        """Send a signal to the leader's process group. Return False if no process is left in it.

        The leader's pid is the group's id. It is not reused as long as the leader has not been reaped or a process is
        left in the group. After that it may belong to an unrelated process. In that case a process with this pid
        exists, and is left alone.
        """
        if self.reaped and os.path.exists(f"/proc/{self.leader}"):  # noqa: PTH110  # Path.exists is slow
            return False
        try:
            os.killpg(self.leader, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def terminate(self, *, hang_up: bool = False) -> None:
        """Send TERM, then CONT, to all processes: a stopped process acts on TERM only once it continues.

        With `hang_up`, the leader receives HUP as well, because an interactive shell ignores TERM (bash(1), SIGNALS).
        """
        members = self.members()
        others = [member for member in members if member.group != self.leader]
        for number in (signal.SIGTERM, signal.SIGCONT):
            self.signal_group(number)
            for member in others:
                self._send(member, number)
            if hang_up and number == signal.SIGTERM:
                for leader in (member for member in members if member.pid == self.leader):
                    self._send(leader, signal.SIGHUP)

    def hang_up(self, foreground: int | None) -> None:
        """Send HUP, then CONT, to the leader and to the `foreground` process group, as the kernel does when a terminal
        is gone."""
        reached = [each for each in self.members() if each.pid == self.leader or each.group == foreground]
        for number in (signal.SIGHUP, signal.SIGCONT):
            for member in reached:
                self._send(member, number)

    def kill(self) -> None:
        """Kill all processes, including those started meanwhile. From now on, `ended` kills any further ones that it
        finds."""
        if self.over:
            return
        # Without a free descriptor no process can be examined. Orphans of a run that is over are killed later.
        with contextlib.suppress(OSError):
            self._kill_all()

    def _kill_all(self) -> list[Member]:
        """Kill all processes, and return those that are still alive."""
        self._killing = True
        if not self.reaped:
            self.signal_group(signal.SIGKILL)
        alive: list[Member] = []
        for _ in range(SWEEPS):
            alive = self.members()
            fresh = [member for member in alive if (member.pid, member.started) not in self.killed]
            if not fresh:
                break
            for member in fresh:
                if self._send(member, signal.SIGKILL):
                    self.killed.add((member.pid, member.started))
        return alive

    async def ended(self) -> None:
        """Wait until all processes have ended. After `kill`, do not wait for processes that may not be signalled.

        Raises OSError if no descriptor is left for examining them.
        """
        while not self.over:
            next_end = self._census.next_end()
            if self._killing:
                members = [member for member in self._kill_all() if member.pid not in self.untouchable]
            else:
                members = self.members()
            if not members and self._census.unexamined:
                await asyncio.sleep(0)
                continue
            if not members:
                return
            for member in members:
                try:
                    await _end_of(member)
                except OSError:
                    # Without anything to wait with, any end may be the one: all of them come to be our children.
                    await next_end
                    break

    def _send(self, member: Member, number: int) -> bool:
        """Send a signal. Return False if that has to be tried again."""
        try:
            send(member, number)
        except PermissionError:
            self.untouchable.add(member.pid)
        except OSError:
            return _send_to_child(member, number)
        return True


def _send_to_child(member: Member, number: int) -> bool:
    """Send a signal without a pidfd, which is safe only for a child of this process: its pid is not used again before
    it is reaped. Its descendants become children when it has ended. Return False for any other process."""
    now = look(member.pid)
    if now is None or now.started != member.started:
        return True
    if now.parent != os.getpid():
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(member.pid, number)
    return True


async def _end_of(member: Member) -> None:
    fd = open_pidfd(member)
    if fd is None:
        await asyncio.sleep(0)  # give other tasks their turn, whatever the next pass finds
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        loop.add_reader(fd, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
