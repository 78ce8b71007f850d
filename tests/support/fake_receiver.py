"""A receiver that keeps everything in memory, and answers each entry as a test says; and streams in one process."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Sequence

from blake3 import blake3

from farhand_files import events, wire
from farhand_files.opening import Area
from farhand_files.options import TransferOptions
from farhand_files.rows import FileRows, each_event
from farhand_files.sender import Pipe, Sender
from farhand_files.stream import FrameReader, FrameWriter, StreamEnded


class SocketStream:
    """A byte stream over a connected socket."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected

    def readinto(self, buffer: memoryview) -> int:
        """Wait for bytes."""
        return self.socket.recv_into(buffer)

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it."""
        self.socket.sendall(data)

    def shutdown(self) -> None:
        """End both directions, for this side and the other."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End both directions, and close the socket."""
        self.shutdown()
        self.socket.close()


Answer = Callable[[wire.Entry], Sequence[wire.Frame]]


def want(entry: wire.Entry) -> list[wire.Frame]:
    """Answer: all content is wanted."""
    return [wire.Want(entry.number, wire.NOTHING, 1)]


def skip(entry: wire.Entry) -> list[wire.Frame]:
    """Answer: the file is up to date."""
    return [wire.Skip(entry.number)]


class FakeReceiver:
    """Takes what a sender sends, in a thread. `have` is what the answers say that it has, by path; without
    `keep`, content is only counted."""

    def __init__(
        self, stream: SocketStream, answer: Answer = want, have: dict[bytes, bytes] | None = None, *, keep: bool = True
    ) -> None:
        self.stream = stream
        self.answer = answer
        self.have = have or {}
        self.keep = keep
        self.frames: list[wire.Frame] = []
        self.entries: dict[int, wire.Entry] = {}
        self.content: dict[bytes, bytearray] = {}
        self.done: dict[bytes, wire.FileEnd] = {}
        self.aborted: dict[bytes, wire.Abort] = {}
        self.unfinished = 0
        self.skipped = 0
        self.most_unfinished = 0
        self.error: BaseException | None = None
        self.summary = wire.Summary(b"")
        self._writer = FrameWriter(stream)
        self._reader = FrameReader(stream, self._writer.flush)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until the sender has finished, and raise what went wrong here."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Close the stream, once the thread has ended."""
        self.stream.shutdown()
        self._thread.join(30)
        self.stream.close()

    def send(self, *frames: wire.Frame) -> None:
        """Send frames at once."""
        for frame in frames:
            self._writer.write(frame)
        self._writer.flush()

    def of(self, kind: type[wire.Frame]) -> list[wire.Frame]:
        """Return the frames of a kind."""
        return [frame for frame in self.frames if isinstance(frame, kind)]

    def paths(self) -> list[bytes]:
        """Return the paths of all entries, in their order."""
        return [entry.path for entry in self.entries.values()]

    def entry(self, path: bytes) -> wire.Entry:
        """Return the entry with this path."""
        (found,) = [entry for entry in self.entries.values() if entry.path == path]
        return found

    def _run(self) -> None:
        try:
            while self._take(self._reader.read()):
                pass
            self._writer.flush()
        except (StreamEnded, ConnectionError):
            pass
        except BaseException as error:  # noqa: BLE001 - raised by join
            self.error = error
            self.stream.shutdown()

    def _take(self, frame: wire.Frame) -> bool:
        self.frames.append(frame._replace(data=b"") if isinstance(frame, wire.Data) else frame)
        match frame:
            case wire.Entry():
                assert frame.number == len(self.entries)
                self.entries[frame.number] = frame
                if frame.kind == wire.REGULAR:
                    self.unfinished += 1
                    self.most_unfinished = max(self.most_unfinished, self.unfinished)
                    for answer in self.answer(frame):
                        self._writer.write(answer)
                        self.unfinished -= isinstance(answer, wire.Skip | wire.Failed)
                        self.skipped += answer.files if isinstance(answer, wire.Skip) else 0
            case wire.FileTable():
                rows = FileRows.of(frame)
                for row in range(len(rows)):
                    self._take(rows.entry(row))
            case wire.Data(number, offset, data):
                self._store(number, offset, bytes(data))
            case wire.Hole(number, offset, length):
                self._store(number, offset, bytes(length) if self.keep else b"")
            case wire.Copy(number, offset, length, source):
                had = self.have[self.entries[number].path][source : source + length]
                assert len(had) == length
                self._store(number, offset, had)
            case wire.Restart(number):
                self.content.pop(self.entries[number].path)
            case wire.FileEnd(number):
                path = self.entries[number].path
                content = self.content.setdefault(path, bytearray())
                assert not self.keep or (frame.size, frame.blake3) == (len(content), blake3(content).digest())
                self.done[path] = frame
                self.unfinished -= 1
                self._writer.write(wire.FileDone(number, frame.blake3))
            case wire.Abort(number):
                self.aborted[self.entries[number].path] = frame
                self.unfinished -= 1
                self._writer.write(wire.Failed(number, frame.errno, frame.sentence))
            case wire.Finish():
                totals = events.Totals()
                totals.skipped = self.skipped
                self._writer.write(wire.Summary(json.dumps(totals.to_json()).encode()))
                return False
        return True

    def _store(self, number: int, offset: int, data: bytes) -> None:
        if not self.keep:
            return
        content = self.content.setdefault(self.entries[number].path, bytearray())
        assert offset == len(content), "content is sent in order, without gaps"
        content += data


class Sending:
    """A sender in a thread, joined to a `FakeReceiver`."""

    def __init__(
        self,
        *sources: bytes | Pipe,
        answer: Answer = want,
        have: dict[bytes, bytes] | None = None,
        expand: bool = False,
        base: bytes = b"/",
        roots: Sequence[bytes] | None = None,
        options: TransferOptions | None = None,
        keep: bool = True,
    ) -> None:
        mine, other = socket.socketpair()
        self.stream = SocketStream(mine)
        self.events: list[events.Event] = []
        self.totals: events.Totals | None = None
        self.error: BaseException | None = None
        self.receiver = FakeReceiver(SocketStream(other), answer, have, keep=keep)
        self.sender = Sender(
            sources,
            options or TransferOptions("put", (b"/somewhere",)),
            Area(roots, base),
            self.stream,
            lambda happened: self.events.extend(each_event(happened)),
            expand=expand,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.totals = self.sender.run()
        except BaseException as error:  # noqa: BLE001 - raised by finish
            self.error = error
            self.stream.shutdown()

    def finish(self) -> FakeReceiver:
        """Wait for both sides, and raise what either has raised."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        try:
            if self.error is not None and self.receiver.error is None:
                raise self.error
            self.receiver.join()
        finally:
            self.stream.close()
            self.receiver.close()
        return self.receiver

    def of(self, kind: type[events.Event]) -> list[events.Event]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]
