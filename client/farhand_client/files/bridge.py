"""The stdin and stdout of a transfer's run as blocking calls for threads, while the run itself is in the event loop.

Bytes from the run are kept until a thread has read them, and only then their credit is returned: at most the window
(4 MiB) waits here. Bytes to the run are accepted as long as less than `MAX_UNSENT` wait for the service's credit. The
threads wait for conditions and the loop for events; nobody polls.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from farhand_client.errors import FarhandError
from farhand_client.output import Gap
from farhand_protocol.limits import KiB, MiB

if TYPE_CHECKING:
    from farhand_client.stdin import InputStream

MAX_HOP: Final = 1 * MiB
"""Bytes handed over to the loop at once: a chunk of a file. One such hop takes some 50 µs, a twentieth of the time in
which the loop encrypts and sends them."""

MAX_UNSENT: Final = 2 * MiB
"""Bytes handed over to the loop and not sent: a chunk that is being sent, and the next one."""

CREDIT_STEP: Final = 256 * KiB
"""Bytes that were read by the thread before the loop is called to return their credit: a sixteenth of the usual window,
so that the service never waits for it."""


class StreamClosed(BrokenPipeError):
    """The run takes no more bytes: it has ended, or the transfer is being stopped."""


class RunStream:
    """A `farhand_files.stream.ByteStream` over a run's stdin and stdout; `consumed` returns the credit of the latter.

    Make it, and call `feed` and `stop`, in the event loop; the other methods are for threads.
    """

    def __init__(self, stdin: InputStream, consumed: Callable[[int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stdin = stdin
        self._outgoing: deque[bytes] = deque()
        self._unsent = 0
        self._changed = threading.Condition(threading.Lock())
        self._handed_over = asyncio.Event()
        self._called = False
        self._closed = False
        self.incoming: Final = Incoming(consumed)
        """The receiver of the run's stdout."""

    # For threads

    def readinto(self, buffer: memoryview) -> int:
        """Wait for bytes of the run's stdout, and store up to as many as fit; return how many, 0 at the end."""
        return self.incoming.readinto(buffer)

    def write(self, data: bytes | memoryview) -> None:
        """Hand over all of `data` to be sent to the run's stdin. Raises `StreamClosed`."""
        if isinstance(data, bytes) and len(data) <= MAX_HOP:
            self._hand_over(data)
            return
        view = memoryview(data).cast("B")
        for at in range(0, len(view), MAX_HOP):
            self._hand_over(bytes(view[at : at + MAX_HOP]))

    def _hand_over(self, chunk: bytes) -> None:
        with self._changed:
            while self._unsent >= MAX_UNSENT and not self._closed:
                self._changed.wait()
            if self._closed:
                raise StreamClosed("the transfer's run takes no more bytes")
            self._outgoing.append(chunk)
            self._unsent += len(chunk)
            if not self._called:
                self._called = True
                self._call(self._handed_over.set)

    def _call(self, function: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it the run's connection
            self._loop.call_soon_threadsafe(function)

    # For the event loop

    async def feed(self) -> None:
        """Send what is handed over, until it is cancelled or the run takes no more."""
        try:
            while True:
                await self._handed_over.wait()
                self._handed_over.clear()
                with self._changed:
                    self._called = False
                    chunks, self._outgoing = self._outgoing, deque()
                for chunk in chunks:
                    self._stdin.write(chunk)
                    await self._stdin.drain()
                    with self._changed:
                        self._unsent -= len(chunk)
                        self._changed.notify_all()
        except (BrokenPipeError, FarhandError, ValueError):
            pass  # the run is over; its outcome says more
        finally:
            self._close()

    @property
    def unsent(self) -> int:
        """Bytes handed over and not sent; after the end of the run they never were."""
        with self._changed:
            return self._unsent

    def stop(self) -> None:
        """Let no thread wait any longer: reading comes to the end, writing raises `StreamClosed`."""
        self._close()
        self.incoming.discard()

    def _close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Incoming:
    """The `Receiver` of a stream that a thread reads. Its end, for whatever reason, is an end of file for the thread:
    why the run has ended is asked elsewhere."""

    def __init__(self, consumed: Callable[[int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._consumed = consumed
        self._arrived = threading.Condition(threading.Lock())
        self._chunks: deque[bytes] = deque()
        self._read_of_first = 0
        self._unread = 0
        self._without_credit = 0
        self._ended = False
        self._discarding = False

    # For one thread

    def readinto(self, buffer: memoryview) -> int:
        """Wait for bytes, and store up to as many as fit; return how many, 0 at the end."""
        with self._arrived:
            while not self._chunks:
                if self._ended:
                    return 0
                self._arrived.wait()
            stored = 0
            while self._chunks and stored < len(buffer):
                first = self._chunks[0]
                part = memoryview(first)[self._read_of_first : self._read_of_first + len(buffer) - stored]
                buffer[stored : stored + len(part)] = part
                stored += len(part)
                self._read_of_first += len(part)
                if self._read_of_first == len(first):
                    self._chunks.popleft()
                    self._read_of_first = 0
            self._unread -= stored
            before = self._without_credit
            self._without_credit += stored
            call = before < CREDIT_STEP <= self._without_credit
        if call:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and with it the run's connection
                self._loop.call_soon_threadsafe(self._return_credit)
        return stored

    # For the event loop

    def _return_credit(self) -> None:
        with self._arrived:
            count, self._without_credit = self._without_credit, 0
        if count:
            self._consumed(count)

    def feed(self, chunk: bytes) -> None:
        """Keep bytes for the thread."""
        if self._discarding:
            self._consumed(len(chunk))
            return
        with self._arrived:
            self._chunks.append(chunk)
            self._unread += len(chunk)
            self._arrived.notify()

    def gap(self, gap: Gap) -> None:
        """End the stream: frames with a gap have no meaning. A run that nobody gave a spool has none."""
        self.end()

    def trim(self, limit: int) -> int:
        """Drop whole chunks from the end until at most `limit` bytes are unread; return their bytes."""
        dropped = 0
        with self._arrived:
            while self._unread > limit and len(self._chunks) > 1:
                last = len(self._chunks.pop())
                self._unread -= last
                dropped += last
        return dropped

    def end(self) -> None:
        """End the stream after what is unread."""
        with self._arrived:
            self._ended = True
            self._arrived.notify()

    def fail(self, error: Exception) -> None:
        """Do the same: the attachment reports the error."""
        self.end()

    def discard(self) -> None:
        """End the stream now, and throw away what is unread and what still arrives, so that the run can end."""
        with self._arrived:
            count = self._unread + self._without_credit
            self._chunks.clear()
            self._read_of_first = self._unread = self._without_credit = 0
            self._discarding = self._ended = True
            self._arrived.notify()
        if count:
            self._consumed(count)
