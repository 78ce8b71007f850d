"""The core's end of the records of one tunnel (`records`)."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final, Self

from .records import MAX_RECORD, FlowRecord

FLOW_RECORDS_PER_TURN: Final = 32
"""Records read before others have their turn: each costs some 50 µs, most of it for the audit log."""

RECORD_PAUSE: Final = 0.02
"""Seconds before each such turn, for each tunnel of the same user. So all tunnels of a user together cause at most 1600
entries a second, and take a twelfth of the core's time. Workers drop what they cannot send or store meanwhile."""

RECORD_BUFFER: Final = 256 << 10
"""Bytes that the kernel stores for the worker (SO_SNDBUF, socket(7)): some 300 records."""

MAX_LAST_RECORDS: Final = 2048
"""Records read when the run is over: more than the kernel stores. The worker, or what it has left behind, must not keep
the core reading."""


_feeds: Final[Counter[int]] = Counter()
"""The open feeds of each user, by uid."""


class FlowFeed:
    """Reads records of a tunnel of the user `uid`, and calls `on_record` with each that is one, until it is closed."""

    def __init__(self, fd: int, on_record: Callable[[FlowRecord], None], uid: int) -> None:
        self._sock: Final = socket.socket(fileno=fd)
        self._on_record = on_record
        self._uid = uid
        _feeds[uid] += 1
        self._timer: asyncio.TimerHandle | None = None
        self._sock.setblocking(False)
        self._watch()

    @classmethod
    def create(cls, on_record: Callable[[FlowRecord], None], uid: int) -> tuple[Self, socket.socket]:
        """Return a new feed, and the worker's end, which children do not inherit by accident. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, RECORD_BUFFER)
            return cls(ours.detach(), on_record, uid), theirs
        except BaseException:
            ours.close()
            theirs.close()
            raise

    @property
    def fd(self) -> int:
        """The descriptor, for the program that replaces this one."""
        return self._sock.fileno()

    def finish(self) -> None:
        """Read what there still is, and close. Call this once the worker has ended."""
        self._stop()
        try:
            for _ in range(MAX_LAST_RECORDS):
                if not self._read_one():
                    break
        except OSError:
            pass  # there are no more
        finally:
            self.close()

    def close(self) -> None:
        """Read nothing more. Repeated calls do nothing."""
        self._stop()
        if self._sock.fileno() >= 0:
            self._sock.close()
            _feeds[self._uid] -= 1
            if not _feeds[self._uid]:
                del _feeds[self._uid]

    def _watch(self) -> None:
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._readable)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())

    def _readable(self) -> None:
        """Wait a little for more: each turn has a cost of its own, for the log's file above all."""
        self._stop()
        self._timer = asyncio.get_running_loop().call_later(RECORD_PAUSE * _feeds[self._uid], self._read)

    def _read(self) -> None:
        self._timer = None
        try:
            for _ in range(FLOW_RECORDS_PER_TURN):
                if not self._read_one():
                    return
        except BlockingIOError:
            self._watch()
        except OSError:
            return
        else:
            self._readable()

    def _read_one(self) -> bool:
        """Read one record; return whether there may be more. Raises OSError."""
        packed = self._sock.recv(MAX_RECORD)
        if not packed:
            return False
        try:
            record = FlowRecord.unpack(packed)
        except ValueError:
            return True  # nonsense, which a user's process may write
        self._on_record(record)
        return True
