"""The two ends of the helper's relay on transports that keep what is written."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from farhand_client.helper.borrower import Borrower
from farhand_client.helper.framing import FrameProtocol
from farhand_client.helper.upstream import Upstream
from farhand_protocol.frames import FrameDecoder, Kind, encode_frame
from farhand_protocol.limits import Limits

WELCOME = encode_frame(Kind.MESSAGE, 0, b'{"type":"welcome"}')

RUN = {"id": "x", "argv": ["true"]}
"""The fields of a request."""


class FakeTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self, end: FrameProtocol, sock: socket.socket | None = None) -> None:
        super().__init__(extra={"socket": sock})
        self.end = end
        self.written = b""
        self.waiting = 0
        self.reading = True
        self.closed = False
        self.ended = asyncio.Event()

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            self.ended.set()
            asyncio.get_running_loop().call_soon(self.end.connection_lost, None)

    def taken(self) -> list[tuple[int, int, Any]]:
        """Return the frames written since the last call; messages as objects."""
        data, self.written = self.written, b""
        frames = FrameDecoder(lambda *_: None).frames(data)
        return [(kind, channel, json.loads(load) if kind == Kind.MESSAGE else load) for kind, channel, load in frames]


def deliver(end: FrameProtocol, *frames: bytes) -> None:
    """Let frames arrive."""
    data = b"".join(frames)
    while data:
        buffer = end.get_buffer(-1)
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        end.buffer_updated(count)
        data = data[count:]


def message(channel: int, kind: str, **fields: object) -> bytes:
    return encode_frame(Kind.MESSAGE, channel, json.dumps({"type": kind, **fields}, separators=(",", ":")).encode())


class Board:
    """A switchboard that serves everybody, and the two ends."""

    def __init__(self, sock: socket.socket) -> None:
        self.gone = 0
        self.much = 0
        self.parted_callers: list[Borrower] = []
        self._sock = sock
        self.upstream = Upstream(Limits(), self._gone)
        self.service = FakeTransport(self.upstream)
        self.upstream.take(self.service)

    def _gone(self, upstream: Upstream) -> None:
        self.gone += 1

    def caller(self) -> tuple[Borrower, FakeTransport]:
        """Return a caller that is served, and its transport."""
        caller = Borrower(self, 100)
        transport = FakeTransport(caller, self._sock)
        caller.connection_made(transport)
        deliver(caller, encode_frame(0x81, 0, b"request"))
        assert transport.taken() == [(Kind.MESSAGE, 0, {"type": "welcome"})]
        return caller, transport

    def joined(self, caller: Borrower) -> None:
        """Nothing to do."""

    def asked(self, caller: Borrower, kind: int, payload: bytes) -> None:
        assert (kind, payload) == (0x81, b"request")
        caller.serve(self.upstream, WELCOME)

    def parted(self, caller: Borrower) -> None:
        self.parted_callers.append(caller)

    def much_queued(self) -> None:
        self.much += 1


async def turn() -> None:
    """Let what is due happen."""
    for _ in range(3):
        await asyncio.sleep(0)
