"""Copies bytes both ways between a client and the core, under back-pressure, until one of them ends.

Each direction holds at most one buffer of bytes, and reads nothing more until they are written: a peer that does not
read stops the one that writes to it. TLS has no half-close, so when one side ends, the whole connection ends; the bytes
that the side sent before are delivered first.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable
from typing import Final

from .streams import Stream

RELAY_BUFFER: Final = 128 << 10
"""Bytes read at once, and the maximum that one direction of one connection holds. 64 to 256 KiB measure the same. A
multiple of a TLS record's 16 KiB, as `TLSStream` requires."""

# Shared by all connections, which run in one thread: bytes read into it are written, or copied, before the next read.
_shared: Final = memoryview(bytearray(RELAY_BUFFER))


class HangupWatch:
    """Notices that the peer of a descriptor has hung up although nobody reads from it; one for all of a loop.

    uvloop reports a hang-up only to readers and writers, does not offer UV_DISCONNECT, and stops watching a descriptor
    at its first EPOLLERR (`UVPoll._fatal_error`), even with bytes left to read. So an epoll descriptor of our own
    watches them, and the loop watches that.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._readable)

    def watch(self, descriptor: int, hung_up: Callable[[], None]) -> None:
        """Call `hung_up` when the peer has shut down its side or an error is pending; `forget` before closing it."""
        self._watched[descriptor] = hung_up
        # EPOLLERR and EPOLLHUP always come (epoll_ctl(2)). Neither goes away, so level-triggering would spin.
        self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLET)

    def forget(self, descriptor: int) -> None:
        """Stop watching a descriptor; one that is not watched is ignored."""
        if self._watched.pop(descriptor, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Stop watching all descriptors."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._watched.clear()

    def _readable(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            hung_up = self._watched.get(descriptor)
            if hung_up is not None:
                hung_up()


class Direction:
    """Bytes from `source` to `sink`.

    One of the callables is called, once: `ended` when the source has ended, with an error unless it ended in order, or
    `refused` with the error of the sink.
    """

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
        self._pending: memoryview | None = None
        self._open = True

    @property
    def buffered(self) -> int:
        """Bytes read that the sink has not accepted; nothing is read while there are any."""
        return len(self._pending) if self._pending is not None else 0

    def start(self) -> None:
        """Start to copy."""
        self._loop.add_reader(self._source.fileno(), self._readable)
        if self._source.has_more():
            self._loop.call_soon(self._readable)

    def stop(self) -> None:
        """Stop copying, and drop what is buffered. Neither callable is called after this."""
        if self._open:
            self._open = False
            # In this direction, only this object watches the descriptor.
            if self._pending is None:
                self._loop.remove_reader(self._source.fileno())
            else:
                self._loop.remove_writer(self._sink.fileno())
                self._pending = None

    def watch_again(self) -> None:
        """Register the awaited descriptor again, since the loop may have stopped watching it."""
        if not self._open:
            return
        if self._pending is None:
            self._loop.remove_reader(self._source.fileno())
            self._loop.add_reader(self._source.fileno(), self._readable)
        else:
            self._loop.remove_writer(self._sink.fileno())
            self._loop.add_writer(self._sink.fileno(), self._writable)

    def _readable(self) -> None:
        if not self._open or self._pending is not None:
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
        written = self._write(_shared[:size])
        if written is None:
            return
        if written < size:
            self._pending = memoryview(bytes(_shared[written:size]))
            self._loop.remove_reader(self._source.fileno())
            self._loop.add_writer(self._sink.fileno(), self._writable)
        elif self._source.has_more():
            self._loop.call_soon(self._readable)

    def _writable(self) -> None:
        if self._pending is None:
            return
        written = self._write(self._pending)
        if written is None:
            return
        if written < len(self._pending):
            self._pending = self._pending[written:]
            return
        self._loop.remove_writer(self._sink.fileno())
        self._pending = None
        self.start()

    def _write(self, data: memoryview) -> int | None:
        try:
            return self._sink.write(data)
        except OSError as error:
            self.stop()
            self._refused(error)
            return None


class Relay:
    """Both directions of one connection.

    `on_end` is called once, with the side that ended, `client` or `core`, and its error, if any. Nothing watches the
    streams any more then; the caller closes both. `flush` is the time in seconds that a side has to read what is
    buffered for it once the other side has hung up.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        hangups: HangupWatch,
        client: Stream,
        core: Stream,
        *,
        flush: float,
        on_end: Callable[[str, OSError | None], None],
    ) -> None:
        self._loop = loop
        self._hangups = hangups
        self._client = client
        self._core = core
        self._flush = flush
        self._on_end = on_end
        self._deadline: asyncio.TimerHandle | None = None
        # A core that accepts no more data may have said why: its last bytes and its end are still to be read.
        self._up = Direction(loop, client, core, lambda error: self._ended("client", error), lambda error: None)
        self._down = Direction(
            loop,
            core,
            client,
            lambda error: self._ended("core", error),
            lambda error: self._ended("client", error),
        )

    @property
    def buffered(self) -> int:
        """Bytes held in both directions, at most twice `RELAY_BUFFER`."""
        return self._up.buffered + self._down.buffered

    def start(self) -> None:
        """Start to copy."""
        self._up.start()
        self._down.start()
        self._hangups.watch(self._client.fileno(), lambda: self._hung_up("client", self._client, self._up))
        self._hangups.watch(self._core.fileno(), lambda: self._hung_up("core", self._core, self._down))

    def stop(self) -> None:
        """Stop copying. `on_end` is not called after this."""
        self._up.stop()
        self._down.stop()
        self._hangups.forget(self._client.fileno())
        self._hangups.forget(self._core.fileno())
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _hung_up(self, side: str, stream: Stream, direction: Direction) -> None:
        # Without the pending error the loop keeps watching the descriptor. If it has already dropped it, it did so in
        # this turn, and may still have one of this turn's events to deliver.
        stream.clear_error()
        self._loop.call_soon(self._up.watch_again)
        self._loop.call_soon(self._down.watch_again)
        # A direction whose sink is stuck does not read, so it would not notice that its source has ended.
        if direction.buffered and self._deadline is None:
            error = TimeoutError("the peer did not read the last bytes")
            self._deadline = self._loop.call_later(self._flush, self._ended, side, error)

    def _ended(self, side: str, error: OSError | None) -> None:
        self.stop()
        self._on_end(side, error)
