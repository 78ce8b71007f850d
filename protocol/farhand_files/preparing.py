"""Finds out what the receiver has already of a file that it wants, and requests the rest.

That takes as long as reading it, so a thread does it while other files are received. Few files are prepared ahead: each
holds open what was read.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Final

from blake3 import blake3

from . import delta, wire
from .arriving import IN_PLACE_FLAGS, ArrivingFile, Stage
from .opening import Directory, OpenDirectories
from .options import TransferOptions
from .planning import WANTED, Action
from .stream import FrameWriter
from .temporary import Leftovers, Temporary
from .writing import Basis

MAX_PREPARED: Final = 8
"""Files that are prepared ahead: enough to keep the sender busy, and two descriptors each."""


class Preparer:
    """Requests files of which there is something, in a thread of its own. `failed` is called there for those that
    cannot be opened in place."""

    def __init__(
        self,
        options: TransferOptions,
        directories: OpenDirectories,
        writer: FrameWriter,
        failed: Callable[[ArrivingFile, OSError], None],
    ) -> None:
        self._options = options
        self._directories = directories
        self._writer = writer
        self._failed = failed
        self._queue: queue.SimpleQueue[ArrivingFile | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(MAX_PREPARED)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="farhand-prepare", daemon=True)
        self._thread.start()

    def put(self, file: ArrivingFile) -> None:
        """Prepare and request this file. There are at most `wire.MAX_UNANSWERED`."""
        self._queue.put(file)

    def close(self) -> None:
        """End the thread. May be called twice."""
        self._over.set()
        self._queue.put(None)
        self._free.release()
        self._thread.join()

    def _work(self) -> None:
        while True:
            file = self._queue.get()
            self._free.acquire()
            if file is None or self._over.is_set():
                return
            file.prepared = True
            file.slot = self._free
            with contextlib.suppress(OSError):  # of the stream: the thread that reads will find out
                try:
                    self._prepare(file)
                except OSError as error:
                    self._failed(file, error)

    def _prepare(self, file: ArrivingFile) -> None:
        directory = self._directories.get(file.place[:-1])
        basis = WANTED[file.action]
        try:
            chunks = self._open(file, directory, file.place[-1])
        except OSError:
            if self._options.in_place and file.action is not Action.COMPARE:
                raise
            file.release()
            chunks = None  # what was there cannot be read: all is requested
        have: list[tuple[int, bytes]] = []
        if chunks is None:
            basis = wire.NOTHING
        else:
            for chunk in chunks:
                if self._over.is_set():
                    return
                if len(have) == wire.MAX_DIGESTS:
                    self._writer.write(wire.Want(file.entry.number, basis, 0, wire.pack_chunks(have)), flush=True)
                    have = []
                have.append(chunk)
        file.stage = Stage.WANTED
        self._writer.write(wire.Want(file.entry.number, basis, 1, wire.pack_chunks(have)), flush=True)

    def _open(self, file: ArrivingFile, directory: Directory, name: bytes) -> Iterator[tuple[int, bytes]] | None:
        """Open what there is, and return its chunks; None if it has gone."""
        size = file.entry.size
        if file.action is Action.WANT_REST:
            file.temporary = Leftovers(directory).take(name)
            return _fixed_chunks(file.temporary.fd, size) if file.temporary is not None else None
        if self._options.in_place and file.action is not Action.COMPARE:
            fd = os.open(name, IN_PLACE_FLAGS, dir_fd=directory.fd)
            file.temporary = Temporary(directory, name, name, fd)
            return _fixed_chunks(fd, size)
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory.fd)
        file.basis.append(Basis(fd, os.fstat(fd).st_size))
        if file.action in (Action.WANT_CHANGED, Action.COMPARE):
            return _fixed_chunks(fd, size)
        file.spent = Leftovers(directory).take(name) if file.left else None  # it reads the whole directory
        if file.spent is not None:
            file.basis.append(Basis(file.spent.fd, os.fstat(file.spent.fd).st_size))
        return _cut_chunks(file.basis, size)


def _fixed_chunks(fd: int, size: int) -> Iterator[tuple[int, bytes]]:
    buffer = memoryview(bytearray(wire.CHUNK))
    offset = 0
    while offset < size:
        got = os.preadv(fd, [buffer[: min(wire.CHUNK, size - offset)]], offset)
        if got <= 0:
            return
        yield got, blake3(buffer[:got]).digest()
        offset += got
        if got < wire.CHUNK:
            return


def _cut_chunks(basis: list[Basis], announced: int) -> Iterator[tuple[int, bytes]]:
    for each in basis:
        for chunk in delta.chunks_of(delta.DescriptorSource(each.fd), each.size, announced):
            yield chunk.length, chunk.digest
