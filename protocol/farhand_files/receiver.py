"""The receiver: decides about each entry, and puts in place what the sender sends.

One thread takes frames, decides and writes content to temporary files. A second one makes them durable and renames them
(`commit`), a third one reads what is there already of files that are only sent in part (`preparing`). Nothing is
written outside of the destination, whatever paths come, and nothing is put in place whose digest is not that which the
sender has read. An entry that cannot be written fails on its own; a frame that is not due ends the transfer.

Memory is bounded: some 1 KiB for each file without an answer (2 MiB), 2 MiB of frames, and with `delete` the names in
the directories that are not listed yet, 8 bytes for each in large ones. Besides, each entry costs 8 bytes, so that
further names can be made of any file: 8 MiB for a million.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from typing import Any

from . import delta, events, wire
from .arriving import ArrivingFile, Stage
from .contents import Contents, Sink
from .deleting import Deleter, Listings, holds_excluded
from .destination import Destination, DestinationUnusable, Requested
from .durability import Durability
from .events import Totals
from .names import BadName, check_path
from .opening import Area, OpenDirectories
from .options import TransferOptions
from .placing import Placing
from .planning import REPLACING, Action, EntryDecision, decide, may_delete, mode_of
from .preparing import Preparer
from .results import Results
from .rows import FileRows, Report
from .selection import Selection
from .spill import Spill
from .stream import ByteStream, Cancelled, FrameReader, FrameWriter, StreamEnded
from .unchanged import Unchanged

__all__ = ["Receiver", "Sink"]


class Receiver:
    """Receives what a `sender.Sender` at the other end of a stream sends. `run` does all of it, once."""

    def __init__(
        self,
        destination: bytes | Sink,
        options: TransferOptions,
        area: Area,
        stream: ByteStream,
        report: Report,
    ) -> None:
        """Raises `wire.WireError` for an exclude that is no pattern, OSError for an owner that does not exist."""
        self._options = options
        self._report = report
        self._sink = destination if isinstance(destination, Sink) else None
        path = b"-" if isinstance(destination, Sink) else destination
        self._destination = Destination(path, options, area)
        self._requested = Requested(options)
        self._selection = Selection(options)
        self._durability = Durability()
        self._placing = Placing(options, self._durability)
        self._cancelled = threading.Event()
        self._results = Results(options, FrameWriter(stream), report, path)
        self._reader = FrameReader(stream, self._before_wait)
        self._contents = Contents(
            options, self._results, self._placing, self._durability, self._sink, self._cancelled.is_set
        )
        self._directories: OpenDirectories | None = None
        self._listings: Listings | None = None
        self._unchanged: Unchanged | None = None
        self._preparer: Preparer | None = None
        self._spills: list[Spill] = []
        self._candidates: Spill | None = None
        self._opened = self._unusable = False
        self._entries = 0
        self._walked: wire.Walked | None = None
        self._takers: dict[type[wire.Frame], Callable[[Any], None]] = {
            **self._contents.takers,
            wire.Entry: self._entry,
            wire.FileTable: self._table,
            wire.Listed: self._listed,
            wire.Walked: self._walked_all,
            wire.Problem: self._results.note_problem,
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
        return self._results.totals

    def _receive(self) -> None:
        reader, takers, results = self._reader, self._takers, self._results
        while True:
            if results.ready:
                self._make_names()
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

    def _before_wait(self) -> None:
        """Do what was collected: the other side may wait for it."""
        self._contents.committer.hand_over()
        self._results.write_collected()

    # Entries

    def _entry(self, entry: wire.Entry) -> None:
        if entry.number != self._entries or self._walked is not None:
            raise wire.WireError(f"entry {entry.number} after {self._entries}, or after the last one")
        self._entries += 1
        if entry.kind == wire.REGULAR and self._unchanged is not None and self._unchanged.includes(entry):
            self._results.skip_at_once(entry)
            return
        self._judge(entry, self._results.expect(entry))

    def _table(self, table: wire.FileTable) -> None:
        if table.number != self._entries or self._walked is not None:
            raise wire.WireError(f"entry {table.number} after {self._entries}, or after the last one")
        rows, row = FileRows.of(table), 0
        self._entries += len(rows)
        self._results.expect_rows(rows)
        while row < len(rows):
            if self._unchanged is not None:
                stop = self._unchanged.end_of(rows, row)
                if stop > row:
                    self._results.skip_rows(rows, row, stop)
                    row = stop
                    continue
            entry = rows.entry(row)
            self._judge(entry, self._results.expect_file(entry))
            row += 1

    def _judge(self, entry: wire.Entry, file: ArrivingFile | None) -> None:
        """Decide about an entry, and do what follows from that."""
        try:
            components = check_path(entry.path)
            if not self._requested.includes(components):
                raise OSError(errno.EACCES, "the service has sent what was not requested")
            if self._sink is not None:
                if file is None or entry.number:
                    raise DestinationUnusable(OSError(errno.EISDIR, "only one file can be written to a pipe"))
            else:
                place = self._destination.place(entry.kind, components)
                self._results.destination_is_file = self._destination.is_file
                self._open()
                self._decide(entry, place, file)
        except DestinationUnusable as unusable:
            self._leave(entry, file, unusable.error)
        except BadName as error:
            self._results.fail(entry, OSError(errno.EINVAL, str(error)))
        except OSError as error:
            self._results.fail(entry, error)

    def _fill_sink(self) -> None:
        """Everything was found: request the file for a pipe if it is the only one."""
        first = self._results.files.get(0)
        if first is not None and self._unusable:
            self._results.give_up(first.entry)
        elif first is not None:
            self._want(first, Action.WANT_ALL)

    def _leave(self, entry: wire.Entry, file: ArrivingFile | None, error: OSError) -> None:
        """Nothing can be placed at the destination. That is told once, and not for each of a million files."""
        if not self._unusable:
            self._unusable = True
            self._results.trouble(self._destination.path, error)
        if file is not None:
            self._results.give_up(entry)

    def _open(self) -> None:
        """The destination is known now: open what is needed to write there."""
        if self._opened:
            return
        self._opened = True
        self._directories = self._destination.open_directories()
        if self._directories is None:
            return
        self._placing.begin(self._directories, self._spill())
        self._results.note_paths(self._spill())
        if self._options.delete:
            self._candidates = self._spill()
            self._listings = Listings(self._selection, self._candidates, self._placing.moved.has)
        if self._destination.is_directory and Unchanged.applies_to(self._options):
            note = self._listings.add if self._listings is not None else None
            self._unchanged = Unchanged(self._options, self._requested, self._directories, note)

    def _spill(self) -> Spill:
        assert self._destination.top is not None
        spill = Spill(self._destination.top)
        self._spills.append(spill)
        return spill

    def _decide(self, entry: wire.Entry, place: tuple[bytes, ...], file: ArrivingFile | None) -> None:
        if self._listings is not None:
            self._listings.add(place)
            if entry.kind == wire.DIRECTORY:
                self._listings.begin(entry.number, place)
        if not place and entry.kind != wire.DIRECTORY:
            raise OSError(errno.EINVAL, "only a directory can be the destination itself")
        existing = None
        if place or not self._destination.made:
            existing = self._placing.existing(place, entry)
        if file is not None:
            file.place = place
            self._results.place(entry.number, place)
            file.left = entry.size >= wire.CHUNK and self._placing.has_leftover(place)
        partial = wire.CHUNK if file is not None and file.left else 0
        able = self._options.delta and delta.available()
        decision = decide(entry, existing, self._options, partial=partial, delta=able)
        if existing is not None and existing.kind == wire.DIRECTORY and decision.action in REPLACING:
            self._replace_directory(entry, place)
        match decision.action:
            case Action.REFUSE:
                raise OSError(errno.EEXIST, decision.sentence)
            case Action.LEAVE:
                self._results.leave(entry.number)
                self._results.skip(entry, counted=False)
            case Action.SKIP:
                self._keep(entry, place, decision)
            case Action.MAKE:
                self._make(entry, place, replaced=existing is not None)
            case action:
                assert file is not None
                file.told = decision.told
                self._want(file, action)

    def _replace_directory(self, entry: wire.Entry, place: tuple[bytes, ...]) -> None:
        """A file or link is to replace a directory. Raises OSError: something in that is excluded, and so stays."""
        if entry.kind == wire.DIRECTORY:
            return
        assert self._directories is not None
        if self._options.excludes and holds_excluded(self._selection, self._directories, place):
            raise OSError(errno.ENOTEMPTY, "there is a directory with something that is excluded, and so not deleted")
        if self._options.dry_run and self._candidates is not None:
            self._candidates.append(b"d" + b"/".join(place))

    def _keep(self, entry: wire.Entry, place: tuple[bytes, ...], decision: EntryDecision) -> None:
        changing = not self._options.dry_run
        if decision.told:
            self._results.set_attributes(entry)
        if entry.kind == wire.DIRECTORY and place and changing:
            self._placing.keep_directory(entry, place)
        if entry.kind != wire.DIRECTORY and decision.attributes and changing:
            self._placing.set_attributes(entry, place, mode_of(entry, self._options), entry.mtime)
        if entry.kind == wire.REGULAR:
            self._results.skip(entry, counted=True)

    def _want(self, file: ArrivingFile, action: Action) -> None:
        file.action = action
        self._results.hold(file)
        entry = file.entry
        if self._options.dry_run and action is not Action.COMPARE:
            self._results.finish(file, max(0, entry.size), bytes(wire.DIGEST))
        elif action is Action.WANT_ALL:
            file.stage = Stage.WANTED
            self._results.writer.write(wire.Want(entry.number, wire.NOTHING, 1))
        else:
            if self._preparer is None:
                directories = self._destination.open_directories()
                assert directories is not None
                self._preparer = Preparer(
                    self._options, directories, self._results.writer, self._contents.lose_unprepared
                )
            self._preparer.put(file)

    def _make(self, entry: wire.Entry, place: tuple[bytes, ...], *, replaced: bool) -> None:
        if entry.kind == wire.HARDLINK:
            if int(entry.target) >= entry.number:
                raise wire.WireError(f"entry {entry.number} is another name of entry {int(entry.target)}")
            if not self._results.add_name(entry):
                self._make_name(entry, place)
            return
        if not self._options.dry_run:
            if entry.kind == wire.DIRECTORY:
                touched = self._placing.make_directory(entry, place, replaced=replaced)
            else:
                touched = self._placing.make_symlink(entry, place)
            self._contents.committer.touch(touched)
        self._results.make(entry, replaced=replaced)

    def _make_names(self) -> None:
        """Make the further names of files that have their answer."""
        ready = self._results.ready
        while ready:
            entry, there = ready.popleft()
            try:
                if not there:
                    raise OSError(errno.ENOENT, "the file of which this is another name was not transferred")
                self._make_name(entry, self._destination.placed(check_path(entry.path)))
            except OSError as error:
                self._results.fail(entry, error)

    def _make_name(self, entry: wire.Entry, place: tuple[bytes, ...]) -> None:
        """Make another name of a file that is in place. Raises OSError."""
        if self._options.dry_run:
            with contextlib.suppress(OSError):  # what would be made is not there
                target = self._results.place_of(int(entry.target))
                if target is None or self._placing.is_hardlink(target, place):
                    return
        else:
            target = self._results.place_of(int(entry.target))
            touched = self._placing.make_hardlink(target, place) if target is not None else None
            if touched is None:
                return
            self._contents.committer.touch(touched)
        self._results.make(entry, replaced=False)

    # The end

    def _listed(self, frame: wire.Listed) -> None:
        if frame.number >= self._entries:
            raise wire.WireError(f"entry {frame.number} is listed, and was not sent")
        if self._listings is not None and self._directories is not None:
            try:
                self._listings.finish(frame.number, bool(frame.complete), self._directories)
            except OSError as error:
                # With dry_run it was not made, and otherwise that has failed: there is nothing to delete in it.
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    self._results.trouble(self._destination.path, error)

    def _walked_all(self, frame: wire.Walked) -> None:
        if self._walked is not None or frame.entries != self._entries:
            raise wire.WireError(f"{frame.entries} entries were walked, and {self._entries} sent")
        self._walked = frame
        if self._sink is not None and self._entries:
            self._fill_sink()
        self._report(events.FoundAll(frame.entries, frame.size))

    def _finish(self) -> None:
        if self._results.files or self._walked is None:
            raise wire.WireError("a Finish before the end")
        committer = self._contents.committer
        committer.drain()
        self._make_names()
        committer.drain()
        if self._candidates is not None:
            self._delete(self._candidates, self._walked)
        if not self._options.dry_run:
            self._placing.finish(self._results.trouble)
        self._results.summarize()

    def _delete(self, candidates: Spill, walked: wire.Walked) -> None:
        results = self._results
        if not may_delete(self._options, bool(walked.complete), results.totals.failed):
            sentence = "nothing was deleted, because not everything could be transferred"
            results.trouble(self._destination.path, OSError(0, sentence))
            for moved in self._placing.moved.all():
                sentence = f"the directory that was here is now {os.fsdecode(moved.now[-1])}, and was not deleted"
                results.trouble(results.shown(b"/".join(moved.before)), OSError(0, sentence))
            return
        assert self._directories is not None
        for moved in self._placing.moved.all():
            candidates.append(b"m" + b"/".join(moved.now) + b"\0" + b"/".join(moved.before))
        deleter = Deleter(
            self._selection,
            self._directories,
            results.delete,
            lambda path, error: results.trouble(results.shown(path), error),
            dry_run=self._options.dry_run,
        )
        deleter.run(candidates)

    def _close(self) -> None:
        """Put in place what is complete, keep what is of use to another attempt, and close everything."""
        self._results.silent = True
        if self._preparer is not None:
            self._preparer.close()
        self._contents.close()
        self._placing.close()
        self._durability.close()
        self._destination.close()
        for spill in self._spills:
            spill.close()
