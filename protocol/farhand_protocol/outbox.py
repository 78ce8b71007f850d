"""What waits to be sent: control frames, which overtake, and data with the messages that must not overtake them."""

from __future__ import annotations

from collections import deque

from .frames import Kind, encode_frame, encode_header
from .limits import HEADER_SIZE


class SendQueue:
    """Two queues in bytes. Bounded by its owner: data by credit, answers by not reading from a flooding peer."""

    def __init__(self) -> None:
        self._control: deque[bytes] = deque()
        self._data: deque[bytes] = deque()
        self.bytes = 0
        """Everything that waits."""
        self.answer_bytes = 0
        """The messages among it that the peer can call forth without end, in either queue."""
        self.held_back = 0
        """How many messages wait behind data."""

    def put_message(self, channel: int, payload: bytes, *, ordered: bool, answer: bool) -> None:
        """Queue a message; an `ordered` one behind all data that wait."""
        frame = encode_frame(Kind.MESSAGE, channel, payload)
        self.bytes += len(frame)
        if answer:
            self.answer_bytes += len(frame)
        if ordered and self._data:
            self._data.append(frame)
            self.held_back += 1
        else:
            self._control.append(frame)

    def put_data(self, kind: Kind, channel: int, data: bytes) -> None:
        """Queue a data frame; header and payload stay two buffers, so that nothing is copied."""
        self._data.append(encode_header(kind, channel, len(data)))
        self._data.append(data)
        self.bytes += HEADER_SIZE + len(data)

    def take(self) -> list[bytes]:
        """Return everything, control frames first, and forget it."""
        out = [*self._control, *self._data]
        self._control.clear()
        self._data.clear()
        self.bytes = self.answer_bytes = self.held_back = 0
        return out
