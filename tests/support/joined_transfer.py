"""A sender and a receiver joined in one process, and trees of files to compare."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Sequence

from farhand_files import events, wire
from farhand_files.opening import Area
from farhand_files.options import TransferOptions
from farhand_files.receiver import Receiver, Sink
from farhand_files.rows import Happened, each_event
from farhand_files.sender import Pipe, Sender
from tests.support.fake_receiver import SocketStream
from tests.support.transferring import collecting

OPTIONS = TransferOptions("put", (b"/somewhere",), sync=False)
"""Not durable: these tests are about content, and thousands of fsync(2) take long."""


class CutStream(SocketStream):
    """A stream that is cut after `limit` written bytes have gone through, in both directions."""

    def __init__(self, connected: socket.socket, limit: int) -> None:
        super().__init__(connected)
        self.left = limit

    def write(self, data: bytes | memoryview) -> None:
        """Write what goes through."""
        passed = memoryview(data)[: self.left]
        self.left -= len(passed)
        if passed:
            super().write(passed)
        if len(passed) < len(data):
            self.shutdown()
            raise BrokenPipeError("the stream was cut by a test")


class RecordedStream(SocketStream):
    """A stream that keeps what was written, without the data in it."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected)
        self.written = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it."""
        self.written += data
        super().write(data)

    def boundaries(self) -> list[int]:
        """Return the offsets at which frames end."""
        found = []
        at = 0
        while at < len(self.written):
            size, _ = wire.check_header(bytes(self.written), at)
            at += wire.TRANSFER_HEADER.size + size
            found.append(at)
        return found


class Side:
    """A sender or a receiver in a thread."""

    def __init__(self, run: Callable[[], events.Totals], stream: SocketStream) -> None:
        self.totals: events.Totals | None = None
        self.error: BaseException | None = None
        self._run = run
        self._stream = stream
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            self.totals = self._run()
        except BaseException as error:  # noqa: BLE001 - raised by `JoinedTransfer.finish`
            self.error = error
            self._stream.shutdown()


class JoinedTransfer:
    """A transfer from `sources` to `destination`, in threads. It is cut off after so many bytes of what the sender
    writes, or of the receiver's answers."""

    def __init__(
        self,
        sources: Sequence[bytes | Pipe],
        destination: bytes | Sink,
        options: TransferOptions = OPTIONS,
        *,
        expand: bool = False,
        cut_after: int | None = None,
        answers_cut_after: int | None = None,
        stream: type[SocketStream] = SocketStream,
        sources_below: Sequence[bytes] | None = None,
        destination_below: Sequence[bytes] | None = None,
        report: Callable[[events.Event], None] = lambda _: None,
    ) -> None:
        mine, other = socket.socketpair()
        self.stream = stream(mine) if cut_after is None else CutStream(mine, cut_after)
        self._other = SocketStream(other) if answers_cut_after is None else CutStream(other, answers_cut_after)
        self.sent: list[events.Event] = []
        self.received: list[events.Event] = []

        def reported(happened: Happened) -> None:
            for event in each_event(happened):
                self.sent.append(event)
                report(event)

        self.sender = Sender(sources, options, Area(sources_below, b"/"), self.stream, reported, expand=expand)
        self.receiver = Receiver(
            destination, options, Area(destination_below, b"/"), self._other, collecting(self.received)
        )
        self._sides = [Side(self.receiver.run, self._other), Side(self.sender.run, self.stream)]

    def wait(self) -> None:
        """Wait until both sides have ended, well or not."""
        for side in self._sides:
            side.thread.join(100)
            assert not side.thread.is_alive(), "the transfer hangs"
        self.stream.close()
        self._other.close()

    def finish(self) -> events.Totals:
        """Wait for both sides, raise what either has raised, and return the receiver's totals."""
        self.wait()
        for side in self._sides:
            if side.error is not None:
                raise side.error
        told, counted = (side.totals for side in self._sides)
        assert told is not None
        assert counted is not None
        assert told.to_json() == counted.to_json()
        return told

    @property
    def errors(self) -> list[BaseException]:
        """What the sides have raised."""
        return [side.error for side in self._sides if side.error is not None]

    def troubles(self) -> list[tuple[bytes, int, str]]:
        """Return what the sender has reported as failed."""
        return [(each.path, each.errno, each.sentence) for each in self.sent if isinstance(each, events.Trouble)]


def transfer(
    sources: bytes | Sequence[bytes | Pipe], destination: bytes | Sink, options: TransferOptions = OPTIONS
) -> events.Totals:
    """Do a transfer in which everything must work, and return its totals."""
    done = JoinedTransfer([sources] if isinstance(sources, bytes) else sources, destination, options)
    totals = done.finish()
    assert not totals.failed, done.troubles()
    return totals


Snapshot = dict[bytes, tuple[object, ...]]


def snapshot(top: bytes, *, times: bool = True) -> Snapshot:
    """Return everything below a directory that a transfer keeps."""
    found: Snapshot = {}
    names: dict[int, bytes] = {}
    for directory, below, files in sorted(os.walk(top)):
        for name in sorted(below + files):
            path = os.path.join(directory, name)
            shown = os.path.relpath(path, top)
            status = os.lstat(path)
            kept: list[object] = [stat.S_IFMT(status.st_mode)]
            if stat.S_ISLNK(status.st_mode):
                kept.append(os.readlink(path))
            else:
                kept.append(stat.S_IMODE(status.st_mode) & 0o777)
                kept.append(status.st_mtime_ns if times else None)
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    kept.append(file.read())
                kept.append(names.setdefault(status.st_ino, shown))
            found[shown] = tuple(kept)
    return found


def leftovers(top: bytes) -> list[bytes]:
    """Return the temporary files below a directory."""
    return [
        os.path.join(directory, name)
        for directory, _, files in os.walk(top)
        for name in files
        if name.startswith(b".farhand-")
    ]
