"""The edge that `serve` runs beside its core: started with the listening sockets, started again when it dies."""

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
from .unix import ListenError

TCP_BACKLOG: Final = 1024
"""Connections the kernel holds while the edge is busy or starts again; capped by net.core.somaxconn (listen(2))."""

EDGE_START_TIMEOUT: Final = 30.0
"""Seconds an edge may take to say that it is ready; it takes one on an idle machine."""

MAX_EDGE_RESTART_DELAY: Final = 5.0
"""Seconds between two starts of an edge that keeps dying; the first pause is a fiftieth of it, each next one twice
as long."""

EDGE_STEADY_TIME: Final = 60.0
"""Seconds after which an edge counts as having worked, and the pauses begin anew."""

EDGE_STOP_TIMEOUT: Final = 10.0
"""Seconds an edge has to end after SIGTERM: its own drain takes five."""


class EdgeFailed(Exception):
    """The edge could not be started; its own log lines say why."""


def bind_tcp(addresses: Sequence[ListenAddress]) -> list[socket.socket]:
    """Return listening TCP sockets for all addresses that the names stand for. Raises `ListenError`."""
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
    except OSError as error:
        for listening in sockets:
            listening.close()
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from None
    return sockets


class EdgeChild:
    """Keeps one edge running. `command` is what starts it, without the sockets."""

    def __init__(
        self, command: Sequence[str], sockets: Sequence[socket.socket], log: Logger, *, before: int | None = None
    ) -> None:
        """`before` is the pid of an edge that the program before this one has started on the same sockets."""
        self._command = tuple(command)
        self._sockets = tuple(sockets)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._before = before
        self._reaping: asyncio.Task[None] | None = None

    @property
    def sockets(self) -> tuple[int, ...]:
        """The descriptors it listens on."""
        return tuple(listening.fileno() for listening in self._sockets)

    @property
    def pid(self) -> int | None:
        """Its process, while there is one to wait for."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else None

    async def start(self) -> None:
        """Start the edge and wait until it is ready. Raises `EdgeFailed`."""
        await self._start()
        self.keep_running()

    async def start_again(self) -> None:
        """Start another edge in place of the one `before`; return once it is ready, or has to be tried again."""
        if self._before is not None:
            self._reaping = asyncio.create_task(_reap_previous_edge(self._before), name="edge before")
        try:
            await self._start()
        except (EdgeFailed, OSError) as error:
            self._log.error("edge not started; trying again", reason=str(error))
        self.keep_running()

    def keep_running(self) -> None:
        """Start another edge whenever there is none, from now on."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="edge")

    async def stop_restarting(self) -> None:
        """Start no other edge any more: this one ends with its core's program, and the next program sees to it."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper

    def reload(self) -> None:
        """Make the edge read its configuration again."""
        self._signal(signal.SIGHUP)

    async def stop(self) -> None:
        """End the edge, and wait until it has."""
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
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=descriptors,
            start_new_session=True,  # Ctrl-C at the terminal of `serve` is for the core, which drains first
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
        pause = MAX_EDGE_RESTART_DELAY / 50
        while True:
            began = time.monotonic()
            if self._process is not None:
                code = await self._process.wait()
                self._process = None
                self._log.error("edge ended; starting another", code=code)
            if time.monotonic() - began > EDGE_STEADY_TIME:
                pause = MAX_EDGE_RESTART_DELAY / 50
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_EDGE_RESTART_DELAY)
            try:
                await self._start()
            except (EdgeFailed, OSError) as error:
                # Out of processes or descriptors for now: an edge that is not tried again would be gone for good.
                self._log.warning("edge not started; trying again", reason=str(error))

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)


async def _reap_previous_edge(pid: int) -> None:
    """Wait for a child from before an execve, which has lost its core by that and ends; kill one that does not."""
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
        os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222  # it has ended
