"""Input typed at a run's terminal: in the order in which it arrives from all clients, and each client's bytes only
once."""

from __future__ import annotations

import asyncio
import os
import re
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..attachments.attachments import MAX_ATTACHMENTS, Attachment, Attachments
from ..attachments.terminal import MAX_TYPING
from ..output.spool import SpoolMemory
from ..snapshots import Blob, Descriptor, Get, Put, SnapshotRecord
from .pipe_input import MAX_STDIN_AHEAD, MIN_STDIN, StdinSnapshot
from .pty import PseudoTerminal

MAX_QUEUED_INPUT: Final = MAX_TYPING * MAX_STDIN_AHEAD
"""Number of bytes not read by the program, beyond which no returning client may type: as many as all clients that may
type at once can send. Beyond `MAX_STDIN_AHEAD`, no new client may begin to type."""

_MERGE_SIZE: Final = 4096
"""Size in bytes up to which chunks in the queue are joined: each chunk costs about 300 bytes of memory, and each key
may arrive in its own frame."""

_CHUNK_COST: Final = 300
"""Bytes of memory for each chunk in the queue besides its own: what several clients type by turns is not joined."""

_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
"""Only input with one of these bytes can contain a key that causes a signal."""

_LINE_ENDS: Final = b"\r\n"


class TypistSnapshot(SnapshotRecord):
    """The state of one typist: how many bytes it has sent, and how many of these the terminal has accepted."""

    key: bytes
    received: int
    taken: int
    ended: bool


class TerminalSnapshot(SnapshotRecord):
    """The state of a `PseudoTerminal`, its size, and the input queued for it.

    Each item in `queue` holds the key of its typist and its bytes; empty bytes stand for the end of input.
    """

    master: Descriptor | None
    slave: Descriptor | None
    size: tuple[int, int]
    typists: tuple[TypistSnapshot, ...]
    queue: tuple[tuple[bytes | None, Blob | None], ...]
    in_line: bool


@dataclass(slots=True)
class _Typist:
    """A client that types or has typed, identified by the key of its attachment.

    `received` counts the bytes that have arrived, and `taken` the bytes that the terminal has accepted or that were
    dropped. `ended` tells whether the client has sent the end of input, which may also arrive twice.
    """

    key: bytes
    received: int = 0
    taken: int = 0
    ended: bool = False


class TerminalInput:
    """A run's stdin if that is a terminal, in place of a `PipeInput`.

    Each attachment has its own offsets, so that bytes that a client sends again after an outage are not typed again.
    The offsets are remembered for as many keys as there may be attachments.
    """

    def __init__(
        self, attachments: Attachments, memory: SpoolMemory, record: Callable[[bytes], None] | None = None
    ) -> None:
        self._memory = memory
        self._counted = 0
        """What the queue counts for in `memory`."""
        self.received = 0
        """Number of bytes received from all clients."""
        self._attachments = attachments
        self._record = record
        self._typists: OrderedDict[bytes, _Typist] = OrderedDict()
        self._terminal: PseudoTerminal | None = None
        self._queue: deque[tuple[_Typist | None, memoryview | None]] = deque()
        """Input that the terminal has not accepted, and who has typed it. Empty bytes stand for the end of a client's
        input; bytes without a typist come from the service itself."""
        self._queued = 0
        self._in_line = False
        """Whether anything was typed since the last end of a line."""
        self._closed = False
        self._waiting = False

    def snapshot(self, put: Put) -> StdinSnapshot:
        """Return one part of the state for `restore`; `terminal_snapshot` returns the other part."""
        return StdinSnapshot(
            received=self.received, taken=0, pipe=None, queue=put([]), ending=False, closed=self._closed
        )

    def terminal_snapshot(self, put: Put, terminal: PseudoTerminal | None, size: tuple[int, int]) -> TerminalSnapshot:
        """Return the other part: who has typed, and the input queued for `terminal`, which has this `size`."""
        return TerminalSnapshot(
            master=None if terminal is None or terminal.master < 0 else terminal.master,
            slave=None if terminal is None or terminal.slave < 0 else terminal.slave,
            size=size,
            typists=tuple(
                TypistSnapshot(key=each.key, received=each.received, taken=each.taken, ended=each.ended)
                for each in self._typists.values()
            ),
            queue=tuple(
                (None if typist is None else typist.key, None if data is None else put([bytes(data)]))
                for typist, data in self._queue
            ),
            in_line=self._in_line,
        )

    def restore(self, stdin: StdinSnapshot, terminal: TerminalSnapshot, get: Get) -> None:
        """Continue from both parts of a snapshot. Call this only on a new object, before `connect`. Raises OSError."""
        self.received, self._closed, self._in_line = stdin.received, stdin.closed, terminal.in_line
        for each in terminal.typists:
            typist = self._typist(each.key)
            typist.received, typist.taken, typist.ended = each.received, each.taken, each.ended
        for key, blob in terminal.queue:
            data = None if blob is None else memoryview(get(blob))
            self._queue.append((None if key is None else self._typist(key), data))
            self._queued += 0 if key is None or data is None else len(data)
        self._count()

    @property
    def full(self) -> bool:
        """Whether nothing more should be received until the program has read some of what waits, because the account's
        part of the memory is used up."""
        return self._counted >= MIN_STDIN and self._memory.used_up

    def _count(self) -> None:
        needed = self._queued + _CHUNK_COST * len(self._queue)
        self._memory.take(needed - self._counted)
        self._counted = needed

    # Who types

    def refusal(self, key: bytes | None, offset: int) -> str | None:
        """Return why an attachment cannot begin to type at `offset`, as the predicate of a sentence; None if it can."""
        typist = self._typists.get(key) if key is not None else None
        received = 0 if typist is None else typist.received
        if offset > received:
            return f"has received {received} bytes from this attachment; it cannot continue at {offset}"
        if typist is None and self._queued > MAX_STDIN_AHEAD:
            return f"has {self._queued} bytes that its program has not read; nobody else can begin to type now"
        if typist is not None and (offset > typist.taken + MAX_STDIN_AHEAD or self._queued > MAX_QUEUED_INPUT):
            return f"has {self._queued} bytes that its program has not read; it cannot continue at {offset} now"
        return None

    # What they type

    def write(self, attachment: Attachment, data: bytes) -> None:
        """Type the new part of `data`, which follows the bytes that `attachment` has sent before."""
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
        """Type the key that ends the program's input, after everything typed so far."""
        if attachment.feeds and not self._closed:
            typist = self._typist(attachment.key)
            if not typist.ended:
                typist.ended = True
                self._queue.append((typist, None))
                self._pump()
                self._count()

    def credit(self, attachment: Attachment) -> int:
        """Return how many of the bytes sent by `attachment` the terminal has accepted or the service has dropped."""
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
        """Record that the terminal has accepted, or the service has dropped, `count` bytes."""
        typist.taken += count
        attachment = self._attachments.get(typist.key)
        if attachment is not None and attachment.feeds and attachment.watcher is not None:
            attachment.watcher.stdin_taken()

    # The terminal

    def connect(self, terminal: PseudoTerminal) -> None:
        """Start typing at `terminal`, beginning with input that arrived earlier."""
        if not self._closed:
            self._terminal = terminal
            self._pump()
            self._count()

    def close(self) -> None:
        """Stop typing, because the program reads no more. Input that the terminal has not accepted is dropped."""
        self._stop_waiting()
        self._closed = True
        self._terminal = None
        self._drop()

    def _type(self, typist: _Typist, data: bytes) -> None:
        if self._closed:
            self._took(typist, len(data))
            return
        if self._terminal is not None and data and not self._queue and not _CONTROL.search(data):
            # Nothing is special about most keys: they need not go through the queue.
            try:
                count = os.write(self._terminal.master, data)
            except OSError:
                count = 0  # `_pump` deals with it
            if count:
                self._in_line = True
                self._took(typist, count)
            if count == len(data):
                return
            data = data[count:]
        at = self._signal_in(data)
        if at:
            self._enqueue(typist, data[:at])
        if at is not None and self._terminal is not None and (self._queue or self._terminal.unread()):
            # The kernel also discards what was typed before such a key, but only once it reaches the key, which never
            # happens if more is queued than the terminal's buffer holds.
            self._drop()
            self._terminal.drop_typed()
        self._enqueue(typist, data[at or 0 :])

    def _signal_in(self, data: bytes) -> int | None:
        """Return the index of the last key that causes a signal."""
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
        self._count()

    def _drop(self) -> None:
        dropped, self._queue, self._queued = self._queue, deque(), 0
        self._count()
        for typist, data in dropped:
            if typist is not None and data is not None:
                self._took(typist, len(data))

    def _pump(self) -> None:
        if self._terminal is None or self._waiting:
            return
        while self._queue:
            typist, data = self._queue[0]
            if data is None:
                # After an unfinished line, the first end-of-input key only ends that line (termios(3), VEOF).
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
            except OSError:  # the terminal has been hung up
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
        self._count()

    def _stop_waiting(self) -> None:
        if self._waiting and self._terminal is not None:
            self._waiting = False
            asyncio.get_running_loop().remove_writer(self._terminal.master)
