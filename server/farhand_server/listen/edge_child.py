"""The edge that `farhandd serve` runs beside its core: a child process that is given the listening sockets.

An edge needs half of the time in which a core is ready, to load its program, so it is launched first. It then waits for
its sockets on its stdin, a Unix socket, whose end tells it that the core has ended or was replaced.

The edge is restarted whenever it exits. In an upgrade it is not stopped: it exits on its own when it loses its core,
and the new program starts another edge on the same sockets, in whose backlog clients wait meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..config import ListenAddress
from ..logs import Logger
from .restarts import RestartDelay
from .unix import ListenError

TCP_BACKLOG: Final = 1024
"""Connections that the kernel queues while the edge is busy or restarting; capped by net.core.somaxconn (listen(2))."""

EDGE_START_TIMEOUT: Final = 30.0
"""Seconds an edge may take to report that it is ready. It takes one second on an idle machine."""

MAX_EDGE_RESTART_DELAY: Final = 5.0
"""Maximum seconds between two starts of an edge that keeps exiting: a start takes half a second of a processor."""

MAX_SOCKETS_AT_ONCE: Final = 100
"""Sockets in one message to the edge; the kernel's limit is 253 (unix(7))."""

EDGE_STOP_TIMEOUT: Final = 10.0
"""Seconds an edge has to exit after SIGTERM: its own drain takes up to five."""


class EdgeFailed(Exception):
    """The edge could not be started. It has logged why."""


def bind_tcp(addresses: Sequence[ListenAddress]) -> list[socket.socket]:
    """Return listening TCP sockets for all addresses that the names resolve to. Raises `ListenError`."""
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets += _bind(address)
    except BaseException:
        for listening in sockets:
            listening.close()
        raise
    return sockets


def _bind(address: ListenAddress) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, where in found:
            listening = socket.socket(family, kind, protocol)
            sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(where)
            listening.listen(TCP_BACKLOG)
            listening.setblocking(False)
    except (OSError, UnicodeError) as error:
        for listening in sockets:
            listening.close()
        # UnicodeError: each part of a name has 1 to 63 characters (RFC 1035), and Python encodes it before it asks.
        why = (error.strerror or error) if isinstance(error, OSError) else f"{address.host!r} cannot be a host name"
        raise ListenError(f"cannot listen on {address}: {why}") from None
    return sockets


class ChildCommands(NamedTuple):
    """The arguments that make Python start an edge, and a web process."""

    edge: tuple[str, ...]
    web: tuple[str, ...]


class LaunchedEdge:
    """The process of an edge that loads its program, and then waits for its sockets."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self.process: Final = process
        self._control = control
        """The other end of the edge's stdin."""

    @classmethod
    async def launch(cls, command: Sequence[str]) -> LaunchedEdge:
        """Start the process. `command` are the arguments that make Python start the edge. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *command,
                    stdin=theirs.fileno(),
                    stdout=asyncio.subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C in the terminal of `serve` must reach only the core, which drains
                )
            except BaseException:
                ours.close()
                raise
        return cls(process, ours)

    async def started(self, sockets: Sequence[socket.socket]) -> bool:
        """Give the edge its sockets, wait until it is ready, and return whether it is."""
        assert self.process.stdout is not None
        try:
            send_sockets(self._control, sockets)
            async with asyncio.timeout(EDGE_START_TIMEOUT):
                return bool(await self.process.stdout.readline())
        except (OSError, TimeoutError):  # it has ended, or does not get ready
            return False

    async def ended(self) -> int:
        """Wait until the process has ended, and return its exit code."""
        code = await self.process.wait()
        self._control.close()
        return code

    async def kill(self) -> None:
        """End the process, unless it has ended."""
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()


def send_sockets(control: socket.socket, sockets: Sequence[socket.socket]) -> None:
    """Send sockets to the edge whose stdin is the other end of `control`. Raises OSError."""
    numbers = [listening.fileno() for listening in sockets]
    for at in range(0, max(1, len(numbers)), MAX_SOCKETS_AT_ONCE):
        last = at + MAX_SOCKETS_AT_ONCE >= len(numbers)
        socket.send_fds(control, [b"." if last else b"+"], numbers[at : at + MAX_SOCKETS_AT_ONCE])


def receive_sockets(control: socket.socket) -> list[socket.socket] | None:
    """Return the sockets that a core sends to its edge, which calls this; None if the core has ended."""
    sockets: list[socket.socket] = []
    more = b"+"
    while more == b"+":
        more, numbers, _, _ = socket.recv_fds(control, 1, MAX_SOCKETS_AT_ONCE)
        sockets += [socket.socket(fileno=number) for number in numbers]
    for each in sockets:
        each.set_inheritable(False)
    return sockets if more else None


class EdgeChild:
    """Keeps one edge process running."""

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
        log: Logger,
        *,
        before: int | None = None,
        launched: LaunchedEdge | None = None,
    ) -> None:
        """`command` are the arguments that make Python start the edge, `launched` is a process that was launched with
        them. `before` is the pid of an edge that the previous program started on the same sockets.
        """
        self._command = tuple(command)
        self._sockets = tuple(sockets)
        self._log = log
        self._launched = launched
        self._running: LaunchedEdge | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._before = before
        self._reaping: asyncio.Task[None] | None = None

    @property
    def sockets(self) -> tuple[int, ...]:
        """The descriptors of the sockets that the edge listens on."""
        return tuple(listening.fileno() for listening in self._sockets)

    @property
    def pid(self) -> int | None:
        """The pid of the edge process; None while it is not running."""
        return None if self._process is None else self._process.pid

    @property
    def _process(self) -> asyncio.subprocess.Process | None:
        running = self._running
        return running.process if running is not None and running.process.returncode is None else None

    async def start(self) -> None:
        """Start the edge, wait until it is ready, and keep it running. Raises `EdgeFailed`."""
        await self._start()
        self.keep_running()

    async def start_again(self) -> None:
        """Start an edge to replace the previous program's. Return once it is ready, or once the start has failed and
        will be retried."""
        if self._before is not None:
            self._reaping = asyncio.create_task(_reap_previous_edge(self._before), name="previous edge")
        try:
            await self._start()
        except (EdgeFailed, OSError) as error:
            self._log.error("edge not started; retrying", reason=str(error))
        self.keep_running()

    def keep_running(self) -> None:
        """From now on, restart the edge whenever it exits."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="edge")

    async def stop_restarting(self) -> None:
        """Stop restarting the edge, which exits on its own when its core's feeds close. `keep_running` undoes this."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper

    def reload(self) -> None:
        """Tell the edge to reload its configuration."""
        self._signal(signal.SIGHUP)

    async def stop(self) -> None:
        """Stop the edge, wait until it has exited, and close the sockets."""
        await self.stop_restarting()
        if self._reaping is not None:
            await self._reaping
        launched, self._launched = self._launched, None
        if launched is not None:
            await launched.kill()
        running = self._running
        if running is not None:
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(EDGE_STOP_TIMEOUT):
                    await running.ended()
            except TimeoutError:
                await running.kill()
        for listening in self._sockets:
            listening.close()

    async def _start(self) -> None:
        launched, self._launched = self._launched, None
        self._running = launched or await LaunchedEdge.launch(self._command)
        if not await self._running.started(self._sockets):
            await self._running.kill()
            self._running = None
            raise EdgeFailed("the edge did not start; the log says why")

    async def _keep(self) -> None:
        restarts = RestartDelay(MAX_EDGE_RESTART_DELAY)
        began = time.monotonic()
        while True:
            worked = None
            if self._running is not None:
                code = await self._running.ended()
                self._running = None
                worked = time.monotonic() - began
                self._log.error("edge exited; restarting it", code=code)
            await asyncio.sleep(restarts.after(worked))
            try:
                await self._start()
            except (EdgeFailed, OSError) as error:
                # The shortage of processes or descriptors may be brief, so the start is retried.
                self._log.warning("edge not started; retrying", reason=str(error))
            began = time.monotonic()

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)


async def _reap_previous_edge(pid: int) -> None:
    """Wait until the previous program's edge, which has lost its core, has exited; kill it if it does not exit."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        async with asyncio.timeout(EDGE_STOP_TIMEOUT):
            await ended.wait()
    except TimeoutError:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222  # the process has exited, so this does not block
