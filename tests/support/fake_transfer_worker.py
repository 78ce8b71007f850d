"""A transfer worker of a fake service, and our side of its transfers, which move only numbers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from farhand_client import Client, connect
from farhand_client.files.attempt import Mover
from farhand_files import wire
from farhand_files.events import Finished, Moved, Totals
from farhand_files.options import Ready, TransferOptions
from farhand_files.rows import Report
from farhand_files.stream import ByteStream, StreamEnded
from farhand_protocol.features import FILES
from tests.support.fake_service import Behaviour, FakeRun, FakeService

READY = wire.encode(wire.ReadyFrame(Ready(delta=True).to_json()))
OPTIONS = TransferOptions("put", (b"there",), delta=True)


async def agree(run: FakeRun) -> TransferOptions:
    """Start, wait for the options and accept them."""
    run.started()
    await received(run, wire.TRANSFER_HEADER.size)
    size, _ = wire.check_header(run.stdin[: wire.TRANSFER_HEADER.size])
    await received(run, wire.TRANSFER_HEADER.size + size)
    await run.write("stdout", READY)
    text = run.stdin[wire.TRANSFER_HEADER.size : wire.TRANSFER_HEADER.size + size]
    del_stdin(run, wire.TRANSFER_HEADER.size + size)
    return TransferOptions.from_json(text)


def del_stdin(run: FakeRun, count: int) -> None:
    """Forget what was read of a run's stdin."""
    run.stdin = run.stdin[count:]


async def received(run: FakeRun, count: int) -> None:
    """Wait until so many bytes of stdin have arrived."""
    while len(run.stdin) < count:
        if run.client.closed.is_set():
            raise ConnectionError
        run.changed.clear()
        await run.changed.wait()


def echoing(count: int) -> Behaviour:
    """Return the behaviour of a worker that sends `count` bytes back, and ends."""

    async def behave(run: FakeRun) -> None:
        await agree(run)
        await received(run, count)
        await run.write("stdout", run.stdin[:count])
        run.ended()

    return behave


class Exchange:
    """Our side: writes `count` bytes, reads as many, and reports that. Its methods are those of a `Sender`."""

    def __init__(self, count: int, options: TransferOptions, stream: ByteStream, report: Report) -> None:
        self.count = count
        self.options = options
        self.stream = stream
        self.report = report
        self.began = threading.Event()
        self.cancelled = threading.Event()
        self.ended = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()

    def run(self) -> Totals:
        self.began.set()
        try:
            return self.exchange()
        finally:
            self.ended.set()

    def exchange(self) -> Totals:
        """Exchange `count` bytes in each direction, and return the totals."""
        self.stream.write(bytes(self.count))
        buffer = memoryview(bytearray(64 * 1024))
        left = self.count
        while left:
            got = self.stream.readinto(buffer[:left])
            if not got:
                raise StreamEnded
            left -= got
            self.report(Moved(b"a", self.count - left, self.count - left))
        self.report(Finished(b"a", self.count, self.count, 0, bytes(32)))
        totals = Totals()
        totals.files, totals.bytes, totals.sent = 1, self.count, self.count
        return totals


class Exchanges:
    """Makes an `Exchange` for each attempt, and keeps them."""

    def __init__(self, count: int, kind: type[Exchange] = Exchange) -> None:
        self.count = count
        self.kind = kind
        self.made: list[Exchange] = []
        self.began = threading.Event()

    def __call__(self, options: TransferOptions, stream: ByteStream, report: Report) -> Mover:
        self.made.append(self.kind(self.count, options, stream, report))
        self.began.set()
        return self.made[-1]


@contextlib.asynccontextmanager
async def transferring(
    directory: Path, behave: Behaviour, *, reconnect: float | None = None, features: tuple[str, ...] = (FILES,)
) -> AsyncIterator[tuple[Client, FakeService]]:
    """Log a client in to a fake service that transfers files."""
    service = FakeService(behave)
    service.features = features
    async with service.on_socket(directory), connect(service.host, reconnect=reconnect) as client:
        yield client, service
