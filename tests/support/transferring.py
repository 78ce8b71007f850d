"""A sender and a receiver joined by pipes, or one of them with a test at the other end."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from farhand_files import wire
from farhand_files.events import Event, Totals, Trouble
from farhand_files.opening import Area
from farhand_files.options import TransferOptions
from farhand_files.receiver import Receiver, Sink
from farhand_files.rows import Happened, each_event
from farhand_files.sender import Pipe, Sender
from farhand_files.stream import FrameReader, FrameWriter

DEADLINE = 60
"""Seconds after which a thread of a test has surely failed."""


class PipeStream:
    """A `ByteStream` of two descriptors, which it closes."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing

    def readinto(self, buffer: memoryview) -> int:
        return os.readv(self._reading, [buffer])

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._writing, view) :]

    def close_writing(self) -> None:
        writing, self._writing = self._writing, -1
        if writing >= 0:
            os.close(writing)

    def close(self) -> None:
        self.close_writing()
        reading, self._reading = self._reading, -1
        if reading >= 0:
            os.close(reading)


def stream_pair() -> tuple[PipeStream, PipeStream]:
    """Return two streams that are joined."""
    one, other = os.pipe(), os.pipe()
    return PipeStream(one[0], other[1]), PipeStream(other[0], one[1])


def put_options(path: object, **options: object) -> TransferOptions:
    """Return options with one path."""
    made = TransferOptions("put", (os.fsencode(str(path)),))
    return made._replace(**options)  # type: ignore[arg-type]  # of the fields' types


def collecting(events: list[Event]) -> Callable[[Happened], None]:
    """Return what adds each reported event to a list."""
    return lambda happened: events.extend(each_event(happened))


class Transferred:
    """What a transfer has done: the receiver's totals and events, and the sender's."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.sender_totals = Totals()
        self.events: list[Event] = []
        self.sender_events: list[Event] = []

    @property
    def troubles(self) -> list[Trouble]:
        return [event for event in self.events if isinstance(event, Trouble)]


def transfer(
    sources: Sequence[Path | str | Pipe] | Path | str,
    destination: Path | str | Sink,
    **options: object,
) -> Transferred:
    """Transfer everything, and return what was done. Raises what the receiver raises."""
    several = [sources] if isinstance(sources, Path | str) else sources
    own = [each if isinstance(each, Pipe) else os.fsencode(each) for each in several]
    told = put_options(destination if not isinstance(destination, Sink) else "-", **options)
    target = destination if isinstance(destination, Sink) else os.fsencode(destination)
    result = Transferred()
    ours, theirs = stream_pair()
    sender = Sender(own, told, Area(None, b"/"), theirs, collecting(result.sender_events))

    def send() -> None:
        with contextlib.suppress(Exception):
            result.sender_totals = sender.run()
        theirs.close_writing()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        receiver = Receiver(target, told, Area(None, b"/"), ours, collecting(result.events))
        result.totals = receiver.run()
    finally:
        ours.close()
        thread.join(DEADLINE)
        theirs.close()
    return result


class FakeSender:
    """Frames for a receiver that runs in a thread of its own. `answers` are the frames that it writes."""

    def __init__(
        self,
        destination: Path | Sink,
        area: Area | None = None,
        *,
        options: TransferOptions | None = None,
        make: Callable[..., Receiver] = Receiver,
    ) -> None:
        self._ours, self._theirs = stream_pair()
        self._writer = FrameWriter(self._ours)
        self._reader = FrameReader(self._ours)
        self.events: list[Event] = []
        self.totals: Totals | None = None
        self.error: BaseException | None = None
        self.made: list[wire.Made] = []
        self._number = 0
        told = options or put_options(destination if isinstance(destination, Path) else "-")
        target = destination if isinstance(destination, Sink) else os.fsencode(destination)
        self.receiver = make(target, told, area or Area(None, b"/"), self._theirs, collecting(self.events))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.totals = self.receiver.run()
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.error = error
        self._theirs.close()

    def entry(
        self,
        path: bytes,
        kind: int = wire.REGULAR,
        *,
        size: int = 0,
        mode: int = 0o644,
        mtime: int = 10**18,
        target: bytes = b"",
        xattrs: bytes = b"",
    ) -> int:
        """Send an entry, and return its number."""
        number = self._number
        self._number += 1
        self.send(wire.Entry(number, kind, mode, os.getuid(), os.getgid(), mtime, size, path, target, xattrs))
        return number

    def file(self, path: bytes, content: bytes, *, mode: int = 0o644, mtime: int = 10**18) -> int:
        """Send a file, which is wanted, in one frame. Return its number."""
        number = self.entry(path, size=len(content), mode=mode, mtime=mtime)
        assert isinstance(self.answer(), wire.Want)
        if content:
            self.send(wire.Data(number, 0, content))
        self.end(number, content, mode=mode, mtime=mtime)
        return number

    def end(self, number: int, content: bytes, *, mode: int = 0o644, mtime: int = 10**18) -> None:
        """Send the end of a file with this content."""
        from blake3 import blake3

        self.send(wire.FileEnd(number, len(content), mtime, mode, blake3(content).digest()))

    def send(self, *frames: wire.Frame) -> None:
        """Send frames at once. That the receiver has ended is no error."""
        with contextlib.suppress(BrokenPipeError):
            for frame in frames:
                self._writer.write(frame)
            self._writer.flush()

    def answer(self) -> wire.Frame:
        """Return the next frame of the receiver that is no `Made`; these are in `made`."""
        while isinstance(frame := self._reader.read(), wire.Made):
            self.made.append(frame)
        return frame

    def finish(self, *, complete: int = 1) -> Iterator[wire.Frame]:
        """End the transfer, and return the frames that are still answered, without the summary."""
        self.send(wire.Walked(self._number, 0, complete), wire.Finish())
        frames = []
        while not isinstance(frame := self.answer(), wire.Summary):
            frames.append(frame)
        self.close()
        return iter(frames)

    def close(self) -> None:
        """End the stream, and wait for the receiver."""
        self._ours.close_writing()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        self._ours.close()
