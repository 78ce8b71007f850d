"""What the receiver answers: which files it wants, has, and has failed with.

A thread of the sender takes its frames. It never waits for anything but them, so that the two sides cannot block each
other; what the sender has to do because of them is in `Answers.jobs`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable
from operator import attrgetter
from typing import Final

from . import events, wire
from .events import Totals
from .options import TransferOptions, parse_object
from .pending import ABORTED, LISTED, QUEUED, SENT, WANTED, PendingFile, PendingRows
from .rows import Report, RowEvents
from .steps import ReadableRows
from .stream import ByteStream, Cancelled, FrameReader

MAX_HAVE: Final = 8 << 20
"""Bytes of digests that are held for files that are wanted: 230 GiB in chunks of 1 MiB. What is beyond is sent."""

MAX_OTHERS: Final = 2048
"""Entries without content whose paths are remembered, in case the receiver fails with one of them."""


class Answers:
    """Files without an answer, and what the receiver has answered. `take_all` is for a thread of its own."""

    def __init__(
        self,
        stream: ByteStream,
        options: TransferOptions,
        report: Report,
        *,
        pipes: bool,
        source_of: Callable[[bytes], bytes] = lambda _: b"",
    ) -> None:
        """`pipes`: `wait_for_pipe` will be used. `source_of` returns the path on this side of an entry's path."""
        self.entries = 0
        self.files: dict[int, PendingFile] = {}
        self.jobs: deque[PendingFile] = deque()
        self.totals = Totals()
        self.summary: Totals | None = None
        self.finished = False
        self.cancelled = threading.Event()
        self._rows: list[PendingRows] = []
        """In the order of their numbers: one thread adds at the end, and another one removes."""
        self._in_rows = self._answered_in_rows = 0  # each is changed by one thread only
        self._reader = FrameReader(stream, self._rouse)
        self._options = options
        self._report = report
        self._source_of = source_of
        self._others: OrderedDict[int, bytes] = OrderedDict()
        self._have_kept = self._have_let_go = 0  # each is changed by one thread only
        self._broken: BaseException | None = None
        self._wake = threading.Event()
        self._pipe_wake = _PipeWake() if pipes else None
        self._takers: dict[type[wire.Frame], Callable[..., None]] = {
            wire.Skip: self._skip,
            wire.Want: self._want,
            wire.FileDone: self._done,
            wire.Failed: self._fail,
            wire.Problem: self._problem,
            wire.Deleted: self._deleted,
            wire.Made: self._made,
            wire.Summary: self._summarize,
        }

    def expect(self, file: PendingFile) -> None:
        """A regular file will be sent: it is going to be answered."""
        self.files[file.entry.number] = file
        self.entries = file.entry.number + 1

    def expect_rows(self, origin: ReadableRows) -> None:
        """Regular files will be sent: they are going to be answered."""
        rows = origin.rows
        self._rows.append(PendingRows(origin))
        self._in_rows += len(rows)
        self.entries = rows.number + len(rows)

    @property
    def unanswered(self) -> int:
        """Regular files that have no answer."""
        answered = self._answered_in_rows  # first: one that becomes a file is counted twice rather than not at all
        return self._in_rows - answered + len(self.files)

    def expect_other(self, entry: wire.Entry) -> None:
        """An entry without content will be sent: the receiver may fail with it."""
        self._others[entry.number] = entry.path
        if len(self._others) > MAX_OTHERS:
            self._others.popitem(last=False)
        self.entries = entry.number + 1

    def let_go(self, file: PendingFile) -> None:
        """The digests of a file that was in `jobs` are not needed any more."""
        self._have_let_go += len(file.have)
        file.have = bytearray()

    def cancel(self) -> None:
        """Make `check` and all that wait raise `Cancelled`."""
        self.cancelled.set()
        self._rouse()

    def check(self) -> None:
        """Raise what has ended the transfer, if anything has: `StreamEnded`, `wire.WireError`, `Cancelled`, OSError."""
        if self.cancelled.is_set():
            raise Cancelled
        if self._broken is not None:
            raise self._broken

    def wait_for_work(self, known: int) -> None:
        """Wait until there are jobs, or fewer than `known` files without an answer. Raises what `check` raises."""
        self._wait(lambda: bool(self.jobs) or self.unanswered < known)

    def wait_for_summary(self) -> Totals:
        """Wait for the receiver's totals. Raises what `check` raises."""
        self._wait(lambda: self.summary is not None)
        assert self.summary is not None
        return self.summary

    def _wait(self, ready: Callable[[], bool]) -> None:
        while True:
            self._wake.clear()
            self.check()
            if ready():
                return
            self._wake.wait()

    def wait_for_pipe(self, file: PendingFile, fd: int) -> None:
        """Wait until a pipe can be read, or the receiver has failed. Raises what `check` raises."""
        assert self._pipe_wake is not None
        while not self._pipe_wake.wait(fd):
            self.check()
            if file.failed:
                return

    def close(self) -> None:
        """Close what was opened to wait for pipes. The thread ends when the stream does."""
        if self._pipe_wake is not None:
            self._pipe_wake.close()

    def take_all(self) -> None:
        """Take frames until there are no more."""
        try:
            while self.summary is None:
                frame = self._reader.read()
                taker = self._takers.get(type(frame))
                if taker is None:
                    raise wire.WireError(f"a receiver has sent {type(frame).__name__}")
                taker(frame)
        except BaseException as error:  # noqa: BLE001 - raised by run
            self._broken = error
        self._rouse()

    def _rouse(self) -> None:
        if not self._wake.is_set():
            self._wake.set()
        if self._pipe_wake is not None:
            self._pipe_wake.rouse()

    def _rows_with(self, number: int) -> PendingRows | None:
        at = bisect_right(self._rows, number, key=attrgetter("first")) - 1
        rows = self._rows[at] if at >= 0 else None
        return rows if rows is not None and number < rows.first + len(rows.taken) else None

    def _take_rows(self, rows: PendingRows, number: int, end: int) -> None:
        rows.take(number, end)
        if not rows.left:
            self._rows.remove(rows)
        self._answered_in_rows += end - number

    def _find(self, number: int) -> PendingFile | None:
        """Return a file without an answer; one of a table becomes a file of its own."""
        file = self.files.get(number)
        if file is None and (rows := self._rows_with(number)) is not None and not rows.taken[number - rows.first]:
            file = self.files[number] = PendingFile(rows.origin.readable(number - rows.first))
            self._take_rows(rows, number, number + 1)
        return file

    def _known(self, frame: wire.Want | wire.FileDone) -> PendingFile:
        file = self._find(frame.number)
        if file is None:
            raise wire.WireError(
                f"a {type(frame).__name__} of entry {frame.number}, which is no file without an answer"
            )
        return file

    def _skip(self, frame: wire.Skip) -> None:
        number, end = frame.number, frame.number + frame.files
        while number < end:
            rows = self._rows_with(number)
            stop = rows.end_of_free(number, end) if rows is not None else number
            if rows is not None and stop > number:
                self._skip_rows(rows, number, stop)
                number = stop
            else:
                self._skip_file(number)
                number += 1

    def _skip_rows(self, rows: PendingRows, number: int, end: int) -> None:
        self._take_rows(rows, number, end)
        skipped, start = rows.origin.rows, rows.first
        if self._options.max_size is None and self._options.newer_than is None:
            self.totals.skipped += end - number
            self._report(RowEvents(events.Skipped, skipped, number - start, end - start))
            return
        for row in range(number - start, end - start):
            if self._options.in_range(skipped.sizes[row], skipped.mtimes[row]):
                self.totals.skipped += 1
                self._report(RowEvents(events.Skipped, skipped, row, row + 1))

    def _skip_file(self, number: int) -> None:
        file = self.files.pop(number, None)
        if file is None or file.state not in (LISTED, SENT) or file.sent or file.differs:
            what = "is no file without an answer" if file is None else "was wanted"
            raise wire.WireError(f"a Skip of entry {number}, which {what}")
        if self._options.in_range(file.entry.size, file.entry.mtime):  # the others are only left out
            self.totals.skipped += 1
            self._report(events.Skipped(file.entry.path, file.entry.size))

    def _want(self, frame: wire.Want) -> None:
        file = self._known(frame)
        if file.state > WANTED or (file.state == WANTED and frame.basis != file.basis):
            raise wire.WireError(f"a Want of entry {frame.number}, which was wanted before")
        file.state, file.basis = WANTED, frame.basis
        if frame.have:
            self._keep_have(file, frame.have)
        if frame.last:
            file.state = QUEUED
            self.jobs.append(file)

    def _keep_have(self, file: PendingFile, have: bytes) -> None:
        """Keep digests, as long as there are not too many: what the others are about is sent."""
        check_have(file.basis, file.entry.size, len(file.have), have)
        if file.full or self._have_kept - self._have_let_go + len(have) > MAX_HAVE:
            file.full = True
            return
        file.have += have
        self._have_kept += len(have)

    def _done(self, frame: wire.FileDone) -> None:
        file = self._known(frame)
        totals = self.totals
        if file.state == LISTED and self._options.dry_run:
            file.size = max(0, file.entry.size)
        elif file.state != SENT:
            raise wire.WireError(f"a Done of entry {frame.number}, which was not sent completely")
        elif frame.blake3 != file.blake3:
            raise wire.WireError(f"a Done of entry {frame.number} with the digest of something else")
        del self.files[frame.number]
        totals.files += 1
        totals.bytes += file.size
        totals.sent += file.sent
        totals.kept += file.kept
        totals.digest = file.blake3.hex()
        self._report(events.Finished(file.entry.path, file.size, file.sent, file.kept, file.blake3, file.sha256))

    def _fail(self, frame: wire.Failed) -> None:
        file = self._find(frame.number)
        self.files.pop(frame.number, None)
        if file is None and frame.number >= self.entries:
            raise wire.WireError(f"a Failed of entry {frame.number}, which was not sent")
        if file is not None:
            file.failed = True
            if file.state == WANTED:
                self._have_kept -= len(file.have)
            if file.state == ABORTED:
                return  # it was reported when this side aborted it
            if not frame.errno and not frame.sentence:
                return  # a Problem has told the reason for all files
        path = file.entry.path if file is not None else self._others.get(frame.number, b"")
        self.totals.failed += 1
        sentence = _sentence(frame.sentence)
        self._report(events.Trouble(path, frame.errno or errno.EIO, sentence, True, self._source_of(path)))

    def _problem(self, frame: wire.Problem) -> None:
        self._report(events.Trouble(frame.path, frame.errno, _sentence(frame.sentence), True))

    def _deleted(self, frame: wire.Deleted) -> None:
        self._report(events.Removed(frame.path))

    def _made(self, frame: wire.Made) -> None:
        self._report(events.Placed(frame.path, frame.kind, frame.change))

    def _summarize(self, frame: wire.Summary) -> None:
        if not self.finished:
            raise wire.WireError("a Summary before the end")
        try:
            self.summary = Totals.from_json(parse_object(frame.text, "totals"))
        except wire.WireError:
            raise
        except ValueError as error:
            raise wire.WireError(str(error)) from None


def check_have(basis: int, size: int, before: int, have: bytes) -> None:
    """Check what a receiver says that it has of a file of this size (-1: unknown), after `before` bytes of the same.
    Raises `wire.WireError`."""
    if basis == wire.NOTHING:
        raise wire.WireError("a Want with digests of nothing")
    chunks = list(wire.unpack_chunks(have))
    if not all(0 < length <= wire.CHUNK for length, _ in chunks):
        raise wire.WireError("a Want with a chunk of a size that no chunk has")
    if basis == wire.PARTIAL:
        if any(length < wire.CHUNK for length, _ in chunks[:-1]):
            raise wire.WireError("a Want with a short chunk before the last one")
        start = (before // wire.CHUNK_SIZE + len(chunks) - 1) * wire.CHUNK
        if 0 <= size <= start:
            raise wire.WireError("a Want with more digests than the file can have")


def _sentence(sentence: bytes) -> str:
    return sentence[: wire.MAX_SENTENCE_SIZE].decode("utf-8", "replace")


class _PipeWake:
    """Ends the wait for a pipe. May be called in any thread, and after it was closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: tuple[int, int] | None = os.pipe()
        os.set_blocking(self._ends[1], False)

    def rouse(self) -> None:
        """End the wait, or the next one."""
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._ends is not None:
                os.write(self._ends[1], b"\0")

    def wait(self, fd: int) -> bool:
        """Wait until `fd` can be read (True), or `rouse` was called. For the thread that also calls `close`."""
        assert self._ends is not None
        waiting = select.poll()
        waiting.register(fd, select.POLLIN)
        waiting.register(self._ends[0], select.POLLIN)
        ready = {each for each, _ in waiting.poll()}
        if self._ends[0] in ready:
            os.read(self._ends[0], 65536)
        return fd in ready

    def close(self) -> None:
        """Close the descriptors."""
        with self._lock:
            ends, self._ends = self._ends, None
            for end in ends or ():
                os.close(end)
