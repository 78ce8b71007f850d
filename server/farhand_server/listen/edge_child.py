"""The edge that `farhandd serve` runs beside its core: a child process that inherits the listening sockets.

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
from typing import Final

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


class EdgeChild:
    """Keeps one edge process running."""

    def __init__(
        self, command: Sequence[str], sockets: Sequence[socket.socket], log: Logger, *, before: int | None = None
    ) -> None:
        """`command` are the arguments that make Python start the edge, without the sockets. `before` is the pid of an
        edge that the previous program started on the same sockets.
        """
        self._command = tuple(command)
        self._sockets = tuple(sockets)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
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
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else None

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
        process = self._process
        if process is not None:
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(EDGE_STOP_TIMEOUT):
                    await process.wait()
            except TimeoutError:
                self._signal(signal.SIGKILL)
                await process.wait()
        for listening in self._sockets:
            listening.close()

    async def _start(self) -> None:
        descriptors = [listening.fileno() for listening in self._sockets]
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._command,
            "--descriptors",
            ",".join(map(str, descriptors)),
            stdin=asyncio.subprocess.PIPE,  # its end tells the edge that this program has ended or was replaced
            stdout=asyncio.subprocess.PIPE,
            pass_fds=descriptors,
            start_new_session=True,  # Ctrl-C in the terminal of `serve` must reach only the core, which drains first
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(EDGE_START_TIMEOUT):
                ready = await process.stdout.readline()
        except TimeoutError:
            ready = b""
        if not ready:
            self._signal(signal.SIGKILL)
            await process.wait()
            self._process = None
            raise EdgeFailed("the edge did not start; the log says why")

    async def _keep(self) -> None:
        restarts = RestartDelay(MAX_EDGE_RESTART_DELAY)
        began = time.monotonic()
        while True:
            worked = None
            if self._process is not None:
                code = await self._process.wait()
                self._process = None
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
        if self._process is not None and self._process.returncode is None:
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
