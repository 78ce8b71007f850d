"""What a worker of the edge reports to its supervisor, over a socket that only the two of them have.

A report is one byte and, for a state, a line of text. The end of the socket tells a worker that its supervisor is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

TURN_INTERVAL: Final = 1.0
"""Seconds between two reports that a worker's loop turns."""


class ReportKind(Enum):
    """What is reported."""

    TURNING = b"."
    READY = b"R"
    """It accepts connections, or a reload is over; the text is the status."""
    RELOADING = b"L"
    STOPPING = b"S"


class Report(NamedTuple):
    """What a worker reports to its supervisor. `status` is the line that `systemctl status` shows."""

    kind: ReportKind
    status: str = ""


class ReportReader:
    """Splits what a worker has sent into reports. Without I/O."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, data: bytes) -> Iterator[Report]:
        """Yield the reports that are complete. Raises ValueError if they are not reports."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield Report(ReportKind(line[:1]), line[1:].decode())


class WorkerReports:
    """A worker's end. It has the methods of `systemd.Notifier`, whose place it takes."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        sock.setblocking(False)

    def ready(self, status: str) -> None:
        """Report that connections are accepted, or that a reload is over."""
        self._send(Report(ReportKind.READY, status))

    def reloading(self) -> None:
        """Report that the configuration is being reloaded."""
        self._send(Report(ReportKind.RELOADING))

    def stopping(self, status: str) -> None:
        """Report that no new connections are accepted."""
        self._send(Report(ReportKind.STOPPING, status))

    async def keep_watchdog(self) -> None:
        """Report every `TURN_INTERVAL` seconds that this loop turns, until cancelled."""
        while True:
            self._send(Report(ReportKind.TURNING))
            await asyncio.sleep(TURN_INTERVAL)

    async def supervisor_gone(self) -> None:
        """Return once the supervisor has ended."""
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_recv(self._socket, 1)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send(self, report: Report) -> None:
        # A full buffer means that the supervisor does not read for minutes. Waiting for it would stop the worker, too.
        with contextlib.suppress(OSError):
            self._socket.send(report.kind.value + report.status.encode() + b"\n")
