"""Farhand's front in Python, for machines where there was no C compiler: see `front.c`, which does the same.

`farhand` on PATH is a script that calls `main` then: a script would be compiled at each start, and a module is not.
Until it knows that no child of the helper serves, it imports
only what Python has loaded already, `_socket` and `select`: `socket` and `signal` import `enum`, and that `re`. After
that it goes on as the full program.
"""

import _signal  # type: ignore[import-not-found]  # typeshed lacks it; what is used has the types of signal's
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_VERSION = 2
_CLAIM_TIMEOUT = 100
"""Milliseconds for a child to begin: many times what it takes, and hardly noticed where the helper hangs."""
_ANSWER_TIMEOUT = 10_000
"""Milliseconds for its answer once it has begun: it comes at once unless somebody has stopped the child."""
_MAX_MESSAGE = 65536
"""Bytes: a third of what a socket takes at once (net.core.wmem_default), so that sending never blocks."""

_READY, _BEGUN, _REFUSED, _OWN_STOPS, _NO_STOPS = b"A", b"B", b"R", b"T", b"t"
"""What a child says: it waits for the message; it has begun; it does not serve this command; SIGTSTP is for it from now
on, or no longer."""

_STOP_JOB, _EXITED, _DIED = b"S", b"E", b"D"
"""With a byte: stop this job by a signal; exit with a code; die of a signal."""

_CONTINUED, _NOT_STOPPED = 1, 1 << 32
"""What the token says once the child has begun: this process was continued, or was not stopped at all."""

_FAILURE = 255
_SERVED = frozenset(
    (
        *("run", "ps", "logs", "wait", "signal", "kill", "ping", "status", "export", "attach", "replay", "shell"),
        *("repl", "put", "get", "sync", "cp", "rsh"),
    )
)

# Linux's numbers. There are no others: elsewhere nothing is served.
_AF_UNIX, _SOCK_STREAM, _SOL_SOCKET, _SCM_RIGHTS, _SO_PEERCRED = 1, 1, 1, 1, 17
_MSG_NOSIGNAL, _MSG_CMSG_CLOEXEC, _POLLIN = 0x4000, 0x40000000, 1
_S_IFMT, _S_IFDIR, _S_IFSOCK = 0o170000, 0o040000, 0o140000
_O_PATH = 0o10000000
_SIGHUP, _SIGINT, _SIGKILL, _SIGCONT, _SIGSTOP, _SIGTSTP, _SIGTTIN, _SIGTTOU = 1, 2, 9, 18, 19, 20, 21, 22

_OURS = frozenset((4, 5, 6, 7, 8, 11, 13, 17, 25, 31, _SIGKILL, _SIGSTOP))
"""Signals that are not handed on: this process's own faults, SIGPIPE, SIGXFSZ and SIGCHLD."""

_HARMLESS = frozenset((_SIGCONT, 28, 23))
"""Signals by which a process is not ended: with SIGWINCH and SIGURG."""


def may_be_served(arguments: list[str]) -> bool:
    """Return whether a child could serve a command."""
    return (
        bool(arguments)
        and sys.platform == "linux"
        and arguments[0] in _SERVED
        and "--no-mux" not in arguments
        and os.environ.get("FARHAND_MUX") != "off"
        and os.getuid() == os.geteuid()
        and not in_background()
    )


def in_background() -> bool:
    """Return whether a standard file is a terminal that another process group uses."""
    for fd in range(3):
        try:
            if os.tcgetpgrp(fd) != os.getpgrp():
                return True
        except OSError:
            continue  # no terminal, or not that of this session
    return False


def socket_path() -> bytes | None:
    """Return the path of the helper's socket if it is this user's. Raises OSError."""
    runtime = os.environb.get(b"XDG_RUNTIME_DIR", b"")
    if not runtime.startswith(b"/"):
        return None
    value = 0xCBF29CE484222325
    for byte in os.path.dirname(os.path.realpath(os.fsencode(sys.argv[0]))):
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    path = b"%s/farhand/helper-%016x.sock" % (runtime, value)
    directory, socket = os.lstat(runtime + b"/farhand"), os.lstat(path)
    user = os.geteuid()
    safe = (
        directory.st_mode & _S_IFMT == _S_IFDIR
        and directory.st_uid == socket.st_uid == user
        and not directory.st_mode & 0o022
        and socket.st_mode & _S_IFMT == _S_IFSOCK
        and not socket.st_mode & 0o077
    )
    return path if safe else None


def open_files() -> list[int]:
    """Return the standard files that are open."""
    found = []
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            continue
        found.append(fd)
    return found


def message_of(arguments: list[str], standard: list[int]) -> bytes:
    """Return the message for a command with these standard files."""
    strings = [os.fsencode(word) for word in arguments]
    strings += [name + b"=" + value for name, value in os.environb.items()]
    body = b"".join(text + b"\0" for text in strings)
    numbers = ((len(body), 4), (_VERSION, 2), (sum(1 << fd for fd in standard), 2), (len(arguments), 4))
    return b"".join(number.to_bytes(size, sys.byteorder) for number, size in numbers) + body


class Front:
    """A connection to the helper."""

    def __init__(self, path: bytes) -> None:
        """Connect. Raises OSError."""
        from _socket import socket

        self._child = -1
        """A pidfd of the child that has accepted the connection; -1 before that."""
        self._pending: list[int] = []
        self._token = -1
        self._own_stops = False
        """Whether the child acts on SIGTSTP: it restores the terminal first."""
        self._fatal = 0
        self._socket = socket(_AF_UNIX, _SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.connect(path)
        peer = self._socket.getsockopt(_SOL_SOCKET, _SO_PEERCRED, 12)
        if int.from_bytes(peer[4:8], sys.byteorder) != os.geteuid():
            raise PermissionError

    def hand_over(self, arguments: list[str], standard: list[int]) -> bool:
        """Return whether a child has begun the command. Raises OSError before anything was sent."""
        message = message_of(arguments, standard)
        if len(message) > _MAX_MESSAGE or not self._meet_child():
            return False
        here = os.open(".", _O_PATH | os.O_DIRECTORY)
        token = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        fds = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (*standard, here, token))
        answer = b""
        try:
            sent = self._socket.sendmsg([message], [(_SOL_SOCKET, _SCM_RIGHTS, fds)], _MSG_NOSIGNAL)
            if sent == len(message):
                answer = self._answer(_CLAIM_TIMEOUT)
        except OSError:
            pass  # the child has gone, or takes nothing
        if answer != _BEGUN:
            try:
                os.read(token, 8)
            except BlockingIOError:  # it has begun, but its answer was late
                if self._answer(_ANSWER_TIMEOUT) != _BEGUN:
                    self._child_is_gone()
            else:
                if answer != _REFUSED:
                    self._send(_SIGKILL)  # if it hangs, our descriptors must not hang with it
                os.close(token)
                os.close(here)
                return False
        self._token = token
        os.close(here)
        return True

    def _meet_child(self) -> bool:
        """Return whether a child has accepted the connection. Nothing is sent before: descriptors in a message that
        nobody receives would stay open, and whoever reads our output would wait for its end."""
        if not self._answers_within(_CLAIM_TIMEOUT):
            return False
        answer, rights, _, _ = self._socket.recvmsg(1, 24, _MSG_CMSG_CLOEXEC)
        if answer != _READY or not rights:
            return False
        self._child = int.from_bytes(rights[0][2][:4], sys.byteorder)
        return True

    def _answer(self, timeout: int) -> bytes:
        """Return the child's answer to the message; nothing if there is none."""
        try:
            return self._socket.recv(1) if self._answers_within(timeout) else b""
        except OSError:
            return b""

    def _answers_within(self, timeout: int) -> bool:
        from select import poll

        ready = poll()
        ready.register(self._socket.fileno(), _POLLIN)
        return bool(ready.poll(timeout))

    def attend(self) -> None:
        """Hand on signals until the child says how it has ended, and end in the same way; return if it does not."""
        from select import poll

        before = self._handle_signals()
        waking, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        ready = poll()
        ready.register(self._socket.fileno(), _POLLIN)
        ready.register(waking, _POLLIN)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        while True:
            events = [fd for fd, _ in ready.poll()]
            if self._socket.fileno() in events and self._obey():
                break
            if waking in events:
                os.read(waking, 512)
            while self._pending:
                self._pass(self._pending.pop(0))
        os.close(self._token)
        _signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            _signal.signal(number, handler)

    def _obey(self) -> bool:
        """Do what the child says; return whether it does not serve the command after all."""
        try:
            said = self._socket.recv(1)
            if said == _REFUSED:
                return True
            if said in (_OWN_STOPS, _NO_STOPS):
                self._own_stops = said == _OWN_STOPS
                return False
            value = self._socket.recv(1)[0]  # both are sent at once
        except (OSError, IndexError):
            self._child_is_gone()
        if said == _EXITED:
            os._exit(value)
        if said == _DIED:
            self._die_of(value)
        if said != _STOP_JOB:
            self._child_is_gone()
        os.kill(0, value)
        self._stop_here(value)
        if _SIGCONT not in self._pending:
            self._tell(_NOT_STOPPED)
        return False

    def _handle_signals(self) -> dict[int, object]:
        """Note signals from now on; return the handlers until now.

        The full program resets those that were ignored but for _SIGHUP (nohup), _SIGINT (a script's &)."""
        before = {}
        for number in _signal.valid_signals() - _OURS:
            handler = _signal.getsignal(number)
            if handler is not _signal.SIG_IGN or number not in (_SIGHUP, _SIGINT):
                before[number] = handler
                _signal.signal(number, self._note)
        return before

    def _note(self, number: int, _: object) -> None:
        self._pending.append(number)

    def _pass(self, number: int) -> None:
        if number in (_SIGTTIN, _SIGTTOU) or (number == _SIGTSTP and not self._own_stops):
            self._send(_SIGSTOP)  # its process group is orphaned, so the others would not stop it
            self._stop_here(number)
            self._send(_SIGCONT)
            return
        if number == _SIGCONT:
            self._tell(_CONTINUED)
        if number not in _HARMLESS and number != _SIGTSTP:
            self._fatal = number
        self._send(number)

    def _stop_here(self, number: int) -> None:
        while number in self._pending:
            self._pending.remove(number)
        _signal.signal(number, _signal.SIG_DFL)
        os.kill(os.getpid(), number)
        _signal.signal(number, self._note)

    def _tell(self, what: int) -> None:
        try:  # noqa: SIM105
            os.write(self._token, what.to_bytes(8, sys.byteorder))
        except OSError:
            pass  # the child has not read what it was told 2^31 times

    def _send(self, number: int) -> None:
        try:  # noqa: SIM105
            _signal.pidfd_send_signal(self._child, number)
        except OSError:
            pass  # it has ended; its answer is on the way

    def _die_of(self, number: int) -> None:
        _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (number,))
        os.kill(os.getpid(), number)
        os._exit(128 + number)

    def _child_is_gone(self) -> "NoReturn":
        if self._fatal:  # it has died of what was handed on, before it could handle it
            self._die_of(self._fatal)
        os.write(
            2,
            b"farhand: the helper's process for this command has ended unexpectedly; a command that it has started "
            b"goes on or is stopped as after a lost connection: see farhand ps\n",
        )
        os._exit(_FAILURE)


def hand_over(arguments: list[str]) -> None:
    """Have a child of the helper do the command, and exit as it does; return if none does."""
    if not may_be_served(arguments):
        return
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    try:
        standard = open_files()  # what is opened below may take their numbers
        path = socket_path()
        if path is not None:
            front = Front(path)
            if front.hand_over(arguments, standard):
                front.attend()
    except OSError:
        pass  # no helper
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def main() -> int:
    """Have a child of the helper do the command, and exit as it does; otherwise do it here and return the exit code."""
    hand_over(sys.argv[1:])
    from importlib import import_module

    code: int = import_module("farhand_client.cli").main()  # by its name: the commands know the helper
    return code
