"""The content of the files that are wanted: which frames are due, and what becomes of a file."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from . import events, wire
from .arriving import ArrivingFile, Stage
from .commit import Committer, Received
from .durability import Durability
from .options import TransferOptions
from .placing import Placing
from .planning import Action, mode_of
from .results import Results, text_of
from .writing import ArrivingContent

MAX_RECEIVING: Final = 16
"""Files whose content may arrive at the same time, with up to three descriptors each."""

MOVED_INTERVAL_RECEIVED: Final = 0.05
"""Seconds between two `events.Moved`: 20 a second look smooth."""


class Sink(NamedTuple):
    """The destination of one file's content: a descriptor, such as stdout, which is not closed."""

    fd: int


class Contents:
    """Takes the frames about content, in one thread."""

    def __init__(
        self,
        options: TransferOptions,
        results: Results,
        placing: Placing,
        durability: Durability,
        sink: Sink | None,
        cancelled: Callable[[], bool],
    ) -> None:
        self._options = options
        self._results = results
        self._placing = placing
        self._sink = sink
        self._cancelled = cancelled
        self._in_place = options.in_place and sink is None and not options.dry_run
        self._comparing = options.dry_run
        self._void: set[int] = set()
        self._receiving = 0
        self.committer = Committer(durability, options.sync, self._done, self._not_committed)
        self.takers: dict[type[wire.Frame], Callable[[Any], None]] = {
            wire.Data: self._data,
            wire.FileEnd: self._end,
            wire.Hole: self._hole,
            wire.Copy: self._copy,
            wire.Restart: self._restart,
            wire.Abort: self._abort,
        }

    def lose_unprepared(self, file: ArrivingFile, error: OSError) -> None:
        """A file could not be opened in place. For the thread that prepares."""
        self._let_go(file)
        self._results.fail(file.entry, error)
        self._results.flush()

    def close(self) -> None:
        """Put in place what is complete, and keep what is of use to another attempt."""
        self.committer.close()
        for file in self._results.files.values():
            self._let_go(file, keep=True)
        self._results.files.clear()

    def _due(self, number: int) -> ArrivingFile | None:
        """Return the file whose content has come; None if it has failed. Raises `wire.WireError`: none is due."""
        file = self._results.files.get(number)
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
        try:
            self._begin(file)
        except OSError as error:
            self._lose(file, error)
            return None
        return file

    def _begin(self, file: ArrivingFile) -> None:
        existing = 0
        if file.temporary is not None and not self._in_place:
            existing = os.fstat(file.temporary.fd).st_size
        elif self._in_place:
            if file.temporary is not None:
                file.temporary.close()
            file.temporary, existing = self._placing.open_in_place(file.place, file.entry)
        size = file.entry.size
        known = 0
        if file.prepared:
            known = sum(each.size for each in file.basis) or existing
        self._results.report(events.Begun(file.entry.path, size, min(known, max(0, size))))
        file.content = ArrivingContent(
            lambda: self._make(file),
            existing=existing,
            basis=file.basis,
            moving=file.action is Action.WANT_DELTA,
            in_order=self._sink is not None,
            sha256=self._options.sha256,
            max_size=self._options.max_size,
            cancelled=self._cancelled,
        )

    def _make(self, file: ArrivingFile) -> int:
        if self._sink is not None:
            return self._sink.fd
        if file.temporary is None:
            file.temporary = self._placing.make_file(file.place, file.entry)
        return file.temporary.fd

    def _data(self, frame: wire.Data) -> None:
        file = self._due(frame.number)
        if self._comparing:
            self._note_difference(file)
        elif file is not None:
            try:
                file.arriving().add_data(frame.offset, frame.data)
            except OSError as error:
                self._lose(file, error)
            else:
                self._moved(file)

    def _hole(self, frame: wire.Hole) -> None:
        file = self._due(frame.number)
        if self._comparing:
            self._note_difference(file)
        elif file is not None:
            try:
                file.arriving().add_hole(frame.offset, frame.length)
            except OSError as error:
                self._lose(file, error)
            else:
                self._moved(file)

    def _copy(self, frame: wire.Copy) -> None:
        file = self._due(frame.number)
        if self._comparing and file is not None and (file.differs or frame.offset != file.arriving().at):
            self._note_difference(file)
        elif file is not None:
            try:
                file.arriving().add_copy(frame.offset, frame.length, frame.source)
            except OSError as error:
                self._lose(file, error)
            else:
                self._moved(file)

    def _restart(self, frame: wire.Restart) -> None:
        file = self._due(frame.number)
        if self._comparing:
            self._note_difference(file)
        elif file is not None:
            try:
                file.arriving().restart()
                file.release()
            except OSError as error:
                self._lose(file, error)

    def _note_difference(self, file: ArrivingFile | None) -> None:
        """With `dry_run`: content has come that is not what is there."""
        if file is not None:
            file.differs = True

    def _moved(self, file: ArrivingFile) -> None:
        now = time.monotonic()
        if now - file.begun >= MOVED_INTERVAL_RECEIVED:
            if file.begun:
                content = file.arriving()
                self._results.report(events.Moved(file.entry.path, content.at, content.sent))
            file.begun = now

    def _end(self, frame: wire.FileEnd) -> None:
        file = self._due(frame.number)
        if file is None:
            self._void.discard(frame.number)
            return
        content = file.arriving()
        if self._comparing:
            self._compared(file, content, frame)
            return
        try:
            self._complete(file, content, frame)
        except OSError as error:
            self._lose(file, error, over=True)
            return
        self._receiving -= 1
        file.stage = Stage.COMPLETE
        temporary = file.temporary
        if self._in_place and temporary is not None and content.retained:
            temporary.close()
            temporary = file.temporary = None
        if temporary is None and self._sink is None:
            self._results.match(file)
            return
        if temporary is None:
            self._results.finish(file, frame.size, frame.blake3, frame.sha256)
            return
        readable = mode_of(file.entry._replace(mode=frame.mode), self._options) & 0o400
        if frame.size < wire.CHUNK and readable and not self._in_place:
            temporary.close()
        file.release()
        if self._options.delete:
            temporary.let_replace(self._placing.moved, file.place)
        self.committer.put(Received(frame.number, temporary, self._in_place, frame.size, frame.blake3, frame.sha256))

    def _compared(self, file: ArrivingFile, content: ArrivingContent, frame: wire.FileEnd) -> None:
        """With `dry_run`: all is known that is needed to tell whether a file is up to date."""
        self._receiving -= 1
        file.stage = Stage.COMPLETE
        same = content.at == frame.size and content.hashes.blake3() == frame.blake3
        if same and not file.differs:
            self._results.match(file)
        else:
            self._results.finish(file, frame.size, frame.blake3)

    def _complete(self, file: ArrivingFile, content: ArrivingContent, frame: wire.FileEnd) -> None:
        """Give a file its size and attributes, if it is what was sent. Raises OSError, `wire.WireError`."""
        device = self._in_place and file.temporary is not None and not self._placing.is_regular(file.temporary.fd)
        content.end(frame.size, resize=not device)
        if content.hashes.blake3() != frame.blake3 or content.hashes.sha256() != frame.sha256:
            sentence = "what has arrived is not what was sent: the digests differ"
            if self._in_place:
                sentence += "; it was written in place, and is damaged"
            raise OSError(errno.EBADMSG, sentence)
        if file.temporary is not None:
            self._placing.set_for_file(file.temporary.fd, file.entry, frame)
        elif self._sink is None:
            mode = mode_of(file.entry._replace(mode=frame.mode), self._options)
            self._placing.set_attributes(file.entry, file.place, mode, frame.mtime)

    def _abort(self, frame: wire.Abort) -> None:
        if frame.number in self._void:
            self._void.discard(frame.number)
            return
        file = self._results.files.get(frame.number)
        if file is None or file.stage not in (Stage.WANTED, Stage.RECEIVING):
            raise wire.WireError(f"an Abort of entry {frame.number}, which is not wanted")
        if file.stage is Stage.RECEIVING:
            self._receiving -= 1
        self._let_go(file, keep=True)
        self._results.fail(file.entry, OSError(frame.errno, text_of(frame.sentence)), remote=True)

    def _lose(self, file: ArrivingFile, error: OSError, *, over: bool = False) -> None:
        """A file cannot be written. What still comes of it is void, unless its end has come."""
        self._receiving -= 1
        if not over:
            self._void.add(file.entry.number)
        self._let_go(file)
        self._results.fail(file.entry, error)

    def _let_go(self, file: ArrivingFile, *, keep: bool = False) -> None:
        """Close what is open for a file. `keep` what could be of use to another attempt."""
        file.discard(in_place=self._in_place, keep=keep)

    # What the thread that commits calls

    def _done(self, batch: list[Received]) -> None:
        for each in batch:
            self._results.finish(self._results.files[each.number], each.size, each.blake3, each.sha256)
        self._results.flush()

    def _not_committed(self, received: Received, error: OSError) -> None:
        file = self._results.files[received.number]
        file.temporary = None
        self._let_go(file)
        self._results.fail(file.entry, error)
        self._results.flush()
