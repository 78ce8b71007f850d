"""Which files of a transfer have no answer yet, what was answered, and its totals.

Several threads of the receiver answer. What is written to the other side is told to this side, too.
"""

from __future__ import annotations

import contextlib
import errno
import json
import threading
from array import array
from collections import deque
from typing import Final

from . import events, wire
from .arriving import ArrivingFile
from .causes import cause
from .events import Totals
from .opening import join
from .options import TransferOptions
from .rows import FileRows, Report, RowEvents
from .spill import Spill
from .stream import FrameWriter

NO_POSITION: Final = (1 << 64) - 1
"""The position of the path of an entry that is not in place."""

LEFT_POSITION: Final = (1 << 64) - 2
"""The same of an entry whose further names stay as they are, because it does."""

SKIPPED_TOGETHER: Final = 512
"""Files in one `wire.Skip`: a quarter of `wire.MAX_UNANSWERED`, so that the sender goes on while these are judged."""


MAX_HELD: Final = 16 << 20
"""Bytes of paths and extended attributes of files that are wanted: 8 KiB for each that may be without an answer. Longer
ones are allowed, but not for all of them."""


class Results:
    """Answers for entries. Its methods may be called by any thread, if they do not say otherwise."""

    def __init__(self, options: TransferOptions, writer: FrameWriter, report: Report, destination: bytes) -> None:
        self.totals = Totals()
        self.files: dict[int, ArrivingFile] = {}
        self.ready: deque[tuple[wire.Entry, bool]] = deque()
        """Further names of files that have their answer, and whether the file is in place."""
        self.writer = writer
        self.report = report
        self.destination_is_file = False
        """Whether what is received gets the destination's name."""
        self.silent = False
        """Nothing is written any more: the other side is not there, or does not listen."""
        self._options = options
        self._destination = destination
        self._lock = threading.Lock()
        self._positions = array("Q")
        self._paths: Spill | None = None
        self._held = 0
        self._names = 0
        self._skipped: wire.Skip | None = None
        """What is not written yet, as more files may follow."""

    def note_paths(self, paths: Spill) -> None:
        """Note where regular files are, for their further names."""
        self._paths = paths

    def expect(self, entry: wire.Entry) -> ArrivingFile | None:
        """An entry has come; return its file if it needs an answer. Raises `wire.WireError`. For one thread."""
        self._positions.append(NO_POSITION)
        self.report(events.Found(entry.path, entry.kind, entry.size if entry.kind == wire.REGULAR else 0))
        return self.expect_file(entry) if entry.kind == wire.REGULAR else None

    def expect_rows(self, rows: FileRows) -> None:
        """Files have come: each is going to be expected with `expect_file`, or skipped. For one thread."""
        self._positions.extend([NO_POSITION] * len(rows))
        self.report(RowEvents(events.Found, rows, 0, len(rows)))

    def expect_file(self, entry: wire.Entry) -> ArrivingFile:
        """Return the file of an entry that has come. Raises `wire.WireError`. For one thread."""
        if len(self.files) >= wire.MAX_UNANSWERED:
            raise wire.WireError(f"more than {wire.MAX_UNANSWERED} files without an answer")
        file = self.files[entry.number] = ArrivingFile(entry)
        return file

    def hold(self, file: ArrivingFile) -> None:
        """A file is going to be wanted. Raises OSError: that would take too much memory."""
        size = len(file.entry.path) + len(file.entry.xattrs)
        with self._lock:
            if self._held + size > MAX_HELD:
                raise OSError(errno.ENOMEM, "too many files with large extended attributes are being received")
            file.held = size
            self._held += size

    def _forget(self, number: int) -> ArrivingFile | None:
        """Return a file that has its answer now, if it had none. For the owner of the lock."""
        file = self.files.pop(number, None)
        if file is not None:
            self._held -= file.held
            self._names -= len(file.names)
        return file

    def place(self, number: int, place: tuple[bytes, ...]) -> None:
        """This is where a file will be. Raises OSError. For one thread."""
        if self._paths is not None:
            self._positions[number] = self._paths.append(b"/".join(place))

    def leave(self, number: int) -> None:
        """A file that the options leave out stays as it is, and so do its further names. For one thread."""
        self._positions[number] = LEFT_POSITION

    def place_of(self, number: int) -> tuple[bytes, ...] | None:
        """Return where a file is, None if it was left out. Raises OSError: it was not transferred. For one thread."""
        position = self._positions[number]
        if position == LEFT_POSITION:
            return None
        if position == NO_POSITION or self._paths is None:
            raise OSError(errno.ENOENT, "the file of which this is another name was not transferred")
        return tuple(self._paths.read(position).split(b"/"))

    def add_name(self, entry: wire.Entry) -> bool:
        """Keep a further name of a file until that is in place; return False if it has its answer. Raises OSError."""
        with self._lock:
            file = self.files.get(int(entry.target))
            if file is None:
                return False
            if self._names >= wire.MAX_UNANSWERED:
                raise OSError(errno.EMLINK, "too many names of files that are still being received")
            file.names.append(entry._replace(xattrs=b""))  # those of the file count, and these may be large
            self._names += 1
            return True

    def skip(self, entry: wire.Entry, *, counted: bool) -> None:
        """A file stays as it is; `counted` if it is up to date."""
        with self._lock:
            file = self._forget(entry.number)
            self.ready.extend((each, True) for each in (file.names if file is not None else ()))
        self._add_skipped(entry.number, 1, counted=counted)
        if counted:
            self.report(events.Skipped(entry.path, entry.size))

    def skip_at_once(self, entry: wire.Entry) -> None:
        """A file is up to date about which nothing else has to be known: this instead of `expect`. For one thread."""
        position = NO_POSITION
        if self._paths is not None:
            with contextlib.suppress(OSError):  # then its further names fail
                position = self._paths.append(entry.path)
        self._positions.append(position)
        self.report(events.Found(entry.path, entry.kind, entry.size))
        self._add_skipped(entry.number, 1, counted=True)
        self.report(events.Skipped(entry.path, entry.size))

    def skip_rows(self, rows: FileRows, start: int, stop: int) -> None:
        """Some of the files that have come are up to date, and have no further names. For one thread."""
        self._add_skipped(rows.number + start, stop - start, counted=True)
        self.report(RowEvents(events.Skipped, rows, start, stop))

    def _add_skipped(self, number: int, files: int, *, counted: bool) -> None:
        with self._lock:
            if counted:
                self.totals.skipped += files
            skipped, full = self._skipped, False
            if skipped is not None and number == skipped.number + skipped.files:
                self._skipped = wire.Skip(skipped.number, skipped.files + files)
                full = self._skipped.files >= SKIPPED_TOGETHER
                skipped = None
            else:
                self._skipped = wire.Skip(number, files)
        if skipped is not None:
            self._write(skipped)
        elif full:
            self.write_collected()

    def match(self, file: ArrivingFile) -> None:
        """A file is up to date: its content was compared. For the thread that reads."""
        entry = file.entry
        file.release()
        with self._lock:
            self._forget(entry.number)
            self.ready.extend((each, True) for each in file.names)
        if file.told:
            self.set_attributes(entry)
        self._add_skipped(entry.number, 1, counted=True)
        self.report(events.Skipped(entry.path, entry.size))

    def finish(self, file: ArrivingFile, size: int, digest: bytes, sha256: bytes = b"") -> None:
        """A file is in place, or with `dry_run` would be."""
        content = file.content
        sent, kept = (content.sent, content.kept) if content is not None else (0, 0)
        number = file.entry.number
        file.release()
        totals = self.totals
        with self._lock:
            self._forget(number)
            totals.files += 1
            totals.bytes += size
            totals.sent += sent
            totals.kept += kept
            totals.digest = digest.hex() if totals.files == 1 and not self._options.dry_run else ""
            if file.names:
                self.ready.extend((each, True) for each in file.names)
        self._write(wire.FileDone(number, digest))
        self.report(events.Finished(file.entry.path, size, sent, kept, digest, sha256))

    def fail(self, entry: wire.Entry, error: OSError, *, remote: bool = False) -> None:
        """An entry could not be written, or with `remote` not be read."""
        sentence, number = cause(error), error.errno or errno.EIO
        with self._lock:
            file = self._forget(entry.number)
            self._positions[entry.number] = NO_POSITION
            self.totals.failed += 1
            if file is not None:
                self.ready.extend((each, False) for each in file.names)
        self._write(wire.Failed(entry.number, number, sentence.encode()[: wire.MAX_SENTENCE_SIZE]))
        self.report(events.Trouble(entry.path if remote else self.shown(entry.path), number, sentence, remote))

    def give_up(self, entry: wire.Entry) -> None:
        """A file could not be written for a reason that was told before, by `trouble`."""
        with self._lock:
            self._forget(entry.number)
            self._positions[entry.number] = NO_POSITION
        self._write(wire.Failed(entry.number, 0, b""))

    def make(self, entry: wire.Entry, *, replaced: bool) -> None:
        """A directory or link was made, or with `dry_run` would have been."""
        with self._lock:
            self.totals.others += 1
        self._tell(entry, wire.REPLACED if replaced else wire.NEW)

    def set_attributes(self, entry: wire.Entry) -> None:
        """Mode or time of what is there were set, or with `dry_run` would have been."""
        self._tell(entry, wire.ATTRIBUTES)

    def _tell(self, entry: wire.Entry, change: int) -> None:
        self._write(wire.Made(entry.kind, change, entry.path))
        self.report(events.Placed(entry.path, entry.kind, change))

    def delete(self, path: bytes) -> None:
        """A path was deleted, or with `dry_run` would have been."""
        with self._lock:
            self.totals.deleted += 1
        self._write(wire.Deleted(path))
        self.report(events.Removed(path))

    def trouble(self, path: bytes, error: OSError) -> None:
        """Something is not as requested that is about no entry. Only a failed system call is counted."""
        sentence, number = cause(error), error.errno or 0
        if number:
            with self._lock:
                self.totals.failed += 1
        self._write(wire.Problem(number, path[: wire.MAX_PATH], sentence.encode()[: wire.MAX_SENTENCE_SIZE]))
        self.report(events.Trouble(path, number, sentence, False))

    def note_problem(self, frame: wire.Problem) -> None:
        """The other side could not read something."""
        if frame.errno:
            with self._lock:
                self.totals.failed += 1
        self.report(events.Trouble(frame.path, frame.errno, text_of(frame.sentence), True))

    def write_collected(self) -> None:
        """Write what was collected, before a wait for the other side. Raises OSError."""
        with self._lock:
            skipped, self._skipped = self._skipped, None
        if skipped is not None:
            self._write(skipped)
        if not self.silent:
            self.writer.flush()

    def summarize(self) -> None:
        """Everything is over."""
        self.write_collected()
        self._write(wire.Summary(json.dumps(self.totals.to_json()).encode()))
        self.writer.flush()

    def shown(self, path: bytes) -> bytes:
        """Return a path below the destination for people on this side."""
        return join(self._destination, path) if path and not self.destination_is_file else self._destination

    def flush(self) -> None:
        """Write what was collected, in a thread that does not read."""
        with contextlib.suppress(OSError):  # the thread that reads will find out
            if not self.silent:
                self.writer.flush()

    def _write(self, frame: wire.Frame) -> None:
        if not self.silent:
            self.writer.write(frame)


def text_of(sentence: bytes) -> str:
    """Return a sentence of the other side."""
    return sentence[: wire.MAX_SENTENCE_SIZE].decode("utf-8", "replace")
