"""One started program: its process group, its exit. Started with asyncio's subprocess API on pidfds."""

from __future__ import annotations

import asyncio
import errno as errnos
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast

from . import group

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
"""What execve(2) says of the file; the rest is the system's state, or the size of arguments and environment."""


MAX_NAME: Final = 256
"""Characters of a program's name in an error: a longer one would push the reason out of the sentence."""


class SpawnError(Exception):
    """The program did not start; `errno` and `what` (program, directory or process) say why, the text says it whole."""

    def __init__(self, errno: int, what: Literal["program", "directory", "process"], sentence: str) -> None:
        super().__init__(sentence)
        self.errno = errno
        self.what = what

    @property
    def name(self) -> str:
        """The errno's name, such as ENOENT."""
        return errnos.errorcode.get(self.errno, f"E{self.errno}")


def prepare_loop() -> None:
    """Make children be waited for through pidfds; once, before the first start.

    On Python 3.11 asyncio's default is a thread for each child; from 3.12 on it uses pidfds by itself.
    """
    if sys.version_info < (3, 12):
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)


def reset_signals() -> None:
    """Give programs default signal dispositions and an empty mask, whatever the service inherited.

    Ignored signals and the mask survive execve(2) (signal(7)); a service started by `nohup` or in the background of a
    script would hand them on. The two that Python itself ignores are restored by `subprocess`.
    """
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Process(asyncio.SubprocessProtocol):
    """A program that runs, in a session and process group of its own, whose number is its pid."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = self._loop.create_future()
        """The exit code, or minus the signal's number, once the program has ended."""
        self.pid = 0
        self._reaped_by_loop = asyncio.Event()
        self._pidfd = -1
        self._transport: asyncio.SubprocessTransport | None = None

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
    ) -> Process:
        """Start `argv` with exactly these three descriptors, which stay the caller's to close.

        Neither preexec_fn nor user= is used: both would make a fork of the whole service out of a vfork.
        Raises `SpawnError`.
        """
        try:
            _, process = await asyncio.get_running_loop().subprocess_exec(
                cls, *argv, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env, start_new_session=True
            )
        except OSError as error:
            raise _spawn_error(error, argv[0], cwd) from None
        return process

    def signal(self, number: int) -> bool:
        """Send a signal to the whole group; False where there is nobody left in it.

        The leader's pid names the group, and stays taken while the leader is not reaped or anyone is left in the group.
        After that it could be a stranger's: a process of that number is then there, and is left alone.
        """
        if self._reaped() and os.path.exists(f"/proc/{self.pid}"):  # noqa: PTH110  # for every run, and a Path is slow
            return False
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    async def group_ended(self) -> None:
        """Wait until nobody is left in the group, after the leader's exit."""
        await self._reaped_by_loop.wait()
        await group.ended(self.pid)

    def close(self) -> None:
        """Let go of the process; no signal may be sent any more."""
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _reaped(self) -> bool:
        # A pidfd reaches a zombie, and nobody once the zombie is reaped (pidfd_send_signal(2)).
        if self._pidfd < 0:
            return self._reaped_by_loop.is_set()
        try:
            signal.pidfd_send_signal(self._pidfd, 0)
        except ProcessLookupError:
            return True
        return False

    def _readable(self) -> None:
        # asyncio learns of the exit by a pidfd of its own, but tells it four turns of the loop later.
        self._loop.remove_reader(self._pidfd)
        try:
            status = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return  # asyncio was first and has reaped it: process_exited follows
        if status is not None:
            by_itself = status.si_code == os.CLD_EXITED
            self._settle(status.si_status if by_itself else -status.si_status)

    def _settle(self, code: int) -> None:
        if not self.exited.done():
            self.exited.set_result(code)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio.BaseProtocol."""
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self.pid = self._transport.get_pid()
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:
            return  # reaped already, or out of descriptors: process_exited follows all the same
        self._loop.add_reader(self._pidfd, self._readable)

    def process_exited(self) -> None:
        """asyncio.SubprocessProtocol."""
        assert self._transport is not None
        code = self._transport.get_returncode()
        assert code is not None
        self._transport.close()
        self._reaped_by_loop.set()
        self._settle(code)


def _spawn_error(error: OSError, program: bytes, cwd: bytes) -> SpawnError:
    number = error.errno or errnos.EIO
    reason = os.strerror(number)
    name = ascii(os.fsdecode(program)[:MAX_NAME])
    at_directory = error.filename is not None and os.fsencode(error.filename) == cwd
    # Where program and directory have the same name, only the directory itself can tell which of them it was.
    if at_directory and (cwd != program or not os.path.isdir(cwd)):  # noqa: PTH112  # bytes, and it never raises
        return SpawnError(number, "directory", f"cannot start in the directory {os.fsdecode(cwd)!a}: {reason}")
    if number in _OF_THE_PROGRAM:
        return SpawnError(number, "program", f"cannot run the program {name}: {reason}")
    return SpawnError(number, "process", f"cannot start a process for {name}: {reason}")
