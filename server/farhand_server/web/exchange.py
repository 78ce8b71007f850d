"""HTTP between TLS and the relay: what one connection of a browser does until it is a WebSocket."""

from __future__ import annotations

from typing import Final

from farhand_server.edge.preliminary import PreliminaryEnd
from farhand_server.edge.streams import ClientStream

from .requests import Answered, RequestReader, WebSite
from .stream import WebSocketStream

KEEP_OPEN_TIME: Final = 5.0
"""Seconds for which a connection is kept for the next request, as Apache's KeepAliveTimeout: a page loads its files one
after the other."""

MAX_REQUESTS: Final = 200
"""Requests on one connection: three times what a page loads, so that none is kept for ever."""

_buffer: Final = memoryview(bytearray(128 << 10))


class HttpExchange:
    """Implements `Preliminary` for a browser at `site`."""

    idle_time = KEEP_OPEN_TIME

    def __init__(self, site: WebSite, stream: ClientStream) -> None:
        self._requests = RequestReader(site)
        self._stream = stream
        self._unsent = memoryview(b"")
        self._last: Answered | None = None
        self.answered = 0

    @property
    def wants_write(self) -> bool:
        """Implement `Preliminary.wants_write`."""
        return bool(self._unsent)

    def advance(self) -> ClientStream | None:
        """Implement `Preliminary.advance`."""
        if not self._flush():
            return None
        if self._last is None:
            size = self._stream.read_into(_buffer)
            if size is None:
                return None
            if size == 0:
                raise PreliminaryEnd(None if self.answered else "ended before a request")
            self._answer(bytes(_buffer[:size]))
            if not self._flush():
                return None
        if self._last is None:
            return None
        if self._last.opened:
            return WebSocketStream(self._stream, self._last.rest)
        raise PreliminaryEnd(self._last.fault)

    def _answer(self, data: bytes) -> None:
        answers = self._requests.receive(data)
        self.answered += sum(answer.fault is None for answer in answers)
        self._unsent = memoryview(b"".join(answer.data for answer in answers))
        if answers and (answers[-1].ends or answers[-1].opened):
            self._last = answers[-1]
        elif self.answered >= MAX_REQUESTS:
            self._last = Answered(b"", ends=True)

    def _flush(self) -> bool:
        while self._unsent:
            written = self._stream.write(self._unsent)
            if written == 0:
                return False
            self._unsent = self._unsent[written:]
        return True
