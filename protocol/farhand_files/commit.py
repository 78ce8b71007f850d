"""Makes received files durable, and puts them in place.

A thread takes what was received meanwhile as one batch: it syncs their content, renames them, and syncs their
directories; so that many small files need few syncs, and while the disk is busy the next ones arrive. What was in
place stays until the content of what replaces it is durable, and nothing is reported before its name is.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from .durability import Durability
from .opening import Directory
from .temporary import Temporary

MAX_HANDED: Final = 64
"""Files that are handed to the thread at once: a wake-up costs each of them a microsecond."""

MAX_BATCHES: Final = 2
"""Times `MAX_HANDED` that may wait for the thread, and are one batch then: a sync of some milliseconds costs each file
some 30 µs. With those that are being put in place, up to 320 files hold two descriptors each; a process has 1,024."""


class Received(NamedTuple):
    """A file whose content is complete and verified. `number` is that of its entry. With `in_place` it has its name
    already."""

    number: int
    file: Temporary
    in_place: bool
    size: int
    blake3: bytes
    sha256: bytes


class Committer:
    """Puts files in place, in a thread of its own, from which it calls `done` or `failed` for each."""

    def __init__(
        self,
        durability: Durability,
        sync: bool,
        done: Callable[[list[Received]], None],
        failed: Callable[[Received, OSError], None],
    ) -> None:
        """Without `sync` nothing is made durable. `done` is called with what is in place, some files at a time."""
        self._durability = durability
        self._sync = sync
        self._done = done
        self._failed = failed
        self._next: list[Received | Directory] = []
        self._queue: queue.Queue[list[Received | Directory] | None] = queue.Queue(MAX_BATCHES)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def put(self, received: Received) -> None:
        """A file is to be put in place, at the next `hand_over`. Waits if too many are. Raises what the thread has
        failed with."""
        self._add(received)

    def touch(self, directory: Directory) -> None:
        """A name in a directory was made, and is to be durable. The same as above."""
        if self._sync:
            self._add(directory)

    def hand_over(self) -> None:
        """Let the thread begin. Call it before waiting for anything. The same as above."""
        if self._error is not None:
            raise self._error
        if self._next:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="farhand-commit", daemon=True)
                self._thread.start()
            handed, self._next = self._next, []
            self._queue.put(handed)

    def drain(self) -> None:
        """Wait until everything is in place. The same as above."""
        self.hand_over()
        self._queue.join()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Put in place what is complete, and end the thread. May be called twice."""
        if self._error is None:
            self.hand_over()
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def _add(self, item: Received | Directory) -> None:
        self._next.append(item)
        if len(self._next) >= MAX_HANDED:
            self.hand_over()

    def _work(self) -> None:
        while True:
            handed = self._queue.get()
            taken, count = [], 0
            while handed is not None:
                taken += handed
                count += 1
                if count == MAX_BATCHES or self._queue.empty():
                    break
                handed = self._queue.get()
            if taken:
                try:
                    self._commit(
                        [each for each in taken if isinstance(each, Received)],
                        {each.fd: each for each in taken if isinstance(each, Directory)},
                    )
                except BaseException as error:  # noqa: BLE001 - raised where the next one is put
                    self._error = error
            for _ in range(count):
                self._queue.task_done()
            if handed is None:
                return

    def _commit(self, batch: list[Received], directories: dict[int, Directory]) -> None:
        by_file = {id(each.file): each for each in batch}

        def lose(received: Received, error: OSError) -> None:
            if by_file.pop(id(received.file), None) is not None:
                if not received.in_place:
                    received.file.remove()
                received.file.close()
                self._failed(received, error)

        if self._sync:
            files = [each.file for each in batch]
            self._durability.sync_files(files, lambda file, error: lose(by_file[id(file)], error))
        for each in list(by_file.values()):
            if not each.in_place:
                try:
                    each.file.replace_target()
                except OSError as error:
                    lose(each, error)
                    continue
            each.file.close()  # only now: until it is renamed, its lock keeps others from taking it as left
            directories[each.file.directory.fd] = each.file.directory
        if self._sync:
            self._durability.sync_directories(
                directories.values(), lambda directory, error: self._lose_all(by_file, directory, error)
            )
        if by_file:
            self._done(list(by_file.values()))

    def _lose_all(self, by_file: dict[int, Received], directory: Directory, error: OSError) -> None:
        """The names in a directory may not be durable: nobody must rely on them."""
        for each in [each for each in by_file.values() if each.file.directory is directory]:
            del by_file[id(each.file)]
            self._failed(each, error)
