"""The receiver: decides about each entry, and puts in place what the sender sends.

One thread takes frames, decides and writes content to temporary files. A second one makes them durable and renames them
(`commit`), a third one reads what is there already of files that are only sent in part (`preparing`). Nothing is
written outside of the destination, whatever paths come, and nothing is put in place whose digest is not that which the
sender has read. An entry that cannot be written fails on its own; a frame that is not due ends the transfer.

Memory is bounded: some 1 KiB for each file without an answer (2 MiB), 2 MiB of frames, and with `delete` the names in
the directories that are not listed yet, 8 bytes for each in large ones.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from . import delta, events, wire
from .arriving import ArrivingFile, Stage
from .causes import cause
from .commit import Committer, Received
from .deleting import Deleter, Listings
from .destination import Destination, Requested
from .durability import Durability
from .events import Event, Totals
from .names import BadName, check_path
from .opening import Area, OpenDirectories, join
from .options import TransferOptions
from .placing import Placing
from .planning import Action, decide, may_delete, mode_of
from .preparing import Preparer
from .selection import Selection
from .spill import Spill
from .stream import ByteStream, Cancelled, FrameReader, FrameWriter, StreamEnded
from .writing import ArrivingContent

MAX_RECEIVING: Final = 16
"""Files whose content may arrive at the same time, with up to three descriptors each."""

MOVED_INTERVAL_RECEIVED: Final = 0.05
"""Seconds between two `events.Moved`: 20 a second look smooth."""

_NOWHERE: Final = (1 << 64) - 1


class Sink(NamedTuple):
    """The destination of one file's content: a descriptor, such as stdout, which is not closed."""

    fd: int


class Receiver:
    """Receives what a `sender.Sender` at the other end of a stream sends. `run` does all of it, once."""

    def __init__(
        self,
        destination: bytes | Sink,
        options: TransferOptions,
        area: Area,
        stream: ByteStream,
        report: Callable[[Event], None],
    ) -> None:
        """Raises `wire.WireError` for an exclude that is no pattern, OSError for an owner that does not exist."""
        self._options = options
        self._report = report
        self._sink = destination if isinstance(destination, Sink) else None
        self._destination = Destination(destination if isinstance(destination, bytes) else b"-", options, area)
        self._requested = Requested(options)
        self._selection = Selection(options)
        self._durability = Durability()
        self._placing = Placing(options, self._durability)
        self._directories: OpenDirectories | None = None
        self._listings: Listings | None = None
        self._preparer: Preparer | None = None
        self._spills: list[Spill] = []
        self._paths: Spill | None = None
        self._candidates: Spill | None = None
        self._positions = array("Q")
        self._reader = FrameReader(stream)
        self._writer = FrameWriter(stream)
        self._committer = Committer(self._durability, options.sync, self._done, self._not_committed)
        self._files: dict[int, ArrivingFile] = {}
        self._void: set[int] = set()
        self._receiving = 0
        self._entries = 0
        self._walked: wire.Walked | None = None
        self._incomplete = False
        self._totals = Totals()
        self._lock = threading.Lock()
        self._ready: deque[tuple[wire.Entry, bool]] = deque()
        self._cancelled = threading.Event()
        self._ending = False
        self._opened = False
        self._takers: dict[type[wire.Frame], Callable[[Any], None]] = {
            wire.Data: self._data,
            wire.Entry: self._entry,
            wire.FileEnd: self._file_end,
            wire.Hole: self._hole,
            wire.Copy: self._copy,
            wire.Restart: self._restart,
            wire.Abort: self._abort,
            wire.Listed: self._listed,
            wire.Walked: self._walked_all,
            wire.Problem: self._problem,
        }

    def cancel(self) -> None:
        """Make `run` raise `Cancelled` soon. A call of the stream that is blocked has to be ended by its owner."""
        self._cancelled.set()

    def run(self) -> Totals:
        """Receive everything, and return what was done. Raises `StreamEnded`, `wire.WireError`, `Cancelled`, OSError of
        the stream. Large files that have not arrived completely are kept for the next attempt."""
        try:
            self._receive()
            self._finish()
        except (StreamEnded, OSError):
            if self._cancelled.is_set():
                raise Cancelled from None
            raise
        finally:
            self._close()
        return self._totals

    # Frames

    def _receive(self) -> None:
        reader, takers = self._reader, self._takers
        while True:
            if self._ready:
                self._make_names()
            if reader.waiting:
                self._writer.flush()
            frame = reader.read()
            if self._cancelled.is_set():
                raise Cancelled
            taker = takers.get(type(frame))
            if taker is not None:
                taker(frame)
            elif isinstance(frame, wire.Finish):
                return
            else:
                raise wire.WireError(f"a sender has sent {type(frame).__name__}")

    def _entry(self, entry: wire.Entry) -> None:
        if entry.number != self._entries or self._walked is not None:
            raise wire.WireError(f"entry {entry.number} after {self._entries}, or after the last one")
        self._entries += 1
        self._positions.append(_NOWHERE)
        self._report(events.Found(entry.path, entry.kind, entry.size if entry.kind == wire.REGULAR else 0))
        if entry.kind == wire.REGULAR:
            if len(self._files) >= wire.MAX_UNANSWERED:
                raise wire.WireError(f"more than {wire.MAX_UNANSWERED} files without an answer")
            self._files[entry.number] = ArrivingFile(entry)
        try:
            components = check_path(entry.path)
            if not self._requested.includes(components):
                raise OSError(errno.EACCES, "the service has sent what was not requested")
            if self._sink is not None:
                self._to_sink(entry)
            else:
                place = self._destination.place(entry.kind, components)
                self._open()
                self._decide(entry, place)
        except BadName as error:
            self._fail(entry, OSError(errno.EINVAL, str(error)))
        except OSError as error:
            self._fail(entry, error)

    def _open(self) -> None:
        """The destination is known now: open what is needed to write there."""
        if self._opened:
            return
        self._opened = True
        top = self._destination.top
        self._directories = self._destination.open_directories()
        if top is None or self._directories is None:
            return
        self._placing.begin(self._directories, self._spill())
        self._paths = self._spill()
        if self._options.delete:
            self._candidates = self._spill()
            self._listings = Listings(self._selection, self._candidates)

    def _spill(self) -> Spill:
        assert self._destination.top is not None
        spill = Spill(self._destination.top)
        self._spills.append(spill)
        return spill

    def _decide(self, entry: wire.Entry, place: tuple[bytes, ...]) -> None:
        if self._listings is not None:
            self._listings.add(place)
            if entry.kind == wire.DIRECTORY:
                self._listings.begin(entry.number, place)
        if not place and entry.kind != wire.DIRECTORY:
            raise OSError(errno.EINVAL, "only a directory can be the destination itself")
        existing = None
        if place or not self._destination.made:
            existing = self._placing.existing(place, entry.kind)
        partial = 0
        if entry.kind == wire.REGULAR and (entry.size >= wire.CHUNK or entry.size < 0):
            partial = int(entry.size > 0 and self._placing.has_leftover(place))
        able = self._options.delta and delta.available()
        decision = decide(entry, existing, self._options, partial=partial, delta=able)
        if self._paths is not None and entry.kind == wire.REGULAR:
            self._positions[entry.number] = self._paths.append(b"/".join(place))
        match decision.action:
            case Action.REFUSE:
                raise OSError(errno.EEXIST, decision.sentence)
            case Action.SKIP | Action.LEAVE:
                self._skip(entry, place, decision.attributes, counted=decision.action is Action.SKIP)
            case Action.MAKE:
                self._make(entry, place)
            case action:
                self._want(entry, place, action)

    # Entries without content

    def _skip(self, entry: wire.Entry, place: tuple[bytes, ...], attributes: bool, *, counted: bool) -> None:
        if entry.kind == wire.DIRECTORY and place and not self._options.dry_run:
            self._placing.keep_directory(entry, place)
        if entry.kind != wire.REGULAR:
            return
        if attributes and not self._options.dry_run:
            self._placing.set_attributes(place, mode_of(entry, self._options), entry.mtime)
        del self._files[entry.number]
        self._writer.write(wire.Skip(entry.number))
        if counted:
            with self._lock:
                self._totals.skipped += 1
            self._report(events.Skipped(entry.path, entry.size))

    def _make(self, entry: wire.Entry, place: tuple[bytes, ...]) -> None:
        if entry.kind == wire.HARDLINK:
            with self._lock:
                target = self._files.get(int(entry.target))
                if target is not None:
                    if len(target.names) >= wire.MAX_UNANSWERED:
                        raise OSError(errno.EMLINK, "too many names of a file that is still being received")
                    target.names.append(entry)
                    return
            self._make_name(entry)
            return
        if not self._options.dry_run:
            if entry.kind == wire.DIRECTORY:
                touched = self._placing.make_directory(entry, place)
            else:
                touched = self._placing.make_symlink(entry, place)
            self._committer.touch(touched)
        with self._lock:
            self._totals.others += 1

    def _make_names(self) -> None:
        while self._ready:
            entry, there = self._ready.popleft()
            try:
                if not there:
                    raise OSError(errno.ENOENT, "the file of which this is another name was not transferred")
                self._make_name(entry)
            except OSError as error:
                self._fail(entry, error)

    def _make_name(self, entry: wire.Entry) -> None:
        """Make a hard link to a file that is in place. Raises OSError."""
        number = int(entry.target)
        if number >= entry.number:
            raise wire.WireError(f"entry {entry.number} is another name of entry {number}")
        if not self._options.dry_run:
            position = self._positions[number]
            if position == _NOWHERE or self._paths is None:
                raise OSError(errno.ENOENT, "the file of which this is another name was not transferred")
            target = tuple(self._paths.read(position).split(b"/"))
            place = check_path(entry.path)
            touched = self._placing.make_hardlink(target, place)
            if touched is None:
                return
            self._committer.touch(touched)
        with self._lock:
            self._totals.others += 1

    # Content

    def _want(self, entry: wire.Entry, place: tuple[bytes, ...], action: Action) -> None:
        file = self._files[entry.number]
        file.place, file.action = place, action
        if self._options.dry_run:
            self._answer(file, max(0, entry.size), bytes(wire.DIGEST), b"")
        elif action is Action.WANT_ALL:
            file.stage = Stage.WANTED
            self._writer.write(wire.Want(entry.number, wire.NOTHING, 1))
        else:
            if self._preparer is None:
                directories = self._destination.open_directories()
                assert directories is not None
                self._preparer = Preparer(self._options, directories, self._write_now, self._not_prepared)
            self._preparer.put(file)

    def _write_now(self, frame: wire.Frame) -> None:
        with contextlib.suppress(OSError):  # the thread that reads will find out
            self._writer.write(frame, flush=True)

    def _to_sink(self, entry: wire.Entry) -> None:
        if entry.kind != wire.REGULAR or entry.number:
            raise OSError(errno.EISDIR, "only one file can be written to a pipe")
        self._want(entry, (entry.path.rsplit(b"/", 1)[-1],), Action.WANT_ALL)

    def _content(self, number: int) -> ArrivingFile | None:
        """Return the file whose content has come; None if it has failed. Raises `wire.WireError`: none is due."""
        file = self._files.get(number)
        if file is not None and file.stage is Stage.RECEIVING:
            return file
        if number in self._void:
            return None
        if file is None or file.stage is not Stage.WANTED:
            raise wire.WireError(f"content of entry {number}, which is not wanted")
        if self._receiving >= MAX_RECEIVING or len(self._void) >= MAX_RECEIVING:
            raise wire.WireError(f"the content of more than {MAX_RECEIVING} files at the same time")
        self._receiving += 1
        file.stage = Stage.RECEIVING
        existing = 0
        try:
            if file.temporary is not None:
                existing = os.fstat(file.temporary.fd).st_size
            elif self._options.in_place and self._sink is None:
                file.temporary, existing = self._placing.open_in_place(file.place, file.entry)
        except OSError as error:
            self._lose(file, error)
            return None
        known = sum(each.size for each in file.basis) or (existing if file.prepared else 0)
        self._report(events.Begun(file.entry.path, file.entry.size, min(known, max(0, file.entry.size))))
        file.incoming = ArrivingContent(
            lambda: self._make_file(file),
            existing=existing,
            basis=file.basis,
            moving=file.action is Action.WANT_DELTA,
            in_order=self._sink is not None,
            sha256=self._options.sha256,
            max_size=self._options.max_size,
        )
        return file

    def _make_file(self, file: ArrivingFile) -> int:
        if self._sink is not None:
            return self._sink.fd
        if file.temporary is None:
            file.temporary = self._placing.make_file(file.place, file.entry)
        return file.temporary.fd

    def _data(self, frame: wire.Data) -> None:
        file = self._content(frame.number)
        if file is not None and file.incoming is not None:
            try:
                file.incoming.add_data(frame.offset, frame.data)
            except OSError as error:
                self._lose(file, error)
            else:
                self._moved(file, file.incoming)

    def _hole(self, frame: wire.Hole) -> None:
        file = self._content(frame.number)
        if file is not None and file.incoming is not None:
            try:
                file.incoming.add_hole(frame.offset, frame.length, self._cancelled.is_set)
            except OSError as error:
                self._lose(file, error)
            else:
                self._moved(file, file.incoming)

    def _copy(self, frame: wire.Copy) -> None:
        file = self._content(frame.number)
        if file is not None and file.incoming is not None:
            try:
                file.incoming.add_copy(frame.offset, frame.length, frame.source, self._cancelled.is_set)
            except OSError as error:
                self._lose(file, error)
            else:
                self._moved(file, file.incoming)

    def _restart(self, frame: wire.Restart) -> None:
        file = self._content(frame.number)
        if file is not None and file.incoming is not None:
            try:
                file.incoming.restart()
                file.release()
            except OSError as error:
                self._lose(file, error)

    def _moved(self, file: ArrivingFile, incoming: ArrivingContent) -> None:
        now = time.monotonic()
        if now - file.begun >= MOVED_INTERVAL_RECEIVED:
            if file.begun:
                self._report(events.Moved(file.entry.path, incoming.at, incoming.sent))
            file.begun = now

    def _file_end(self, frame: wire.FileEnd) -> None:
        file = self._content(frame.number)
        if file is None:
            self._void.discard(frame.number)
            return
        incoming = file.incoming
        assert incoming is not None
        try:
            incoming.end(frame.size, resize=file.temporary is None or self._placing.is_regular(file.temporary.fd))
            if incoming.hashes.blake3() != frame.blake3 or incoming.hashes.sha256() != frame.sha256:
                raise OSError(errno.EBADMSG, "what has arrived is not what was sent: the digests differ")
            if file.temporary is not None:
                self._placing.set_for_file(file.temporary.fd, file.entry, frame)
            elif incoming.unchanged:
                mode = mode_of(file.entry._replace(mode=frame.mode), self._options)
                self._placing.set_attributes(file.place, mode, frame.mtime)
        except OSError as error:
            self._lose(file, error, over=True)
            return
        self._receiving -= 1
        file.stage = Stage.COMPLETE
        if file.temporary is None:
            self._answer(file, frame.size, frame.blake3, frame.sha256)
            return
        temporary = file.temporary
        if frame.size < wire.CHUNK and frame.mode & 0o400 and not self._options.in_place:
            temporary.close()
        file.release()
        self._committer.put(
            Received(
                frame.number,
                temporary,
                self._options.in_place,
                frame.size,
                incoming.sent,
                incoming.kept,
                frame.blake3,
                frame.sha256,
            )
        )

    def _abort(self, frame: wire.Abort) -> None:
        if frame.number in self._void:
            self._void.discard(frame.number)
            return
        file = self._files.get(frame.number)
        if file is None or file.stage not in (Stage.WANTED, Stage.RECEIVING):
            raise wire.WireError(f"an Abort of entry {frame.number}, which is not wanted")
        if file.stage is Stage.RECEIVING:
            self._receiving -= 1
        self._let_go(file, keep=True)
        sentence = frame.sentence[: wire.MAX_SENTENCE_SIZE].decode("utf-8", "replace")
        self._fail(file.entry, OSError(frame.errno, sentence), remote=True)

    # Answers. Some are given by the thread that commits.

    def _done(self, batch: list[Received]) -> None:
        for each in batch:
            file = self._files[each.number]
            self._answer(file, each.size, each.blake3, each.sha256)
        if not self._ending:
            self._writer.flush()

    def _answer(self, file: ArrivingFile, size: int, digest: bytes, sha256: bytes) -> None:
        """A file is in place."""
        incoming = file.incoming
        sent, kept = (incoming.sent, incoming.kept) if incoming is not None else (0, 0)
        number = file.entry.number
        if file.prepared and self._preparer is not None:
            self._preparer.release()
        file.release()
        totals = self._totals
        with self._lock:
            del self._files[number]
            totals.files += 1
            totals.bytes += size
            totals.sent += sent
            totals.kept += kept
            totals.digest = digest.hex() if totals.files == 1 and not self._options.dry_run else ""
            self._ready.extend((each, True) for each in file.names)
        if not self._ending:
            self._writer.write(wire.FileDone(number, digest))
        self._report(events.Finished(file.entry.path, size, sent, kept, digest, sha256))

    def _not_committed(self, received: Received, error: OSError) -> None:
        file = self._files[received.number]
        file.temporary = None
        self._let_go(file)
        self._fail(file.entry, error)

    def _not_prepared(self, file: ArrivingFile, error: OSError) -> None:
        self._let_go(file)
        self._fail(file.entry, error)
        if not self._ending:
            self._writer.flush()

    def _lose(self, file: ArrivingFile, error: OSError, *, over: bool = False) -> None:
        """A file cannot be written. What still comes of it is void, unless its end has come."""
        self._receiving -= 1
        if not over:
            self._void.add(file.entry.number)
        self._let_go(file)
        self._fail(file.entry, error)

    def _let_go(self, file: ArrivingFile, *, keep: bool = False) -> None:
        """Close what is open for a file. `keep` what could be of use to another attempt."""
        keep = keep and file.incoming is not None and file.incoming.at >= wire.CHUNK
        keep = keep or (file.incoming is None and file.action is Action.WANT_REST)
        file.discard(in_place=self._options.in_place, keep=keep)
        if file.prepared and self._preparer is not None:
            file.prepared = False
            self._preparer.release()

    def _fail(self, entry: wire.Entry, error: OSError, *, remote: bool = False) -> None:
        sentence = cause(error)
        if self._options.in_place and error.errno == errno.EBADMSG:
            sentence += "; it was written in place and is damaged"
        number = error.errno or errno.EIO
        with self._lock:
            file = self._files.pop(entry.number, None)
            self._positions[entry.number] = _NOWHERE
            self._totals.failed += 1
            if file is not None:
                self._ready.extend((each, False) for each in file.names)
        if not self._ending:
            self._writer.write(wire.Failed(entry.number, number, sentence.encode()[: wire.MAX_SENTENCE_SIZE]))
        self._report(events.Trouble(entry.path if remote else self._shown(entry.path), number, sentence, remote))

    def _shown(self, path: bytes) -> bytes:
        return join(self._destination.path, path) if path else self._destination.path

    # The walk, and the end

    def _listed(self, frame: wire.Listed) -> None:
        if frame.number >= self._entries:
            raise wire.WireError(f"entry {frame.number} is listed, and was not sent")
        if self._listings is not None and self._directories is not None:
            try:
                self._listings.finish(frame.number, bool(frame.complete), self._directories)
            except FileNotFoundError:
                pass  # with dry_run it was not made, and otherwise that has failed: there is nothing to delete in it
            except OSError as error:
                self._trouble(self._destination.path, error)

    def _walked_all(self, frame: wire.Walked) -> None:
        if self._walked is not None or frame.entries != self._entries:
            raise wire.WireError(f"{frame.entries} entries were walked, and {self._entries} sent")
        self._walked = frame
        self._report(events.FoundAll(frame.entries, frame.size))

    def _problem(self, frame: wire.Problem) -> None:
        if frame.errno:
            with self._lock:
                self._totals.failed += 1
        sentence = frame.sentence[: wire.MAX_SENTENCE_SIZE].decode("utf-8", "replace")
        self._report(events.Trouble(frame.path, frame.errno, sentence, True))

    def _trouble(self, path: bytes, error: OSError, *, counted: bool = True) -> None:
        """Tell both sides what could not be done, that is about no entry."""
        sentence, number = cause(error), error.errno or 0
        if counted:
            with self._lock:
                self._totals.failed += 1
        self._writer.write(wire.Problem(number, path[: wire.MAX_PATH], sentence.encode()[: wire.MAX_SENTENCE_SIZE]))
        self._report(events.Trouble(path, number, sentence, False))

    def _finish(self) -> None:
        if self._files or self._walked is None:
            raise wire.WireError("a Finish before the end")
        self._committer.drain()
        self._make_names()
        self._committer.drain()
        if self._options.delete and self._directories is not None:
            self._delete(self._directories)
        if not self._options.dry_run:
            self._placing.finish(lambda path, error: self._trouble(path, error))
        totals = json.dumps(self._totals.to_json()).encode()
        self._writer.write(wire.Summary(totals), flush=True)

    def _delete(self, directories: OpenDirectories) -> None:
        assert self._walked is not None
        assert self._candidates is not None
        if not may_delete(self._options, bool(self._walked.complete), self._totals.failed):
            sentence = "nothing was deleted, because not everything could be transferred"
            self._trouble(self._destination.path, OSError(0, sentence), counted=False)
            return
        deleter = Deleter(
            self._selection,
            directories,
            self._deleted,
            lambda path, error: self._trouble(self._shown(path), error),
            dry_run=self._options.dry_run,
        )
        deleter.run(self._candidates)

    def _deleted(self, path: bytes) -> None:
        self._totals.deleted += 1
        self._writer.write(wire.Deleted(path))
        self._report(events.Removed(path))

    def _close(self) -> None:
        """Put in place what is complete, keep what is of use to another attempt, and close everything."""
        self._ending = True
        self._committer.close()
        if self._preparer is not None:
            self._preparer.close()
        for file in self._files.values():
            self._let_go(file, keep=True)
        self._files.clear()
        self._placing.close()
        self._durability.close()
        for spill in self._spills:
            spill.close()
