"""Stdin of a program without a terminal. It is addressed by offset, and written to a pipe as fast as the program
reads."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable
from typing import Final

from farhand_protocol.limits import KiB, MiB

from ..attachments.attachments import Attachment, Attachments
from ..output.spool import SpoolMemory
from ..snapshots import Blob, Descriptor, Get, Put, SnapshotRecord
from .pipes import STDIN_PIPE_SIZE, enlarge_pipe

MAX_STDIN_AHEAD: Final = 4 * MiB
"""Number of bytes not read by the program, beyond which no other attachment may continue. It equals what an attachment
may send without credit, so that a client can continue where its predecessor was accepted, but one that attaches again
and again cannot fill the memory."""


MIN_STDIN: Final = 64 * KiB
"""Bytes of stdin that each run may have waiting even if the memory is used up: the capacity of another pipe (pipe(7)),
so that its program always has something to read."""

STDIN_CHUNK: Final = 64 * KiB
"""Size in bytes up to which frames in the queue are joined: a frame of one byte must not cost 300 bytes of memory."""


class StdinSnapshot(SnapshotRecord):
    """The state of a `PipeInput` and its `PipeWriter`, or of a `TerminalInput`, which uses only some fields."""

    received: int
    taken: int
    pipe: Descriptor | None
    queue: Blob
    ending: bool
    closed: bool


class PipeWriter:
    """Writes to a program's stdin. `taken` is called with the number of bytes that were written to the pipe or
    dropped. What waits counts in `memory`."""

    def __init__(self, taken: Callable[[int], None], memory: SpoolMemory) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = -1
        self._taken = taken
        self._memory = memory
        self._queue: deque[bytes | bytearray] = deque()
        self._written = 0
        """Bytes of the first chunk that are in the pipe already."""
        self.queued = 0
        """Bytes that wait for the program."""
        self._enlarged = False
        self._closed = False
        self._ending = False
        self._waiting = False

    def snapshot(self, put: Put, *, received: int, taken: int) -> StdinSnapshot:
        """Return the state for `restore`, including the owner's offsets."""
        chunks = [bytes(chunk) for chunk in self._queue]
        if chunks:
            chunks[0] = chunks[0][self._written :]
        return StdinSnapshot(
            received=received,
            taken=taken,
            pipe=self._fd if self._fd >= 0 else None,
            queue=put(chunks),
            ending=self._ending,
            closed=self._closed,
        )

    def restore(self, snapshot: StdinSnapshot, get: Get) -> None:
        """Continue from a snapshot. Call this only on a new object. Raises OSError."""
        self._closed, self._ending = snapshot.closed, snapshot.ending
        queued = get(snapshot.queue)
        for at in range(0, len(queued), STDIN_CHUNK):
            self._append(queued[at : at + STDIN_CHUNK])
        if snapshot.pipe is not None:
            self.connect(snapshot.pipe)

    def connect(self, fd: int) -> None:
        """Start writing to `fd`, and take ownership of it. Data queued earlier is written first."""
        os.set_blocking(fd, False)
        self._fd = fd
        self._writable()

    def write(self, data: bytes) -> None:
        """Queue `data`. The credit that `taken` returns bounds the queue. After `close`, data is dropped."""
        if self._closed:
            self._taken(len(data))
            return
        if self._fd >= 0 and not self._queue:
            # What the pipe has room for need not be copied into the queue.
            try:
                count = os.write(self._fd, data)
            except OSError:
                count = 0  # `_writable` deals with it
            if count == len(data):
                self._taken(count)
                return
            self._enlarge()
            self._written = count
            self._queue.append(data)
            self.queued += len(data)
            self._memory.take(len(data))
            if count:
                self._took(count)
        else:
            self._append(data)
        if self._fd >= 0 and not self._waiting:
            self._writable()

    def end(self) -> None:
        """Close the pipe once everything has been written."""
        self._ending = True
        if self._fd >= 0 and not self._queue:
            self.close()

    def close(self) -> None:
        """Close the pipe now, and drop data that has not been written."""
        self._closed = True
        if self._fd >= 0:
            self._stop_waiting()
            os.close(self._fd)
            self._fd = -1
        self._queue.clear()
        self._written = 0
        if self.queued:
            self._took(self.queued)

    def _append(self, data: bytes) -> None:
        last = self._queue[-1] if self._queue else b""
        if isinstance(last, bytearray) and len(last) + len(data) <= STDIN_CHUNK:
            last += data
        else:
            self._queue.append(data if len(data) > STDIN_CHUNK // 4 else bytearray(data))
        self.queued += len(data)
        self._memory.take(len(data))

    def _took(self, count: int) -> None:
        self.queued -= count
        self._memory.take(-count)
        self._taken(count)

    def _writable(self) -> None:
        while self._queue:
            head = self._queue[0]
            try:
                with memoryview(head) as whole:
                    count = os.write(self._fd, whole[self._written :])
            except (BlockingIOError, InterruptedError):
                self._wait()
                return
            except OSError as error:
                if error.errno != errno.EPIPE:
                    raise
                self.close()
                return
            self._written += count
            if self._written == len(head):
                self._queue.popleft()
                self._written = 0
            self._took(count)
        self._stop_waiting()
        if self._ending:
            self.close()

    def _enlarge(self) -> None:
        if not self._enlarged:
            self._enlarged = True
            enlarge_pipe(self._fd, STDIN_PIPE_SIZE)

    def _wait(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._loop.add_writer(self._fd, self._writable)

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting = False
            self._loop.remove_writer(self._fd)


class PipeInput:
    """Passes stdin from the attachment that feeds the run to the pipe.

    `received` and `taken` are offsets: how much the service has received, and how much the program has read.
    """

    def __init__(
        self, attachments: Attachments, memory: SpoolMemory, record: Callable[[bytes], None] | None = None
    ) -> None:
        self.received = 0
        self.taken = 0
        self.pipe = PipeWriter(self._taken, memory)
        self._memory = memory
        self._attachments = attachments
        self._record = record

    def snapshot(self, put: Put) -> StdinSnapshot:
        """Return the state for `restore`."""
        return self.pipe.snapshot(put, received=self.received, taken=self.taken)

    def restore(self, snapshot: StdinSnapshot, get: Get) -> None:
        """Continue from a snapshot. Call this only on a new object. Raises OSError."""
        self.received, self.taken = snapshot.received, snapshot.taken
        self.pipe.restore(snapshot, get)

    @property
    def full(self) -> bool:
        """Whether nothing more should be received until the program has read some of what waits, because the account's
        part of the memory is used up."""
        return self.pipe.queued >= MIN_STDIN and self._memory.used_up

    def refusal(self, key: bytes | None, offset: int) -> str | None:
        """Return why stdin cannot begin at `offset` now, as the predicate of a sentence; None if it can."""
        if offset <= min(self.received, self.taken + MAX_STDIN_AHEAD):
            return None
        return f"has {self.received} bytes, of which its program has read {self.taken}; it cannot continue at {offset}"

    def write(self, attachment: Attachment, data: bytes) -> None:
        """Pass the new part of `data` to the program. `data` follows the bytes that `attachment` has sent before."""
        position = attachment.stdin_at + attachment.stdin_received
        attachment.stdin_received += len(data)
        new = data[max(0, self.received - position) :] if attachment.feeds else b""
        if new:
            self.received += len(new)
            if self._record is not None:
                self._record(new)
            self.pipe.write(new)
        if len(new) < len(data) and attachment.watcher is not None:
            attachment.watcher.stdin_taken()

    def end(self, attachment: Attachment) -> None:
        """Close the program's stdin once everything has been written."""
        if attachment.feeds:
            self.pipe.end()

    def close(self) -> None:
        """Close the program's stdin now, and drop what it has not read."""
        self.pipe.close()

    def credit(self, attachment: Attachment) -> int:
        """Return how many of the bytes sent by `attachment` the program has read or the service has dropped."""
        if not attachment.feeds:
            return attachment.stdin_received
        return min(max(0, self.taken - attachment.stdin_at), attachment.stdin_received)

    def _taken(self, count: int) -> None:
        self.taken += count
        feeder = self._attachments.feeder
        if feeder is not None and feeder.watcher is not None:
            feeder.watcher.stdin_taken()
