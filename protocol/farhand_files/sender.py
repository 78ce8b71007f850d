"""The sender: finds the entries of its sources, and sends the content that the receiver wants.

One thread walks, reads and writes, in turn: it sends entries ahead of their content as long as fewer than
`wire.MAX_UNANSWERED` files have no answer, so that the receiver always has something to decide, and it never waits for
one file's answer before it goes on with the next. A second thread takes the receiver's frames, and never waits for
anything else, so that the two sides cannot block each other. Large files are read ahead by a third one.

Memory is bounded: some 1 KiB for each unanswered file (2 MiB), 3 MiB of chunks, `answers.MAX_HAVE` of digests, and the
names that `walk` holds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from functools import partial
from typing import Final

from blake3 import blake3

from . import events, wire
from .answers import Answers
from .events import Totals
from .opening import Area
from .options import TransferOptions
from .pending import ABORTED, SENDING, SENT, PendingFile
from .rate import ContentRate
from .reading import SMALL, Changed, Content, Part, read_small
from .rows import Report, RowEvents
from .sources import SourceDirectory, source_of
from .steps import Pipe, Piped, Readable, ReadableRows, WalkStep
from .stream import ByteStream, FrameWriter
from .walk import Walk

__all__ = ["Pipe", "Sender"]

ATTEMPTS: Final = 3
"""How often a file is sent that changes while it is being read. One that has changed three times will again."""

TURN: Final = 64
"""Entries that are sent between two files, or two chunks of a large one."""

MOVED_INTERVAL: Final = 0.05
"""Seconds between two `events.Moved` of a file: 20 a second look smooth."""

FLUSH_INTERVAL: Final = 0.02
"""Seconds for which entries may be collected while the walk is slow."""


_WITH_CONTENT: Final = (Readable, Piped)


class Sender:
    """Sends files to a `receiver.Receiver` at the other end of a stream. `run` does all of it, once."""

    def __init__(
        self,
        sources: Sequence[bytes | Pipe],
        options: TransferOptions,
        area: Area,
        stream: ByteStream,
        report: Report,
        *,
        expand: bool = False,
    ) -> None:
        """`expand`: sources may be patterns (glob(7)). Raises `wire.WireError` for an exclude that is no pattern."""
        self._options = options
        self._report = report
        self._walk = Walk(sources, options, area, patterns=expand)
        self._batches: Generator[list[WalkStep], None, None] | None = self._walk.batches()
        self._steps: deque[WalkStep] = deque()
        self._writer = FrameWriter(stream)
        self._flushed = 0.0
        self._failed = 0
        pipes = any(isinstance(source, Pipe) for source in sources)
        self._answers = Answers(stream, options, report, pipes=pipes, source_of=partial(source_of, self._walk.names))
        self._rate = ContentRate(options.rate, time.monotonic, self._answers.cancelled.wait) if options.rate else None

    def cancel(self) -> None:
        """Make `run` raise `Cancelled` soon. A call of the stream that is blocked has to be ended by its owner."""
        self._answers.cancel()

    def run(self) -> Totals:
        """Send everything, and return what was done. Raises `StreamEnded`, `wire.WireError`, `Cancelled`, OSError of
        the stream. The thread that takes frames ends with the stream."""
        answers = self._answers
        threading.Thread(target=answers.take_all, name="farhand-answers", daemon=True).start()
        try:
            self._send_all()
            answers.finished = True
            self._writer.write(wire.Finish(), flush=True)
            told = answers.wait_for_summary()
        finally:
            if self._batches is not None:
                self._batches.close()
            self._walk.close()
            answers.close()
        return self._added_up(told)

    def _added_up(self, told: Totals) -> Totals:
        """Return the totals: what this side has seen itself does not depend on what the other one says."""
        totals = self._answers.totals
        totals.others, totals.deleted = told.others, told.deleted
        totals.skipped = min(totals.skipped, told.skipped)  # where the destination is unusable, all is skipped
        totals.failed = max(totals.failed + self._failed, told.failed)
        if totals.files != 1:
            totals.digest = ""
        return totals

    # What is sent

    def _send_all(self) -> None:
        answers = self._answers
        while True:
            answers.check()
            walking = self._advance()
            known = answers.unanswered
            if answers.jobs:
                file = answers.jobs.popleft()
                try:
                    self._transfer(file)
                finally:
                    answers.let_go(file)
            elif not walking and not known:
                return
            elif not walking or known + self._files_of_next() > wire.MAX_UNANSWERED:
                self._flush()
                answers.wait_for_work(known)

    def _flush(self) -> None:
        self._writer.flush()
        self._flushed = time.monotonic()

    def _advance(self) -> bool:
        """Send some more entries. Return whether there are more."""
        for _ in range(TURN):
            while not self._steps:
                if self._batches is None:
                    return False
                batch = next(self._batches, None)
                if batch is None:
                    self._batches = None
                    walk = self._walk
                    self._writer.write(wire.Walked(walk.entries, walk.size, int(walk.complete)))
                    self._report(events.FoundAll(walk.entries, walk.size))
                    return False
                self._steps.extend(batch)
                if time.monotonic() - self._flushed > FLUSH_INTERVAL:
                    self._flush()
            if self._answers.unanswered + self._files_of_next() > wire.MAX_UNANSWERED:
                break
            self._send_step(self._steps.popleft())
        return True

    def _files_of_next(self) -> int:
        """Return how many files may be in what is sent next."""
        step = self._steps[0] if self._steps else None
        return len(step.rows) if isinstance(step, ReadableRows) else 1

    def _send_step(self, step: WalkStep) -> None:
        frame: wire.Frame
        if isinstance(step, ReadableRows):
            frame = step.rows.table()
            self._answers.expect_rows(step)
            self._report(RowEvents(events.Found, step.rows, 0, len(step.rows)))
        elif isinstance(step, _WITH_CONTENT):
            frame = step.entry
            self._answers.expect(PendingFile(step))
            self._report(events.Found(frame.path, wire.REGULAR, frame.size))
        else:
            frame = step
            if isinstance(frame, wire.Entry):
                self._answers.expect_other(frame)
                self._report(events.Found(frame.path, frame.kind, 0))
            elif isinstance(frame, wire.Problem):
                self._trouble(frame.path, frame.errno, frame.sentence.decode())
        self._writer.write(frame)

    def _trouble(self, path: bytes, number: int, sentence: str) -> None:
        """Report a problem of this side; with errno 0 nothing has failed because of it."""
        if number:
            self._failed += 1
        self._report(events.Trouble(path, number, sentence, False))

    # Content

    def _transfer(self, file: PendingFile) -> None:
        if file.failed:
            return
        file.state = SENDING
        kept = sum(length for length, _ in wire.unpack_chunks(bytes(file.have))) if file.basis == wire.PARTIAL else 0
        self._report(events.Begun(file.entry.path, file.entry.size, kept))
        try:
            if isinstance(file.origin, Piped):
                self._send_pipe(file, file.origin.pipe)
            elif not self._send_small(file, file.origin.place, file.origin.name):
                self._send_large(file, file.origin.place, file.origin.name)
        except _Unreadable as error:
            self._abort(file, error.errno, error.sentence)

    def _abort(self, file: PendingFile, number: int, sentence: str) -> None:
        file.state = ABORTED
        if not file.failed:
            self._trouble(file.shown(), number, sentence)
        self._writer.write(wire.Abort(file.entry.number, number, sentence.encode()[: wire.MAX_SENTENCE_SIZE]))

    def _send_small(self, file: PendingFile, place: SourceDirectory, name: bytes) -> bool:
        """Send a file with one call if it is small and at rest. Return whether it was sent."""
        size = file.entry.size
        options = self._options
        if not 0 < size <= SMALL or file.basis != wire.NOTHING or options.sha256 or options.dry_run or options.rate:
            return False
        with _READING:
            fd = place.open_file(name)
            try:
                found = read_small(fd, size)
            finally:
                os.close(fd)
        if found is None:
            return False
        data, status = found
        file.size = file.sent = size
        file.blake3 = blake3(data).digest()
        file.state = SENT
        number = file.entry.number
        self._writer.write_data(number, 0, data)
        mode, mtime = status.st_mode & 0o7777, wire.nearest_time(status.st_mtime_ns)
        self._writer.write(wire.FileEnd(number, size, mtime, mode, file.blake3))
        return True

    def _send_large(self, file: PendingFile, place: SourceDirectory, name: bytes) -> None:
        """Send a file, and again if it has changed meanwhile."""
        for attempt in range(ATTEMPTS):
            with _READING:
                content = Content(place.open_file(name), known_size=file.entry.size >= 0)
            with content:
                if attempt:
                    self._writer.write(wire.Restart(file.entry.number))
                    file.basis, file.kept = wire.NOTHING, 0
                try:
                    if not self._send_parts(file, content):
                        return
                    with _READING:
                        at_rest = file.differs or content.settle()
                except Changed:
                    continue
                if not at_rest:
                    self._notice(file, "this has grown while it was being read; what is new was not sent")
                self._end(file, content)
                return
        self._abort(file, errno.EBUSY, f"this has changed while it was being read, {ATTEMPTS} times")

    def _send_pipe(self, file: PendingFile, pipe: Pipe) -> None:
        with _READING:
            content = Content(pipe.fd, pipe=True)
        if self._send_parts(file, content):
            self._end(file, content)

    def _notice(self, file: PendingFile, sentence: str) -> None:
        path = file.shown()
        self._trouble(path, 0, sentence)
        self._writer.write(wire.Problem(0, path[: wire.MAX_PATH], sentence.encode()))

    def _end(self, file: PendingFile, content: Content) -> None:
        file.size = max(0, content.size)
        file.blake3, file.sha256 = content.hashes.blake3(), content.hashes.sha256()
        if file.differs:  # the rest was not read
            file.blake3, file.sha256 = bytes(wire.DIGEST), b""
        file.state = SENT
        mode = file.entry.mode if isinstance(file.origin, Piped) else content.mode
        self._writer.write(wire.FileEnd(file.entry.number, file.size, content.mtime, mode, file.blake3, file.sha256))

    def _send_parts(self, file: PendingFile, content: Content) -> bool:
        """Send the content. Return False if the receiver has failed, and was told that nothing follows."""
        parts = content.parts(file.basis, bytes(file.have), announced=file.entry.size, sha256=self._options.sha256)
        reported = time.monotonic()
        with contextlib.closing(parts):
            while True:
                if isinstance(file.origin, Piped):
                    self._flush()
                    self._answers.wait_for_pipe(file, file.origin.pipe.fd)
                self._answers.check()
                if file.failed:
                    self._abort(file, 0, "")
                    return False
                with _READING:
                    part = next(parts, None)
                if part is None:
                    return True
                if self._options.dry_run and part.source < 0:
                    file.differs = True
                    return True
                self._send_part(file, part)
                now = time.monotonic()
                if now - reported >= MOVED_INTERVAL:
                    reported = now
                    self._report(events.Moved(file.entry.path, part.offset + part.length, file.sent))
                self._advance()

    def _send_part(self, file: PendingFile, part: Part) -> None:
        number = file.entry.number
        if part.data is None:
            if part.source < 0:
                self._writer.write(wire.Hole(number, part.offset, part.length))
            else:
                file.kept += part.length
                self._writer.write(wire.Copy(number, part.offset, part.length, part.source))
            return
        file.sent += part.length
        if self._rate is None:
            self._writer.write_data(number, part.offset, part.data)
            return
        for start in range(0, part.length, self._rate.slice):
            data = part.data[start : start + self._rate.slice]
            self._flush()
            self._rate.take(len(data))
            self._answers.check()
            self._writer.write_data(number, part.offset + start, data)


class _Unreadable(Exception):
    """A source could not be read."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.errno = error.errno or errno.EIO
        self.sentence = error.strerror or str(error)


class _Reading:
    """Tells errors of a source from those of the stream."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            raise _Unreadable(error) from error


_READING: Final = _Reading()
