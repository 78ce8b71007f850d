"""One started program: its exit, all its processes, what they have used, and which limit has ended them."""

from __future__ import annotations

import asyncio
import contextlib
import errno as errnos
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Final, NamedTuple

from farhand_server.credentials import Credentials
from farhand_server.worker.steady import steady_paths

from . import slot, subreaper
from .cgroup import RunCgroup
from .launch import LaunchCommand, NoLauncher, launch, python_for
from .left import LeftTree, others
from .meter import MeterSnapshot
from .packed import is_large, packed
from .place import LaunchError, directory_error, look, program_error, shown
from .tracked import TrackedRun
from .tree import Member
from .usage import Enforcer, Hit, LimitName, ResourceLimits, ResourceUsage, enforcers, limit_hit

_OF_THE_PROGRAM: Final = frozenset(
    {
        errnos.EACCES,
        errnos.EISDIR,
        errnos.ELOOP,
        errnos.ENAMETOOLONG,
        errnos.ENOENT,
        errnos.ENOEXEC,
        errnos.ENOTDIR,
        errnos.EPERM,
        errnos.ETXTBSY,
    }
)
"""Errors of execve(2) about the file. Its other errors concern the system's state, or the size of arguments and
environment."""


def prepare_loop(expecting: Iterable[int] = (), *, sole_parent: bool = False) -> None:
    """Make the service the subreaper of its runs on this event loop.

    Call this in the main thread, before the first start.

    `expecting` are the pids of children that were started before an execve of the service. They are not reaped until
    `Process.restore` is called for them. With `sole_parent`, nothing else in this process starts children but through
    asyncio, so that all others can be reaped when they end. Raises OSError before Linux 3.4, which has no subreapers
    (prctl(2)).
    """
    slot.reserve()
    steady_paths()
    subreaper.prepare(expecting, sole_parent=sole_parent)


class LeaderSnapshot(NamedTuple):
    """The state of a program and its leader. `code` is the exit code if the leader has been reaped."""

    pid: int
    mark: int
    code: int | None
    counted: MeterSnapshot


class Process:
    """A running program in its own session and process group, whose ids are the program's pid.

    asyncio starts the program, and the `subreaper` reaps it. `childwatcher` explains why.
    """

    def __init__(self, tracked: TrackedRun, limits: ResourceLimits, cgroup: RunCgroup | None) -> None:
        self.exited: asyncio.Future[int] = tracked.exited
        """The exit code, or minus the signal's number, once the program has ended."""
        self.pid = tracked.tree.leader
        self.applied: dict[LimitName, Enforcer] = enforcers(limits, cgroup.enforces if cgroup else frozenset())
        """What enforces each limit that is set. An rlimit applies to each process separately, and RLIMIT_NPROC counts
        all processes of the user. A cgroup limits the whole tree, except for processor time, which is always an
        rlimit."""
        self._subreaper = subreaper.current()
        self._tracked = tracked
        self._limits = limits
        self._cgroup = cgroup

    @classmethod
    async def start(
        cls,
        argv: Sequence[bytes],
        *,
        cwd: bytes,
        env: Mapping[bytes, bytes],
        stdin: int,
        stdout: int,
        stderr: int,
        run_id: str | None = None,
        limits: ResourceLimits = ResourceLimits(),  # noqa: B008  # frozen
        cgroup: RunCgroup | None = None,
        credentials: Credentials | None = None,
        terminal: bool = False,
        argv0: bytes | None = None,
        home: bytes = b"",
        judged: bool = False,
    ) -> Process:
        """Start `argv` with exactly these three descriptors, which the caller must still close.

        With `terminal`, they are the same terminal, which becomes the program's controlling terminal. For `argv0` see
        `launch`. The program runs as the user of `credentials` (None: as the service), under `limits`, in `cgroup`,
        which `close` removes. For `home` and `judged` see `place.look`. Neither preexec_fn nor user= is used, because
        both would fork the whole service instead of using vfork; see `launch`. Raises `LaunchError`.
        """
        own = credentials is None or credentials.uid == os.geteuid()
        others = limits if cgroup is None else cgroup.others(limits)
        large = is_large(argv, env) and python_for(None if own else credentials) is not None
        # Without any of these, the program is executed by the service's vfork itself, and errors are its own.
        through = not own or bool(others) or cgroup is not None or terminal or argv0 is not None or large
        place = await look(
            argv[0],
            search=env.get(b"PATH", os.fsencode(os.defpath)),
            cwd=cwd,
            home=home,
            judged=judged,
            credentials=None if own else credentials,
            opened=through,
        )
        prefix: bytes | None = None
        try:
            with contextlib.ExitStack() as held:
                held.callback(place.close)
                there, directory = place.cwd, None
                arguments = held.enter_context(packed(argv, env, argv0)) if large else None
                command = LaunchCommand(tuple(argv), env)
                if through or not place.quick:
                    there, directory = held.enter_context(place.entered())
                    command = launch(
                        argv,
                        env=env,
                        credentials=credentials,
                        limits=others,
                        cgroup=None if cgroup is None else cgroup.path,
                        terminal=terminal,
                        argv0=argv0,
                        directory=directory,
                        by_shell=not place.quick,
                        arguments=arguments,
                    )
                    prefix = command.argv[0] if command.argv != tuple(argv) else None
                tracked = await subreaper.current().start(
                    command.argv,
                    cwd=there,
                    env=command.env,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    run_id=run_id,
                    passed=tuple(each for each in (directory, arguments) if each is not None),
                )
        except NoLauncher as error:
            raise LaunchError(errnos.ENOENT, "process", f"cannot start {shown(argv[0])}: {error}") from None
        except OSError as error:
            raise _spawn_error(error, argv[0], place.cwd, prefix) from None
        return cls(tracked, limits, cgroup)

    @classmethod
    async def start_own(
        cls,
        argv: Sequence[bytes],
        *,
        env: Mapping[bytes, bytes],
        stdin: int,
        stdout: int,
        stderr: int,
        passed: Sequence[int],
        run_id: str,
        limits: ResourceLimits,
        cgroup: RunCgroup | None,
    ) -> Process:
        """Start a program of the service's own installation, in `/`, which becomes the run's user itself.

        It begins with the service's ids, so neither `argv` nor `env` may contain anything from a request. It also
        inherits the descriptors `passed`. The other parameters are those of `start`. Raises `LaunchError`.
        """
        others = limits if cgroup is None else cgroup.others(limits)
        command = launch(argv, env=env, credentials=None, limits=others, cgroup=None if cgroup is None else cgroup.path)
        try:
            tracked = await subreaper.current().start(
                command.argv,
                cwd=b"/",
                env=command.env,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                run_id=run_id,
                passed=tuple(passed),
            )
        except OSError as error:
            raise _spawn_error(error, argv[0], b"/", command.argv[0]) from None
        return cls(tracked, limits, cgroup)

    @classmethod
    def restore(
        cls,
        snapshot: LeaderSnapshot,
        *,
        run_id: str | None = None,
        limits: ResourceLimits = ResourceLimits(),  # noqa: B008  # frozen
        cgroup: RunCgroup | None = None,
    ) -> Process:
        """Return the program recorded in a snapshot, which this process started before its last execve.

        The leader may be alive or a zombie; then its pid must have been passed to `prepare_loop`. It may also have been
        reaped already. Raises ChildProcessError if the leader is not a child of this process.
        """
        reaper = subreaper.current()
        if snapshot.code is None:
            tracked = reaper.adopt(snapshot.pid, run_id, snapshot.counted)
        else:
            tracked = reaper.adopt_rest(snapshot.pid, snapshot.mark, run_id, snapshot.code, snapshot.counted)
        return cls(tracked, limits, cgroup)

    def snapshot(self) -> LeaderSnapshot:
        """Return the state that `restore` needs in the program that replaces this one by execve(2)."""
        code = self.exited.result() if self.exited.done() else None
        return LeaderSnapshot(self.pid, self.mark, code, self._tracked.meter.snapshot())

    @property
    def mark(self) -> int:
        """The mark of all processes of this run (see `subreaper`); 0 if the system does not allow marks."""
        return self._tracked.mark

    @property
    def cgroup_path(self) -> Path | None:
        """The directory of the run's cgroup, None without one."""
        return None if self._cgroup is None else self._cgroup.path

    def signal(self, number: int) -> bool:
        """Send a signal to the leader's process group. Return False if no process is left in it."""
        return self._tracked.tree.signal_group(number)

    def hang_up(self, foreground: int | None) -> None:
        """Send HUP, then CONT, to the leader and to the `foreground` process group of its terminal."""
        self._tracked.tree.hang_up(foreground)

    def terminate_tree(self, *, hang_up: bool = False) -> None:
        """Send TERM, then CONT, to every process of the run, in whatever session or process group it is.

        With `hang_up`, the leader, which may be a shell on a terminal, receives HUP as well.
        """
        self._tracked.tree.terminate(hang_up=hang_up)
        if self._cgroup is not None:
            self._cgroup.terminate(self._tracked.tree)

    def kill_tree(self) -> frozenset[int]:
        """Kill every process of the run, and any further ones found while `tree_ended` waits.

        If the run is `over`, this costs nothing. Return the pids of processes that the kernel does not allow the
        service to signal: programs that have become another user (setuid, kill(2)) under a service that is not root.
        They survive, except in a cgroup, which is killed as a whole.
        """
        if self._cgroup is not None:
            try:
                self._cgroup.kill()
            except OSError:
                # Not even the reserve has sufficed. An end of a process frees what is needed.
                self._subreaper.census.next_end().add_done_callback(lambda _: self.kill_tree())
        self._tracked.tree.kill()
        return frozenset(self._tracked.tree.untouchable)

    async def examined(self) -> None:
        """Wait until it is known which orphans belong to the run. There may be very many."""
        await self._subreaper.examined(self._tracked)

    @property
    def over(self) -> bool:
        """Whether it is known that the leader and all other processes of the run have ended, and are reaped. This needs
        no look at any of them after `examined`."""
        return self._cgroup is None and self._tracked.tree.over

    @property
    def start_ticks(self) -> int | None:
        """When the program was started, in clock ticks since boot; None if that is not known."""
        return self._tracked.start_ticks

    def others(self) -> list[Member]:
        """Return the processes of the run that are alive, except the leader and those that are about to end.

        Call this after the leader's exit, and after `examined`. If they cannot be examined for lack of descriptors, the
        list is empty.
        """
        if self.over:
            return []
        try:
            return others(self._tracked, self._cgroup)
        except OSError:
            return []

    @property
    def killed(self) -> Set[tuple[int, int]]:
        """Pid and start time of each process of the run that `kill_tree` has found; see `Member`."""
        return self._tracked.tree.killed

    @property
    def hung_up(self) -> Mapping[tuple[int, int], str]:
        """Pid, start time and name of each process that the hang-up of its terminal has ended; see `TrackedRun`.

        This is complete after `tree_ended`.
        """
        return self._tracked.hung_up

    def release(self) -> LeftTree:
        """Leave the remaining processes running, instead of `close`. Call this after the leader's exit."""
        return LeftTree(self._tracked, self._cgroup)

    async def tree_ended(self) -> None:
        """Wait until the leader and every process of the run have ended.

        After `kill_tree`, this does not wait for processes that may not be signalled. Use a timeout: even after KILL, a
        process in an uninterruptible wait for a device ends only after that wait.
        """
        await self._tracked.reaped.wait()
        if self._cgroup is not None:
            await self._cgroup.ended(self._subreaper.census)
        await self._tracked.tree.ended()
        # The SIGCHLD that reports their end may still be pending.
        self._subreaper.reap()

    def usage(self) -> ResourceUsage:
        """Return what the run has used. Call this between `exited` and `close`; the result is complete after
        `tree_ended`.

        The numbers come from the cgroup, or without one from wait4(2), which covers the leader with the children it has
        waited for, and orphans once they are reaped. The memory peak is then that of one process, and None if it is
        below the service's own: see `UsageMeter`.
        """
        counted = self._tracked.meter.usage()
        return counted if self._cgroup is None else self._cgroup.usage(counted)

    def limit_hit(self) -> Hit | None:
        """Return which limit has ended the program. Call this between `exited` and `close`; see `usage.limit_hit`."""
        if self._cgroup is None and not self._limits:
            return None
        oom_killed = self._cgroup is not None and self._cgroup.oom_killed()
        return limit_hit(self._limits, self.exited.result(), self.usage(), oom_killed=oom_killed)

    def close(self) -> None:
        """Stop tracking the run: kill its remaining processes, which are reaped whenever they end, and remove its
        cgroup."""
        self.kill_tree()
        self._subreaper.leave(self._tracked)
        if self._cgroup is not None and not self._cgroup.remove():
            self._subreaper.spawn(self._cgroup.remove_at_end(self._subreaper.census))


def _spawn_error(error: OSError, program: bytes, cwd: bytes, prefix: bytes | None) -> LaunchError:
    number = error.errno or errnos.EIO
    at_directory = error.filename is not None and os.fsencode(error.filename) in (cwd, b"/")
    # If program and directory have the same name, only a look at the directory can tell which of them failed. Without a
    # prefix, a look cannot hang.
    if at_directory and prefix is None and (cwd != program or not os.path.isdir(cwd)):  # noqa: PTH112  # bytes
        return directory_error(number, cwd)
    if number in _OF_THE_PROGRAM and prefix is not None and error.filename is not None:
        return LaunchError(
            number, "process", f"cannot start {shown(program)} by {os.fsdecode(prefix)}: {os.strerror(number)}"
        )
    if number in _OF_THE_PROGRAM:
        return program_error(number, program)
    return LaunchError(number, "process", f"cannot start a process for {shown(program)}: {os.strerror(number)}")
