"""A process that waits for one command, and does its work in the front's place.

It becomes what the front is: standard files, directory, environment, umask, ignored signals. What it cannot become
(`circumstances`), or could not do at another session's terminal (`at_terminal`), it refuses, and the front does it
itself. The command then runs as in any process: `farhand_client.cli.main`, which is found by its name, as by
`python -m`: the commands know the helper, and it knows none of them.

If the front is killed, so is this process, by the kernel: the end of its connection sends SIGKILL (F_SETSIG of
fcntl(2)). To the service that is a client that was killed.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed lacks it; what is used has the types of signal's
import contextlib
import ctypes
import fcntl
import importlib
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, NoReturn

from farhand_client import caller

from .at_terminal import ToldJob, is_served
from .circumstances import Circumstances, character_locale, interpreter_options
from .handover import (
    BEGUN,
    DIED,
    EXITED,
    HEADER,
    READY,
    REFUSED,
    Command,
    parse_environment,
    parse_header,
    parse_strings,
)

RECEIVE_TIMEOUT: Final = 1
"""Seconds in which a message must arrive. A front sends it at once; whoever does not must not keep a child for ever."""

MAX_COMMANDS: Final = 200
"""Commands of one process: its fork is a twentieth of a command's work, and what it may lose of memory ends with it."""

MAX_WAIT: Final = 30
"""Seconds that a process waits for its next command. Those of a burst go then; new ones wait as long as the helper."""

CHILD_PID: Final = struct.Struct("=i")
"""A child's pid, as it reports that it has begun a command."""

_MAX_DESCRIPTORS: Final = 5
_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred of unix(7)
_TIMEOUT: Final = struct.Struct("ll")  # struct timeval

_SET_PDEATHSIG: Final = 1
_SET_NAME: Final = 15  # prctl(2)
_F_SETSIG: Final = 10  # fcntl(2); the module lacks it

_COERCED: Final = (b"", b"C", b"POSIX")
"""Locales in which Python sets LC_CTYPE (PEP 538)."""

_HANDLERS: Final[dict[int, Callable[[int, FrameType | None], Any] | int]] = {
    _signal.SIGHUP: _signal.SIG_DFL,
    _signal.SIGINT: _signal.default_int_handler,
}
"""What a new interpreter does with the signals that may be ignored; `prepare_process` resets all others."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Taken:
    """A command that this process has begun, for the front `pid`."""

    connection: socket.socket
    pid: int
    there: Circumstances
    command: Command
    fds: Sequence[int]


def run_child(listener: socket.socket, reports: int, parent: int) -> NoReturn:
    """Wait on `listener` for commands to serve, one after the other. Does not outlive `parent` while it waits.

    On `reports` this process's pid is written when a command has begun, and its negative when it waits again.
    """
    end_with_parent(parent)
    here = Circumstances.of("self")
    options = interpreter_options(parse_environment(caller.initial_environment().split(b"\0")))
    pidfd = os.pidfd_open(os.getpid())
    for _ in range(MAX_COMMANDS):
        taken = None
        while taken is None:
            connection, _ = listener.accept()
            signal.alarm(0)
            taken = _take(connection, pidfd, here, options)
            if taken is None:
                connection.close()
        _report(reports, os.getpid())
        if not _serve(taken):
            break
        end_with_parent(parent)
        _report(reports, -os.getpid())
        signal.alarm(MAX_WAIT)
    os._exit(0)


def _report(reports: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # the zygote is gone; a command that was begun must not be lost with it
        os.write(reports, CHILD_PID.pack(number))


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process as soon as `parent` is gone."""
    _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _take(connection: socket.socket, pidfd: int, here: Circumstances, options: Mapping[bytes, bytes]) -> Taken | None:
    """Receive a command and begin it; None if this process does not serve it."""
    fds: list[int] = []
    try:
        pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != os.geteuid():
            return None
        socket.send_fds(connection, [READY], [pidfd])
        there = Circumstances.of(pid)  # takes as long as the front takes to send
        command = _receive(connection, fds)
        if (
            command is not None
            and len(fds) == len(command.open) + 2
            and here.same(there)
            and interpreter_options(command.environment) == options
            and is_served(
                [os.fsdecode(each) for each in command.arguments], dict(zip(command.open, fds, strict=False)), pid
            )
            and _begin(connection, fds[-1])
        ):
            kept, fds = fds, []
            return Taken(connection, pid, there, command, kept)
        _close_all(fds)  # before the answer: whoever reads the front's output must not wait for this process
        connection.send(REFUSED, socket.MSG_DONTWAIT)
    except OSError:
        pass  # the front has gone, or it has not sent what it promised
    finally:
        _close_all(fds)
    return None


def _close_all(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())


def _receive(connection: socket.socket, fds: list[int]) -> Command | None:
    """Return what the front has sent; its descriptors are added to `fds`. Raises OSError."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT.pack(RECEIVE_TIMEOUT, 0))
    header, received, _, _ = socket.recv_fds(connection, HEADER.size, _MAX_DESCRIPTORS)
    fds += received
    parsed = parse_header(header) if len(header) == HEADER.size else None
    if parsed is None:
        return None
    length, standard, arguments = parsed
    data = connection.recv(length, socket.MSG_WAITALL) if length else b""
    return parse_strings(data, arguments, standard) if len(data) == length else None


def _begin(connection: socket.socket, token: int) -> bool:
    """Empty the token and tell the front; False if the front has emptied it, or is gone. Raises OSError."""
    flags = fcntl.fcntl(connection, fcntl.F_GETFL)
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(connection, fcntl.F_SETFL, flags | os.O_ASYNC)
    try:
        connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        return False  # it has gone before the signal was set, or talks out of turn
    except BlockingIOError:
        pass
    _libc.prctl(_SET_PDEATHSIG, 0)
    try:
        os.read(token, 8)
    except BlockingIOError:
        _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL)
        return False
    connection.send(BEGUN)
    return True


def _serve(taken: Taken) -> bool:
    """Do the command; return whether this process can do another one. Nothing of this one is left then."""
    descriptors = _count_descriptors() - len(taken.fds) - 1
    connection = taken.connection

    def abandon() -> NoReturn:
        _close_standard_files()
        _answer(connection, REFUSED)
        os._exit(0)

    try:
        _become(taken)
    except OSError:
        abandon()  # such as a directory as stdin: what happens then is the full program's affair
    told = ToldJob(connection, taken.fds[-1], taken.pid)
    caller.act_for(taken.pid, abandon, told)
    try:
        code: int = importlib.import_module("farhand_client.cli").main()
        answer = EXITED + bytes([code & 0xFF])
    except KeyboardInterrupt:
        answer = DIED + bytes([signal.SIGINT])
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()  # as an interpreter does at its end
    # Whoever reads our output must see its end when the front has ended.
    _close_standard_files()
    _answer(connection, answer)
    connection.close()
    told.close()
    os.chdir("/")
    return (
        caller.is_clean()
        and threading.active_count() == 1
        and _count_descriptors() == descriptors
        and all(_signal.getsignal(number) is handler for number, handler in _HANDLERS.items())
    )


def _count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _answer(connection: socket.socket, answer: bytes) -> None:
    flags = fcntl.fcntl(connection, fcntl.F_GETFL)
    fcntl.fcntl(connection, fcntl.F_SETFL, flags & ~os.O_ASYNC)  # it may go now
    try:
        connection.send(answer, socket.MSG_NOSIGNAL)
    except OSError:
        os._exit(0)


def _close_standard_files() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()  # what could not be written must not come before the next command's output


def _become(taken: Taken) -> None:
    """Take over what the front has inherited."""
    command, there = taken.command, taken.there
    *standard, directory, token = taken.fds
    os.fchdir(directory)
    os.umask(there.umask)
    for number, fd in zip(command.open, standard, strict=True):
        os.dup2(fd, number)
    for fd in taken.fds:
        if fd != token:  # it says when the front is continued
            os.close(fd)
    for number in range(3):
        if number not in command.open:
            os.close(number)
    coerced = not command.environment.get(b"LC_ALL") and character_locale(command.environment) in _COERCED
    # Coerced as Python does.
    replace_environment({**command.environment, b"LC_CTYPE": b"C.UTF-8"} if coerced else command.environment)
    for number, handler in _HANDLERS.items():
        _signal.signal(number, _signal.SIG_IGN if there.ignores(number) else handler)
    _libc.prctl(_SET_NAME, b"farhand", 0, 0, 0)
    sys.argv[1:] = map(os.fsdecode, command.arguments)
    _open_streams(command.open)


_replaced: Mapping[bytes, bytes] | None = None
"""What `replace_environment` was called with last."""


def replace_environment(wanted: Mapping[bytes, bytes]) -> None:
    """Make `wanted` this process's environment. What is the same already, as after a command from the same shell, is
    left alone: to unset and set 40 variables takes 0.1 ms. A command may have added a variable, but changes none."""
    global _replaced
    if wanted is _replaced and len(os.environ) == len(wanted):
        return
    before = dict(os.environb)
    for name in before.keys() - wanted.keys():
        del os.environb[name]
    for name, value in wanted.items():
        if before.get(name) != value:
            os.environb[name] = value
    _replaced = wanted


def _open_streams(standard: Sequence[int]) -> None:
    # As Python does at its start: by lines where it is a terminal, and none for a closed file.
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = None
        if number in standard:
            before = getattr(sys, name)
            buffering = 1 if number == 2 or os.isatty(number) else -1
            stream = open(number, mode, buffering, encoding=before.encoding, errors=before.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
