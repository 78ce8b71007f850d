"""Stdin of a program without a terminal. It is addressed by offset, and written to a pipe as fast as the program
reads."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable
from typing import Final

from farhand_protocol.limits import MiB

from ..attachments.attachments import Attachment, Attachments
from ..snapshots import Blob, Descriptor, Get, Put, SnapshotRecord

MAX_STDIN_AHEAD: Final = 4 * MiB
"""Number of bytes not read by the program, beyond which no other attachment may continue. It equals what an attachment
may send without credit, so that a client can continue where its predecessor was accepted, but one that attaches again
and again cannot fill the memory."""


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
    dropped."""

    def __init__(self, taken: Callable[[int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = -1
        self._taken = taken
        self._queue: deque[memoryview] = deque()
        self._closed = False
        self._ending = False
        self._waiting = False

    def snapshot(self, put: Put, *, received: int, taken: int) -> StdinSnapshot:
        """Return the state for `restore`, including the owner's offsets."""
        return StdinSnapshot(
            received=received,
            taken=taken,
            pipe=self._fd if self._fd >= 0 else None,
            queue=put([bytes(chunk) for chunk in self._queue]),
            ending=self._ending,
            closed=self._closed,
        )

    def restore(self, snapshot: StdinSnapshot, get: Get) -> None:
        """Continue from a snapshot. Call this only on a new object. Raises OSError."""
        self._closed, self._ending = snapshot.closed, snapshot.ending
        queued = get(snapshot.queue)
        self._queue = deque([memoryview(queued)] if queued else ())
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
        self._queue.append(memoryview(data))
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
        dropped = sum(map(len, self._queue))
        self._queue.clear()
        if dropped:
            self._taken(dropped)

    def _writable(self) -> None:
        while self._queue:
            head = self._queue[0]
            try:
                count = os.write(self._fd, head)
            except (BlockingIOError, InterruptedError):
                self._wait()
                return
            except OSError as error:
                if error.errno != errno.EPIPE:
                    raise
                self.close()
                return
            if count == len(head):
                self._queue.popleft()
            else:
                self._queue[0] = head[count:]
            self._taken(count)
        self._stop_waiting()
        if self._ending:
            self.close()

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

    def __init__(self, attachments: Attachments, record: Callable[[bytes], None] | None = None) -> None:
        self.received = 0
        self.taken = 0
        self.pipe = PipeWriter(self._taken)
        self._attachments = attachments
        self._record = record

    def snapshot(self, put: Put) -> StdinSnapshot:
        """Return the state for `restore`."""
        return self.pipe.snapshot(put, received=self.received, taken=self.taken)

    def restore(self, snapshot: StdinSnapshot, get: Get) -> None:
        """Continue from a snapshot. Call this only on a new object. Raises OSError."""
        self.received, self.taken = snapshot.received, snapshot.taken
        self.pipe.restore(snapshot, get)

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
