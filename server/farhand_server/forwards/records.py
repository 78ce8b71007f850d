"""What a forward worker says about one connection or listener that has ended, or was refused, or has begun.

Each record is one message on a pair of sockets (SOCK_SEQPACKET, unix(7)), so it arrives whole or not at all, whatever
becomes of the worker. The worker never waits for the core: what the sockets do not take at once waits in a bounded
queue, and what that does not take is dropped and counted. The core believes a record like the user's own word.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

MAX_RECORD: Final = 16 << 10
"""Bytes of a record: five texts of `MAX_RECORD_TEXT` characters, at up to six bytes each in JSON, and numbers."""

MAX_RECORD_TEXT: Final = 300
"""Characters of a target, an address or an origin: a name has at most 255 (`farhand_forwards.targets`)."""

MAX_RECORD_SECONDS: Final = 1e10
"""Seconds of a connection: three centuries. Anything beyond is nonsense."""

MAX_WAITING_RECORDS: Final = 1024
"""Records that wait until the core takes them, about 300 KiB: a thousand connections that end at once lose none."""

RecordKind: TypeAlias = Literal["connect", "accept", "listen"]
"""A connection that the worker has made, one that a listener has accepted, or a listener."""


class FlowRecord(NamedTuple):
    """What became of one. `target` is what was asked for, `address` what was connected to or listens, `origin` where
    the connection came from. `cause` is a word for how it ended (`farhand_forwards.flow.FlowCause`, or `listening`),
    and `message` says why it was refused."""

    kind: RecordKind
    target: str
    address: str = ""
    origin: str = ""
    from_client: int = 0
    to_client: int = 0
    seconds: float = 0.0
    cause: str = ""
    message: str = ""

    def pack(self) -> bytes:
        """Return the message, with texts that are too long truncated."""
        told = [each[:MAX_RECORD_TEXT] if isinstance(each, str) else each for each in self]
        # A surrogate becomes its escape in JSON.
        return json.dumps(told, ensure_ascii=False).encode(errors="backslashreplace")

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Return the record in a message. Raises ValueError if it is none."""
        try:
            told: Any = json.loads(packed)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if not isinstance(told, list) or len(told) != len(cls._fields):
            raise ValueError("not a record")
        kind, target, address, origin, from_client, to_client, seconds, cause, message = told
        if (
            kind not in ("connect", "accept", "listen")
            or not all(_is_text(each) for each in (target, address, origin, cause, message))
            or not all(type(each) is int and 0 <= each < 1 << 63 for each in (from_client, to_client))
            or type(seconds) is not float
            or not 0 <= seconds < MAX_RECORD_SECONDS
        ):
            raise ValueError("not a record")
        return cls._make(told)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_RECORD_TEXT


class RecordWriter:
    """The worker's end. `dropped` is called with each record that does not fit."""

    def __init__(self, sock: socket.socket, dropped: Callable[[], None]) -> None:
        self._sock = sock
        self._dropped = dropped
        self._waiting: deque[bytes] = deque()
        self._broken = False
        sock.setblocking(False)

    def write(self, record: FlowRecord) -> None:
        """Send a record now or later, or drop it."""
        if self._broken or len(self._waiting) >= MAX_WAITING_RECORDS:
            self._dropped()
            return
        if not self._waiting:
            asyncio.get_running_loop().add_writer(self._sock, self._flush)
        self._waiting.append(record.pack())
        self._flush()

    def finish(self, timeout: float) -> None:
        """Send what waits, but stop after `timeout` seconds without progress. The worker is about to end."""
        if self._waiting:
            asyncio.get_running_loop().remove_writer(self._sock)
            self._sock.settimeout(timeout)
            try:
                while self._waiting:
                    self._sock.send(self._waiting[0])
                    self._waiting.popleft()
            except OSError:
                for _ in self._waiting:
                    self._dropped()
        self._waiting.clear()

    def _flush(self) -> None:
        try:
            while self._waiting:
                self._sock.send(self._waiting[0])
                self._waiting.popleft()
        except BlockingIOError:
            return
        except OSError:  # the core has closed its end, or is gone
            self._broken = True
            for _ in self._waiting:
                self._dropped()
            self._waiting.clear()
        asyncio.get_running_loop().remove_writer(self._sock)
