"""Copies bytes both ways between a client and the core, with back-pressure, until one side ends.

Each direction holds at most one buffer of bytes and reads no more until they are written, so a side that does not read
stops the side that writes to it. TLS has no half-close, so the whole connection ends when one side ends, after the
bytes that this side sent before have been delivered.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from .streams import Stream

RELAY_BUFFER: Final = 128 << 10
"""Bytes read at once, and the most that one direction of a connection holds: a tenth of a millisecond's work. Sizes
from 64 to 256 KiB perform the same. It has the room that `TLSStream` requires, which holds the same bytes once more,
encrypted, while a client does not read."""

BEFORE_LOGIN: Final = 64 << 10
"""Bytes that a client may send before its login is known, with everything that surrounds them; then it has to wait for
the verdict. A login takes a hello and at most six keys with their signatures: 10 KiB."""

# Shared by all connections, which run in one thread. Bytes read into it are written or copied before the next read.
_shared: Final = memoryview(bytearray(RELAY_BUFFER))


class HangupWatch:
    """Notices that the peer of a descriptor has hung up even though nobody reads from it. One instance serves a whole
    loop.

    uvloop reports a hang-up only to readers and writers, does not offer UV_DISCONNECT, and stops watching a descriptor
    at its first EPOLLERR (`UVPoll._fatal_error`), even if bytes are left to read. So this class watches the descriptors
    with its own epoll descriptor, and the loop watches that one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._readable)

    def watch(self, descriptor: int, hung_up: Callable[[], None]) -> None:
        """Call `hung_up` when the peer has shut down its side or an error is pending.

        Call `forget` before closing the descriptor."""
        self._watched[descriptor] = hung_up
        # EPOLLERR and EPOLLHUP are always reported (epoll_ctl(2)) and persist, so level-triggering would spin.
        self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLET)

    def forget(self, descriptor: int) -> None:
        """Stop watching a descriptor. Does nothing if it is not watched."""
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
    """Copies bytes from `source` to `sink`.

    Exactly one of the callables is called, once: `ended` when the source has ended, with an error unless it ended in
    order, or `refused` with the sink's error.
    """

    __slots__ = (
        "_again", "_ended", "_limit", "_loop", "_open", "_pending", "_refused", "_sink", "_source", "_turn",
        "last_read",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: Stream,
        sink: Stream,
        ended: Callable[[OSError | None], None],
        refused: Callable[[OSError], None],
        *,
        turn: AbstractContextManager[None],
        limit: int | None = None,
    ) -> None:
        """Each call by the loop is a `turn`. At about `limit` bytes, no more are read until `lift_limit`."""
        self._loop = loop
        self._source = source
        self._sink = sink
        self._ended = ended
        self._refused = refused
        self._turn = turn
        self._limit = limit
        self._pending: memoryview | None = None
        self._again: asyncio.Handle | None = None
        """The next reading, if the descriptor does not tell when."""
        self._open = True
        self.last_read = 0.0
        """When bytes were last read, by the loop's clock; 0 before the first."""

    @property
    def buffered(self) -> int:
        """Bytes read but not yet accepted by the sink. While there are any, no more are read."""
        return len(self._pending) if self._pending is not None else 0

    @property
    def held(self) -> bool:
        """Whether the source has reached its limit."""
        return self._limit is not None and self._source.received >= self._limit

    def start(self) -> None:
        """Start copying in this direction."""
        if not self.held:
            self._loop.add_reader(self._source.fileno(), self._readable)
            if self._source.has_more():
                self._again = self._loop.call_soon(self._read_again)

    def lift_limit(self) -> None:
        """Read without limit from now on."""
        held, self._limit = self.held, None
        if held and self._open and self._pending is None:
            self.start()

    def stop(self) -> None:
        """Stop copying and discard buffered bytes. Neither callable is called after this."""
        if self._open:
            self._open = False
            self._do_not_read_again()
            # Nobody else watches the descriptor in this direction.
            if self._pending is None:
                self._loop.remove_reader(self._source.fileno())
            else:
                self._loop.remove_writer(self._sink.fileno())
                self._pending = None

    def watch_again(self) -> None:
        """Register the awaited descriptor again, because the loop may have stopped watching it."""
        if not self._open or (self._pending is None and self.held):
            return
        if self._pending is None:
            self._loop.remove_reader(self._source.fileno())
            self._loop.add_reader(self._source.fileno(), self._readable)
        else:
            self._loop.remove_writer(self._sink.fileno())
            self._loop.add_writer(self._sink.fileno(), self._writable)

    def _readable(self) -> None:
        # If it is going to be called again, it has had its share of this turn.
        if self._again is None:
            with self._turn:
                self._copy()

    def _read_again(self) -> None:
        self._again = None
        with self._turn:
            self._copy()

    def _do_not_read_again(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _copy(self) -> None:
        if not self._open or self._pending is not None:
            return
        try:
            size = self._source.read_into(_shared)
        except OSError as error:
            self.stop()
            self._ended(error)
            return
        if size == 0:
            self.stop()
            self._ended(None)
            return
        if size is not None:
            self.last_read = self._loop.time()
            written = self._write(_shared[:size])
            if written is None:
                return
            if written < size:
                self._pending = memoryview(bytes(_shared[written:size]))
                self._loop.remove_reader(self._source.fileno())
                self._loop.add_writer(self._sink.fileno(), self._writable)
                return
        if self.held:
            self._loop.remove_reader(self._source.fileno())
        elif self._source.has_more():
            self._again = self._loop.call_soon(self._read_again)

    def _writable(self) -> None:
        with self._turn:
            self._write_pending()

    def _write_pending(self) -> None:
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

    `on_end` is called once, with the side that ended (`client` or `core`) and its error, if any. The streams are no
    longer watched then, and the caller must close both. `flush` is the time in seconds that a side has to read the
    bytes buffered for it after the other side has hung up. Each call by the loop is a `turn`. Unless the client has
    `logged_in`, it can send `BEFORE_LOGIN` bytes until that is called.
    """

    __slots__ = (
        "_client", "_core", "_deadline", "_down", "_flush", "_hangups", "_loop", "_on_end", "_up",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        hangups: HangupWatch,
        client: Stream,
        core: Stream,
        *,
        flush: float,
        on_end: Callable[[str, OSError | None], None],
        turn: AbstractContextManager[None] | None = None,
        logged_in: bool = True,
    ) -> None:
        self._loop = loop
        self._hangups = hangups
        self._client = client
        self._core = core
        self._flush = flush
        self._on_end = on_end
        self._deadline: asyncio.TimerHandle | None = None
        # A core that accepts no more data may have said why, so its last bytes and its end must still be read.
        self._up = Direction(
            loop,
            client,
            core,
            lambda error: self._ended("client", error),
            lambda error: None,
            turn=turn or nullcontext(),
            limit=None if logged_in else BEFORE_LOGIN,
        )
        self._down = Direction(
            loop,
            core,
            client,
            lambda error: self._ended("core", error),
            lambda error: self._ended("client", error),
            turn=turn or nullcontext(),
        )

    @property
    def buffered(self) -> int:
        """Bytes buffered in both directions, at most twice `RELAY_BUFFER`."""
        return self._up.buffered + self._down.buffered

    @property
    def core_owes_answer_since(self) -> float | None:
        """When the client last sent something, if the core has sent nothing since; otherwise None."""
        return self._up.last_read if self._up.last_read > self._down.last_read else None

    def start(self) -> None:
        """Start copying in both directions."""
        self._up.start()
        self._down.start()
        self._hangups.watch(self._client.fileno(), lambda: self._hung_up("client", self._client, self._up))
        self._hangups.watch(self._core.fileno(), lambda: self._hung_up("core", self._core, self._down))

    def logged_in(self) -> None:
        """Let the client send without limit."""
        self._up.lift_limit()

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
        # Once the pending error is cleared, the loop keeps watching the descriptor. If the loop has already stopped
        # watching it, that happened in this turn, and another event of this turn may still be undelivered.
        if direction.held:
            # Nobody reads on to the end, and a client that has gone must not keep its place.
            self._ended(side, ConnectionResetError())
            return
        stream.clear_error()
        self._loop.call_soon(self._up.watch_again)
        self._loop.call_soon(self._down.watch_again)
        # A direction whose sink is stuck does not read, and so would not notice that its source has ended.
        if direction.buffered and self._deadline is None:
            error = TimeoutError("the peer did not read the last bytes")
            self._deadline = self._loop.call_later(self._flush, self._ended, side, error)

    def _ended(self, side: str, error: OSError | None) -> None:
        self.stop()
        self._on_end(side, error)
