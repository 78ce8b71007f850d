"""What is typed at a run's terminal: in the order in which it comes from all who type, from each of them once."""

from __future__ import annotations

import asyncio
import os
import re
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from ..attachments.attachments import MAX_ATTACHMENTS, Attachment, Attachments
from ..attachments.terminal import MAX_TYPING
from .pipe_input import MAX_STDIN_AHEAD
from .pty import PseudoTerminal

MAX_QUEUED_INPUT: Final = MAX_TYPING * MAX_STDIN_AHEAD
"""Bytes that the program has not taken, behind which nobody comes back to type: as many as those who may type at once
can send. Behind `MAX_STDIN_AHEAD` nobody else begins."""

_MERGE_SIZE: Final = 4096
"""Bytes that one piece in the queue has at the least, where more wait behind it: each costs some 300 of memory, and
keys may come in a frame each."""

_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
"""Where none of these is typed, none of the keys is looked for that make signals."""

_LINE_ENDS: Final = b"\r\n"


class _Typist:
    """Who types or has typed, known by the key of the attachment. `received` counts what has come, and `taken` what is
    done with of it; `ended` is whether the end was said, which may come twice as well."""

    __slots__ = ("ended", "key", "received", "taken")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.received = 0
        self.taken = 0
        self.ended = False


class TerminalInput:
    """A run's stdin where that is a terminal; it takes the place of a `PipeInput`.

    Each attachment has offsets of its own, which are remembered for as many keys as there may be attachments: what a
    client sends again after its line was cut is not typed again.
    """

    def __init__(self, attachments: Attachments, record: Callable[[bytes], None] | None = None) -> None:
        self.received = 0
        """Bytes that have come, from all."""
        self._attachments = attachments
        self._record = record
        self._typists: OrderedDict[bytes, _Typist] = OrderedDict()
        self._terminal: PseudoTerminal | None = None
        self._queue: deque[tuple[_Typist | None, memoryview | None]] = deque()
        """What the terminal has not taken, and who has typed it. Without bytes it is the end of somebody's input; bytes
        without a typist are the service's own."""
        self._queued = 0
        self._in_line = False
        """Whether something was typed behind the last end of a line."""
        self._closed = False
        self._waiting = False

    # Who types

    def refusal(self, key: bytes | None, offset: int) -> str | None:
        """Return why an attachment cannot begin to type at `offset`, as the end of a sentence; None where it can."""
        typist = self._typists.get(key) if key is not None else None
        received = 0 if typist is None else typist.received
        if offset > received:
            return f"has had {received} bytes from this attachment; it cannot go on at {offset}"
        if typist is None and self._queued > MAX_STDIN_AHEAD:
            return f"has {self._queued} bytes that its program has not taken; nobody else can begin to type now"
        if typist is not None and (offset > typist.taken + MAX_STDIN_AHEAD or self._queued > MAX_QUEUED_INPUT):
            return f"has {self._queued} bytes that its program has not taken; it cannot go on at {offset} now"
        return None

    # What they type

    def write(self, attachment: Attachment, data: bytes) -> None:
        """Type `data`, which follow what `attachment` gave before, as far as they are new."""
        position = attachment.stdin_at + attachment.stdin_received
        attachment.stdin_received += len(data)
        new = b""
        if attachment.feeds:
            typist = self._typist(attachment.key)
            new = data[max(0, typist.received - position) :]
            typist.received += len(new)
            self.received += len(new)
            if self._record is not None and new:
                self._record(new)
            self._type(typist, new)
        if len(new) < len(data) and attachment.watcher is not None:
            attachment.watcher.stdin_taken()

    def end(self, attachment: Attachment) -> None:
        """Say the end of input to the program, as its key does, behind what was typed."""
        if attachment.feeds and not self._closed:
            typist = self._typist(attachment.key)
            if not typist.ended:
                typist.ended = True
                self._queue.append((typist, None))
                self._pump()

    def credit(self, attachment: Attachment) -> int:
        """Return how many of the bytes that came from `attachment` are done with."""
        if not attachment.feeds:
            return attachment.stdin_received
        typist = self._typist(attachment.key)
        return min(max(0, typist.taken - attachment.stdin_at), attachment.stdin_received)

    def _typist(self, key: bytes) -> _Typist:
        typist = self._typists.get(key)
        if typist is None:
            typist = self._typists[key] = _Typist(key)
            if len(self._typists) > MAX_ATTACHMENTS:
                gone = (other for other in self._typists if self._attachments.get(other) is None)
                del self._typists[next(gone, key)]
        return typist

    def _took(self, typist: _Typist, count: int) -> None:
        """The terminal has taken, or the service has thrown away, so many bytes."""
        typist.taken += count
        attachment = self._attachments.get(typist.key)
        if attachment is not None and attachment.feeds and attachment.watcher is not None:
            attachment.watcher.stdin_taken()

    # The terminal

    def connect(self, terminal: PseudoTerminal) -> None:
        """The program has its terminal; what was typed before goes first."""
        if not self._closed:
            self._terminal = terminal
            self._pump()

    def close(self) -> None:
        """The program takes nothing any more: what was not typed is dropped."""
        self._stop_waiting()
        self._closed = True
        self._terminal = None
        self._drop()

    def _type(self, typist: _Typist, data: bytes) -> None:
        if self._closed:
            self._took(typist, len(data))
            return
        at = self._signal_in(data)
        if at:
            self._enqueue(typist, data[:at])
        if at is not None and self._terminal is not None and (self._queue or self._terminal.unread()):
            # The kernel throws away what was typed before such a key, too, but only once it comes to it; and behind
            # more than the program's buffer holds it never does.
            self._drop()
            self._terminal.drop_typed()
        self._enqueue(typist, data[at or 0 :])

    def _signal_in(self, data: bytes) -> int | None:
        """Where the last key is that makes a signal."""
        if self._terminal is None or not _CONTROL.search(data):
            return None
        at = max((data.rfind(key) for key in self._terminal.signal_keys()), default=-1)
        return None if at < 0 else at

    def _enqueue(self, typist: _Typist, data: bytes) -> None:
        last, waiting = self._queue[-1] if self._queue else (None, None)
        if last is typist and waiting is not None and len(waiting) + len(data) <= _MERGE_SIZE:
            self._queue[-1] = (typist, memoryview(bytes(waiting) + data))
        elif data:
            self._queue.append((typist, memoryview(data)))
        self._queued += len(data)
        self._pump()

    def _drop(self) -> None:
        dropped, self._queue, self._queued = self._queue, deque(), 0
        for typist, data in dropped:
            if typist is not None and data is not None:
                self._took(typist, len(data))

    def _pump(self) -> None:
        if self._terminal is None or self._waiting:
            return
        while self._queue:
            typist, data = self._queue[0]
            if data is None:
                # Behind an unfinished line the first one only ends that (termios(3), VEOF).
                twice = self._in_line and self._terminal.by_lines()
                key = self._terminal.end_key()
                self._queue[0] = (None, memoryview(key * 2 if twice else key))
                continue
            try:
                count = os.write(self._terminal.master, data) if data else 0
            except BlockingIOError:
                self._waiting = True
                asyncio.get_running_loop().add_writer(self._terminal.master, self._writable)
                return
            except OSError:  # hung up
                self.close()
                return
            if count:
                self._in_line = typist is not None and data[count - 1] not in _LINE_ENDS
            if count == len(data):
                self._queue.popleft()
            else:
                self._queue[0] = (typist, data[count:])
            if typist is not None:
                self._queued -= count
                self._took(typist, count)

    def _writable(self) -> None:
        self._stop_waiting()
        self._pump()

    def _stop_waiting(self) -> None:
        if self._waiting and self._terminal is not None:
            self._waiting = False
            asyncio.get_running_loop().remove_writer(self._terminal.master)
