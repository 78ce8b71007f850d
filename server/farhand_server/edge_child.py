"""The edge that `serve` runs beside its core: started with the listening sockets, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

from .config import Address
from .listener import ListenError
from .logs import Logger

BACKLOG: Final = 1024
"""Connections the kernel holds while the edge is busy or starts again; capped by net.core.somaxconn (listen(2))."""

START: Final = 30.0
"""Seconds an edge may take to say that it is ready; it takes one on an idle machine."""

LONGEST_PAUSE: Final = 5.0
"""Seconds between two starts of an edge that keeps dying; the first pause is a fiftieth of it, each next one twice
as long."""

STEADY: Final = 60.0
"""Seconds after which an edge counts as having worked, and the pauses begin anew."""

STOP: Final = 10.0
"""Seconds an edge has to end after SIGTERM: its own drain takes five."""


class EdgeFailed(Exception):
    """The edge could not be started; its own log lines say why."""


def bind(addresses: Sequence[Address]) -> list[socket.socket]:
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


def _bind(address: Address) -> list[socket.socket]:
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
            listening.listen(BACKLOG)
            listening.setblocking(False)
    except OSError as error:
        for listening in sockets:
            listening.close()
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from None
    return sockets


class EdgeChild:
    """Keeps one edge running. `command` is what starts it, without the sockets."""

    def __init__(self, command: Sequence[str], sockets: Sequence[socket.socket], log: Logger) -> None:
        self._command = tuple(command)
        self._sockets = tuple(sockets)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the edge and wait until it is ready. Raises `EdgeFailed`."""
        await self._start()
        self._keeper = asyncio.create_task(self._keep(), name="edge")

    def reload(self) -> None:
        """Make the edge read its configuration again."""
        self._signal(signal.SIGHUP)

    async def stop(self) -> None:
        """End the edge, and wait until it has."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        process = self._process
        if process is not None:
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP):
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
            async with asyncio.timeout(START):
                ready = await process.stdout.readline()
        except TimeoutError:
            ready = b""
        if not ready:
            self._signal(signal.SIGKILL)
            await process.wait()
            self._process = None
            raise EdgeFailed("the edge did not start; the log says why")

    async def _keep(self) -> None:
        pause = LONGEST_PAUSE / 50
        while True:
            began = time.monotonic()
            if self._process is not None:
                code = await self._process.wait()
                self._process = None
                self._log.error("edge ended; starting another", code=code)
            if time.monotonic() - began > STEADY:
                pause = LONGEST_PAUSE / 50
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                await self._start()
            except (EdgeFailed, OSError) as error:
                # Out of processes or descriptors for now: an edge that is not tried again would be gone for good.
                self._log.warning("edge not started; trying again", reason=str(error))

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
