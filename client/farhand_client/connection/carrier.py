"""A program that carries the bytes of a connection over its stdin and stdout, such as ssh.

Both are the far end of a socket pair, so that everything else is as with any other socket. The program never outlives
its connection: it is ended and reaped with it, and if this process is killed, the kernel or the end of its stdin ends
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

from farhand_client.errors import CarrierFailed
from farhand_protocol.limits import KiB
from farhand_protocol.sentences import printable_lines

CARRIER_END_TIMEOUT: Final = 2.0
"""Seconds between TERM and KILL: ssh ends at once, but may restore a terminal first."""

MAX_CARRIER_WORDS: Final = 4 * KiB
"""Bytes that are kept of what the program writes on stderr, the last ones: a screen of text. ssh's warning about a
changed host key has 900."""

MAX_CARRIER_NOISE: Final = 64 * KiB
"""Bytes that may come before the program is ready: what an account's startup files print."""

_READ_SIZE: Final = 64 * KiB

_FROM_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGHUP)
"""Signals by which a terminal's user means the command, and not what carries its connection."""

_ALL: Final = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


class Carrier:
    """A running program whose stdin and stdout are the far end of a socket."""

    def __init__(self, words: Sequence[str], *, at_terminal: bool = False) -> None:
        """Start the program `words[0]`. Raises `CarrierFailed` if it cannot be executed.

        With `at_terminal` it shares this process's terminal, where it may ask the user, and what it writes on stderr
        until it is ready is shown. Otherwise it has a session of its own.
        """
        self._socket: socket.socket | None = None
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._watchers: list[Callable[[], None]] = []
        self._ending = False
        self._status: int | None = None
        self._written = bytearray()
        self._shown = at_terminal
        self._own_group = not at_terminal
        self._loop = asyncio.get_running_loop()
        self._stderr, writing = os.pipe()
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            os.set_blocking(self._stderr, False)
            self._pid = os.posix_spawn(
                *_ending_with_us(words),
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, writing, 2),
                ],
                setsid=not at_terminal,
                setsigmask=_FROM_TERMINAL if at_terminal else (),
                setsigdef=_ALL,
            )
        except OSError as error:
            ours.close()
            os.close(self._stderr)
            raise CarrierFailed(f"cannot execute {words[0]}: {error.strerror}", code=None, output="") from None
        finally:
            theirs.close()
            os.close(writing)
        self._socket = ours
        self._loop.add_reader(self._stderr, self._stderr_readable)

    @property
    def pid(self) -> int:
        """The program's pid."""
        return self._pid

    @property
    def code(self) -> int | None:
        """The exit code of the program, or the negative number of the signal that ended it; None until it is reaped."""
        return None if self._status is None else os.waitstatus_to_exitcode(self._status)

    @property
    def words(self) -> str:
        """The last of what the program has written on stderr, in printable characters, without blank lines."""
        if os.getpid() == self._owner:
            self._read_stderr()
        text = printable_lines(self._written.decode(errors="replace").replace("\r", ""))
        return "\n".join(line for line in text.split("\n") if line.strip())

    async def ready(self, line: bytes) -> socket.socket:
        """Wait until the program has written `line` on stdout, pass over what comes before it, and return the near end.

        Raises `CarrierFailed` if it ends first, or writes too much.
        """
        near = self._socket
        assert near is not None
        tail, passed = b"", 0
        while True:
            data = await self._peek(near)
            if not data:
                self.end(leave=True)
                await self.ended()
                raise CarrierFailed("it has ended", code=self.code, output=self.words)
            at = (tail + data).find(line)
            taken = near.recv(len(data) if at < 0 else at + len(line) - len(tail))
            if at >= 0:
                self._shown = False
                self._socket = None
                return near
            passed += len(taken)
            if passed > MAX_CARRIER_NOISE:
                raise CarrierFailed(f"it has written {passed} bytes of something else", code=None, output=self.words)
            tail = (tail + taken)[-len(line) + 1 :]

    def end(self, *, leave: bool = False) -> None:
        """End the program, and reap it in the background. Safe to call again, and in a forked child, where it does
        nothing. With `leave` it has a while to end by itself, because it is about to."""
        if self._ending or os.getpid() != self._owner:
            return
        self._ending = True
        self._stop_reading()
        # The end of the process waits for this thread.
        thread = threading.Thread(target=self._reap, args=(leave,), name="farhand carrier")
        try:
            thread.start()
        except RuntimeError:  # no more threads
            self._signal(signal.SIGKILL)
            self._reap(leave)

    async def ended(self) -> None:
        """Wait until the program, which is being ended, is reaped."""
        loop = asyncio.get_running_loop()
        reaped: asyncio.Future[None] = loop.create_future()

        def settle() -> None:
            if not reaped.done():
                reaped.set_result(None)

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(settle)

        with self._lock:
            if self._status is not None:
                return
            self._watchers.append(tell)
        await reaped

    async def _peek(self, near: socket.socket) -> bytes:
        """Return what there is to read, once there is something; nothing at the end."""
        while True:
            try:
                return near.recv(_READ_SIZE, socket.MSG_PEEK)
            except BlockingIOError:
                pass
            except ConnectionResetError:  # it has ended, and has not read everything
                return b""
            readable = asyncio.Event()
            self._loop.add_reader(near, readable.set)
            try:
                await readable.wait()
            finally:
                self._loop.remove_reader(near)

    def _stderr_readable(self) -> None:
        if self._read_stderr():
            self._stop_reading()

    def _stop_reading(self) -> None:
        with contextlib.suppress(RuntimeError, ValueError):  # the loop is closed, and its selector with it
            self._loop.remove_reader(self._stderr)

    def _read_stderr(self) -> bool:
        """Read what there is, and return whether it was the end: nothing that it has started writes either."""
        with self._lock, contextlib.suppress(BlockingIOError):
            while self._stderr >= 0:
                data = os.read(self._stderr, _READ_SIZE)
                if not data:
                    return True
                self._written += data
                del self._written[:-MAX_CARRIER_WORDS]
                if self._shown:
                    with contextlib.suppress(OSError):
                        os.write(2, data)
        return False

    def _signal(self, number: signal.Signals) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError, PermissionError):
            if self._status is None:
                (os.killpg if self._own_group else os.kill)(self._pid, number)

    def _reap(self, leave: bool) -> None:
        if self._socket is not None:
            self._socket.close()
        waits = [(CARRIER_END_TIMEOUT, signal.SIGTERM), (2 * CARRIER_END_TIMEOUT, signal.SIGKILL)]
        if not leave:
            self._signal(signal.SIGTERM)
            waits = [(CARRIER_END_TIMEOUT, signal.SIGKILL)]
        timers = [threading.Timer(seconds, self._signal, (number,)) for seconds, number in waits]
        for timer in timers:
            timer.start()
        status = 0
        with contextlib.suppress(ChildProcessError):  # somebody else has reaped it
            # It keeps its pid until nobody can signal it any more.
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        self._read_stderr()
        with self._lock:
            with contextlib.suppress(ChildProcessError):
                _, status = os.waitpid(self._pid, 0)
            self._status = status
            os.close(self._stderr)
            self._stderr = -1
            watchers, self._watchers = self._watchers, []
        for timer in timers:
            timer.cancel()
        for tell in watchers:
            tell()


def _ending_with_us(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return program and arguments that execute `words` so that the kernel ends it if this process is killed."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None  # of util-linux
    if setpriv is None:
        return words[0], list(words)
    return setpriv, ["setpriv", "--pdeathsig", "TERM", "--", *words]
