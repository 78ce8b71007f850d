"""Copies bytes both ways between a client and the core, under back-pressure, until one of them ends.

Each way holds at most one buffer's worth of bytes, and reads no more until they are gone: a peer that does not
read stops the one that writes to it. TLS knows no half-close, so the end of one side is the end of both; the bytes
it sent before are delivered first.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable
from typing import Final

from .streams import Stream

RELAY_BUFFER: Final = 128 << 10
"""Bytes read at once, and the most that one way of one connection holds. 64 to 256 KiB measure the same. A
multiple of a TLS record's 16 KiB, as `TLSStream` asks."""

# The loop's thread is alone: what is read is written, or copied aside, before anyone else reads.
_shared: Final = memoryview(bytearray(RELAY_BUFFER))


class Direction:
    """Bytes from `source` to `sink`. One of the callables is called once: `ended` for the source, with an error
    unless it came to its end, or `refused` for the sink, with the error."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: Stream,
        sink: Stream,
        ended: Callable[[OSError | None], None],
        refused: Callable[[OSError], None],
    ) -> None:
        self._loop = loop
        self._source = source
        self._sink = sink
        self._ended = ended
        self._refused = refused
        self._waiting: memoryview | None = None
        self._open = True

    @property
    def waiting(self) -> int:
        """Bytes read that the sink has not taken; nothing is read while there are any."""
        return len(self._waiting) if self._waiting is not None else 0

    def start(self) -> None:
        """Begin to copy."""
        self._loop.add_reader(self._source.fileno(), self._readable)
        if self._source.has_more():
            self._loop.call_soon(self._readable)

    def stop(self) -> None:
        """Copy no more; what waits is dropped. Nothing is called after this."""
        if self._open:
            self._open = False
            # A descriptor that is watched belongs to this way alone in this direction.
            if self._waiting is None:
                self._loop.remove_reader(self._source.fileno())
            else:
                self._loop.remove_writer(self._sink.fileno())
                self._waiting = None

    def watch_again(self) -> None:
        """Make the loop watch anew what this way waits for, where the loop may have dropped it."""
        if not self._open:
            return
        if self._waiting is None:
            self._loop.remove_reader(self._source.fileno())
            self._loop.add_reader(self._source.fileno(), self._readable)
        else:
            self._loop.remove_writer(self._sink.fileno())
            self._loop.add_writer(self._sink.fileno(), self._writable)

    def _readable(self) -> None:
        if not self._open or self._waiting is not None:
            return
        try:
            size = self._source.read_into(_shared)
        except OSError as error:
            self.stop()
            self._ended(error)
            return
        if size is None:
            return
        if size == 0:
            self.stop()
            self._ended(None)
            return
        taken = self._write(_shared[:size])
        if taken is None:
            return
        if taken < size:
            self._waiting = memoryview(bytes(_shared[taken:size]))
            self._loop.remove_reader(self._source.fileno())
            self._loop.add_writer(self._sink.fileno(), self._writable)
        elif self._source.has_more():
            self._loop.call_soon(self._readable)

    def _writable(self) -> None:
        if self._waiting is None:
            return
        taken = self._write(self._waiting)
        if taken is None:
            return
        if taken < len(self._waiting):
            self._waiting = self._waiting[taken:]
            return
        self._loop.remove_writer(self._sink.fileno())
        self._waiting = None
        self.start()

    def _write(self, data: memoryview) -> int | None:
        try:
            return self._sink.write(data)
        except OSError as error:
            self.stop()
            self._refused(error)
            return None


class Relay:
    """Both ways of one connection. `ended` is called once: with the side that ended, `client` or `core`, and the
    error it ended with, if any. The caller closes both streams then; nothing watches them any more.

    `flush` is the time in seconds that a side has to take what waits for it once the other has hung up.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        hangups: HangupWatch,
        client: Stream,
        core: Stream,
        *,
        flush: float,
        ended: Callable[[str, OSError | None], None],
    ) -> None:
        self._loop = loop
        self._hangups = hangups
        self._client = client
        self._core = core
        self._flush = flush
        self._report = ended
        self._deadline: asyncio.TimerHandle | None = None
        # A core that takes no more may have said why: its last bytes and its end are still to be read.
        self._up = Direction(loop, client, core, lambda error: self._ended("client", error), lambda error: None)
        self._down = Direction(
            loop,
            core,
            client,
            lambda error: self._ended("core", error),
            lambda error: self._ended("client", error),
        )

    @property
    def waiting(self) -> int:
        """Bytes held in both directions, at most twice `RELAY_BUFFER`."""
        return self._up.waiting + self._down.waiting

    def start(self) -> None:
        """Begin to copy."""
        self._up.start()
        self._down.start()
        self._hangups.watch(self._client.fileno(), lambda: self._hung_up("client", self._client, self._up))
        self._hangups.watch(self._core.fileno(), lambda: self._hung_up("core", self._core, self._down))

    def stop(self) -> None:
        """Copy no more. `ended` is not called after this."""
        self._up.stop()
        self._down.stop()
        self._hangups.forget(self._client.fileno())
        self._hangups.forget(self._core.fileno())
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _hung_up(self, side: str, stream: Stream, way: Direction) -> None:
        # With the error gone the loop will not drop the descriptor any more. If it has, that was by the end of this
        # turn, of whose events it may still have one to deliver.
        stream.clear_error()
        self._loop.call_soon(self._up.watch_again)
        self._loop.call_soon(self._down.watch_again)
        # A way whose sink is stuck does not read, and would not see its source go.
        if way.waiting and self._deadline is None:
            error = TimeoutError("its last bytes were not taken")
            self._deadline = self._loop.call_later(self._flush, self._ended, side, error)

    def _ended(self, side: str, error: OSError | None) -> None:
        self.stop()
        self._report(side, error)


class HangupWatch:
    """One for all connections of a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._readable)

    def watch(self, descriptor: int, hung_up: Callable[[], None]) -> None:
        """Call `hung_up` when the peer has shut down its side or an error is pending; `forget` before the close."""
        self._watched[descriptor] = hung_up
        # EPOLLERR and EPOLLHUP always come (epoll_ctl(2)). A level would spin: neither goes away.
        self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLET)

    def forget(self, descriptor: int) -> None:
        """Watch no more. Harmless for a descriptor that is not watched."""
        if self._watched.pop(descriptor, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Watch nothing any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._watched.clear()

    def _readable(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            hung_up = self._watched.get(descriptor)
            if hung_up is not None:
                hung_up()
