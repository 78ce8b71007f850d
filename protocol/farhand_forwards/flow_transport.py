"""A flow as a transport of asyncio, for `asyncio.StreamReader` and for any protocol, TLS included."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, cast

from farhand_protocol.limits import KiB

from .ends import FlowSide
from .unread import UnreadBytes, store_unread

WRITE_HIGH_WATER: Final = 64 * KiB
"""Bytes not sent yet above which a protocol is asked to write no more: asyncio's own default."""

CLOSED_TIMEOUT: Final = 60.0
"""Seconds that a flow which was closed here has to be ended by the other side: as Linux gives a TCP connection that its
program has closed (tcp_fin_timeout, tcp(7))."""


class FlowTransport(asyncio.Transport):
    """The end of a stream flow that is a transport."""

    _start_tls_compatible = True  # asyncio's own mark: `loop.start_tls` accepts it

    def __init__(self, flow: FlowSide, protocol: asyncio.BaseProtocol, extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self._loop = asyncio.get_running_loop()
        self._flow = flow
        self._protocol = protocol
        self._unsent: deque[memoryview] = deque()  # of bytes, which nobody changes
        self._unsent_size = 0
        self._high, self._low = WRITE_HIGH_WATER, WRITE_HIGH_WATER // 4
        self._writing_paused = False
        self._unread: UnreadBytes = deque()
        self._reading_paused = False
        self._eof_received = self._eof_reported = False
        self._eof_due = self._eof_sent = False
        self._closing = self._lost = False
        self._deadline: asyncio.TimerHandle | None = None
        protocol.connection_made(self)

    # What asyncio calls

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._closing and not self._reading_paused

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._loop.call_soon(self._deliver_unread)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = WRITE_HIGH_WATER if low is None else 4 * low
        low = high // 4 if low is None else low
        if not 0 <= low <= high:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._pause_or_resume_writing()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return self._unsent_size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._eof_due:
            raise RuntimeError("Cannot call write() after write_eof()")
        if data and not self._closing:
            chunk = memoryview(bytes(data))
            self._unsent.append(chunk)
            self._unsent_size += len(chunk)
            self._flow.want_turn()
            self._pause_or_resume_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._eof_due and not self._closing:
            self._end_when_sent()

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._drop_unread()
        if not self._eof_due:
            self._end_when_sent()
        elif self._eof_sent:
            self._sent_all()

    def abort(self) -> None:
        self._flow.reset()
        self.lost(ConnectionAbortedError("the connection was given up"), report=False)

    def _force_close(self, exc: BaseException | None) -> None:
        """asyncio's TLS calls this method of its own transports when a handshake has failed."""
        self._flow.reset()
        self.lost(exc if isinstance(exc, Exception) else ConnectionAbortedError("the connection was given up"))

    # What the flow calls

    def turn(self, limit: int) -> None:
        if self._unsent:
            first = self._unsent.popleft()
            if len(first) > limit:
                self._flow.send(first[:limit])
                self._unsent.appendleft(first[limit:])
                size = limit
            else:
                chunks, size = [first], len(first)
                while self._unsent and size + len(self._unsent[0]) <= limit:
                    chunks.append(self._unsent.popleft())
                    size += len(chunks[-1])
                self._flow.send(first if len(chunks) == 1 else b"".join(chunks))
            self._unsent_size -= size
            self._pause_or_resume_writing()
            if self._unsent:
                self._flow.want_turn()
        if self._eof_due and not self._unsent and not self._eof_sent:
            self._eof_sent = True
            self._flow.send_eof()
            if self._closing:
                self._sent_all()

    def received(self, data: bytes | memoryview) -> None:
        if self._closing:
            self.abort_closed()
        elif self._reading_paused or self._unread:
            store_unread(self._unread, data)
        else:
            self._deliver(data)

    def eof_received(self) -> None:
        self._eof_received = True
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if not self._unread and not self._closing:
            self._report_eof()

    def lost(self, error: Exception, *, report: bool = True) -> None:
        self._closing = self._eof_due = True
        self._unsent.clear()
        self._unread.clear()
        self._unsent_size = 0
        self._report_lost(error if report else None)

    def abort_closed(self) -> None:
        """Reset the flow if the other side does not end it after it was closed here."""
        if not self._eof_received:
            self._flow.reset()
        self._report_lost(None)

    def _end_when_sent(self) -> None:
        self._eof_due = True
        if not self._unsent:
            self._eof_sent = True
            self._flow.send_eof()
            if self._closing:
                self._sent_all()

    def _sent_all(self) -> None:
        self._report_lost(None)
        if not self._eof_received:
            self._deadline = self._loop.call_later(CLOSED_TIMEOUT, self.abort_closed)

    def _report_lost(self, error: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._protocol.connection_lost, error)

    def _pause_or_resume_writing(self) -> None:
        if not self._writing_paused and self._unsent_size > self._high:
            self._writing_paused = True
            self._protocol.pause_writing()
        elif self._writing_paused and self._unsent_size <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()

    def _deliver_unread(self) -> None:
        while self._unread and not self._reading_paused and not self._closing:
            self._deliver(memoryview(self._unread.popleft()))
        if self._eof_received and not self._unread and not self._reading_paused and not self._closing:
            self._report_eof()

    def _deliver(self, data: bytes | memoryview) -> None:
        protocol = self._protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            view = memoryview(data)
            while view:
                buffer = memoryview(cast(bytearray, protocol.get_buffer(len(view))))
                size = min(len(buffer), len(view))
                buffer[:size] = view[:size]
                view = view[size:]
                protocol.buffer_updated(size)
        else:
            cast(asyncio.Protocol, protocol).data_received(bytes(data))
        self._flow.consumed(len(data))

    def _report_eof(self) -> None:
        if not self._eof_reported:
            self._eof_reported = True
            protocol = cast("asyncio.Protocol | asyncio.BufferedProtocol", self._protocol)
            if not protocol.eof_received():
                self.close()

    def _drop_unread(self) -> None:
        left = sum(map(len, self._unread))
        self._unread.clear()
        if left:
            self._flow.consumed(left)
