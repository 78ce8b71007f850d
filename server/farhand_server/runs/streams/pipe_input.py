"""A run's stdin: offset-addressed, so that what a client sends twice after a cut arrives once."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable
from typing import Final

from farhand_protocol.limits import MiB

from ..attachments.attachments import Attachment, Attachments

MAX_STDIN_AHEAD: Final = 4 * MiB
"""Bytes that the program has not taken, behind which another attachment may go on. As many as one may send without
credit: whoever goes on where the one before it was let in can, who attaches again and again fills no memory."""


class PipeWriter:
    """Feeds a program's stdin; `taken` is told how many bytes the program's pipe has accepted."""

    def __init__(self, taken: Callable[[int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = -1
        self._taken = taken
        self._queue: deque[memoryview] = deque()
        self._closed = False
        self._ending = False
        self._waiting = False

    def connect(self, fd: int) -> None:
        """Begin writing to `fd`, which is closed here; what was queued before goes first."""
        os.set_blocking(fd, False)
        self._fd = fd
        self._writable()

    def write(self, data: bytes) -> None:
        """Queue `data`; bounded by the credit that `taken` gives back. A program that reads no more drops it."""
        if self._closed:
            self._taken(len(data))
            return
        self._queue.append(memoryview(data))
        if self._fd >= 0 and not self._waiting:
            self._writable()

    def end(self) -> None:
        """Close the pipe once all is written."""
        self._ending = True
        if self._fd >= 0 and not self._queue:
            self.close()

    def close(self) -> None:
        """Close the pipe now; what was not written is dropped."""
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
    """Between the attachment that feeds the run and the pipe. `received` and `taken` are offsets: what the service has,
    and what the program has taken."""

    def __init__(self, attachments: Attachments, record: Callable[[bytes], None] | None = None) -> None:
        self.received = 0
        self.taken = 0
        self.pipe = PipeWriter(self._taken)
        self._attachments = attachments
        self._record = record

    def refusal(self, key: bytes | None, offset: int) -> str | None:
        """Return why stdin cannot begin at `offset` now, as the end of a sentence; None where it can."""
        if offset <= min(self.received, self.taken + MAX_STDIN_AHEAD):
            return None
        return (
            f"has {self.received} bytes, of which its program has taken {self.taken}; it cannot go on at {offset} now"
        )

    def write(self, attachment: Attachment, data: bytes) -> None:
        """Give the program `data`, which follow what `attachment` gave before, as far as they are new."""
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
        """Close the program's stdin behind what was written."""
        if attachment.feeds:
            self.pipe.end()

    def credit(self, attachment: Attachment) -> int:
        """Return how many of the bytes that came from `attachment` are done with."""
        if not attachment.feeds:
            return attachment.stdin_received
        return min(max(0, self.taken - attachment.stdin_at), attachment.stdin_received)

    def _taken(self, count: int) -> None:
        self.taken += count
        feeder = self._attachments.feeder
        if feeder is not None and feeder.watcher is not None:
            feeder.watcher.stdin_taken()
