"""Frames, the unit on the wire: encoding, decoding from a byte stream, and the queue of frames waiting to be sent.

A frame is an 8-byte header and a payload:

    0                   1                   2                   3
    |        payload length (24 bits)               |  kind (8)     |
    |                    channel (32 bits)                          |

Both header words are big-endian. The length comes first, so that an oversized frame is refused from its header alone,
before any memory is allocated for it.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

from .limits import FRAME_HEADER_SIZE, KiB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

FRAME_HEADER: Final = Struct(">II")


MAX_PONGS: Final = 16
"""Answers to pings that wait to be sent. Nobody waits for more at once, and a flood of pings then provokes no flood of
answers."""


JOINED_DATA: Final = 16 * KiB
"""Bytes of data from which on a frame is bulk data. Frames of these that arrive together are taken as one: acting on
each of four takes as long as copying them. Nor is any of them collected: that would be one more copy of it all."""


COPIED_DATA: Final = 512
"""Bytes of data up to which copying them behind their header costs less than sending two buffers."""


class Kind(IntEnum):
    """What a frame's payload is: a JSON message, or raw bytes of one stream."""

    MESSAGE = 1
    STDIN = 2
    STDOUT = 3
    STDERR = 4


def encode_header(kind: int, channel: int, length: int) -> bytes:
    """Return the 8 header bytes. The caller must have checked the ranges of all three."""
    return FRAME_HEADER.pack(length << 8 | kind, channel)


def encode_frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Return a whole frame as one bytes object. The caller must have checked the ranges."""
    return FRAME_HEADER.pack(len(payload) << 8 | kind, channel) + payload


class FrameDecoder:
    """Splits a byte stream, which may arrive in chunks of any size, into frames.

    Stores at most one incomplete frame, and of bulk data none: what has arrived of such a frame is passed on at once.
    `check(kind, channel, length)` is called with each header before any of the payload is stored or passed on. It
    refuses a frame by raising an exception; the decoder must not be used after that.
    """

    def __init__(self, check: Callable[[int, int, int], None]) -> None:
        self._check = check
        self._partial = bytearray()
        self._data = memoryview(b"")
        self._at = 0
        self._bulk = self._channel = 0
        """The header of the frame of bulk data that is arriving, or that arrived last."""
        self._left = 0
        """Bytes of it that have not arrived."""

    def frames(self, data: bytes | bytearray | memoryview) -> Iterator[tuple[int, int, bytes]]:
        """Yield `(kind, channel, payload)` for each frame that `data` completes; payloads are copies. Of frames with
        `JOINED_DATA` bytes or more of a stream, what `data` holds is yielded: a part of one, or several that follow
        each other as one.

        Exhaust the iterator before the next call: the bytes after the last complete frame are stored only once it is
        exhausted.
        """
        self._data, self._at = memoryview(data), 0  # at once: `keep_rest` may be called before the first frame is taken
        return self._frames()

    def _frames(self) -> Iterator[tuple[int, int, bytes]]:
        if self._partial:
            wanted = self._missing()
            while wanted and self._at < len(self._data):
                self._partial += self._data[self._at : self._at + wanted]
                self._at = min(self._at + wanted, len(self._data))
                wanted = self._missing()
            if wanted:
                self.keep_rest()
                return
            if self._partial:
                word, channel = FRAME_HEADER.unpack_from(self._partial)
                payload = bytes(memoryview(self._partial)[FRAME_HEADER_SIZE:])
                self._partial = bytearray()
                yield word & 0xFF, channel, payload
        # `keep_rest` may replace the data at each yield.
        while True:
            available = len(self._data) - self._at
            if self._left:
                if not available:
                    break
                yield self._bulk & 0xFF, self._channel, self._bulk_data()
                continue
            if available < FRAME_HEADER_SIZE:
                break
            word, channel = FRAME_HEADER.unpack_from(self._data, self._at)
            kind, length = word & 0xFF, word >> 8
            self._check(kind, channel, length)
            start = self._at + FRAME_HEADER_SIZE
            if _is_bulk(word):
                self._at = start
                self._begin_bulk(word, channel)
                continue
            if len(self._data) - start < length:
                break
            self._at = start + length
            yield kind, channel, bytes(self._data[start : self._at])
        self._partial += self._data[self._at :]
        self._at = len(self._data)
        self.keep_rest()

    def _begin_bulk(self, word: int, channel: int) -> None:
        self._bulk, self._channel, self._left = word, channel, word >> 8

    def _bulk_data(self) -> bytes:
        """Return a copy of what has arrived of a frame of bulk data, and of those that follow it."""
        most = self._bulk >> 8
        joined: list[memoryview] = []
        while True:
            part = self._data[self._at : self._at + self._left]
            if part:
                joined.append(part)
                self._at += len(part)
                self._left -= len(part)
            if self._left or len(self._data) - self._at < FRAME_HEADER_SIZE:
                break
            following, same = FRAME_HEADER.unpack_from(self._data, self._at)
            # As it is no longer than the first, `check` accepts it.
            if same != self._channel or (following ^ self._bulk) & 0xFF or not JOINED_DATA <= following >> 8 <= most:
                break
            self._at += FRAME_HEADER_SIZE
            self._begin_bulk(following, same)
        return bytes(joined[0]) if len(joined) == 1 else b"".join(joined)

    def keep_rest(self) -> None:
        """Copy what `frames` has not yielded yet, so that the caller may reuse its buffer before the iterator is
        exhausted."""
        self._data, self._at = memoryview(bytes(self._data[self._at :])), 0

    @property
    def waits(self) -> bool:
        """Whether a part of a frame has arrived."""
        return bool(self._partial or self._left)

    @property
    def incomplete(self) -> int:
        """The whole length of the frame of which a part has arrived, as far as its header says; 0 if none has."""
        if self._left:
            return FRAME_HEADER_SIZE + (self._bulk >> 8)
        if len(self._partial) < FRAME_HEADER_SIZE:
            return 0
        word, _ = FRAME_HEADER.unpack_from(self._partial)
        return FRAME_HEADER_SIZE + int(word >> 8)

    def _missing(self) -> int:
        have = len(self._partial)
        if have < FRAME_HEADER_SIZE:
            return FRAME_HEADER_SIZE - have
        word, channel = FRAME_HEADER.unpack_from(self._partial)
        if have == FRAME_HEADER_SIZE:
            self._check(word & 0xFF, channel, word >> 8)
            if _is_bulk(word):
                self._partial = bytearray()
                self._begin_bulk(word, channel)
                return 0
        length: int = word >> 8
        return FRAME_HEADER_SIZE + length - have


def _is_bulk(word: int) -> bool:
    return word >> 8 >= JOINED_DATA and word & 0xFF != Kind.MESSAGE


class SendQueue:
    """Frames waiting to be sent, in two queues: control frames, and data with the messages that must not overtake it.

    This class sets no bound. Its owner bounds data by credit, and bounds answers by not reading from a peer that does
    not read them.
    """

    def __init__(self) -> None:
        # Lists, because an empty deque takes 620 bytes, and most connections are idle.
        self._control: list[bytes] = []
        self._pongs: list[bytes] = []
        self._data: list[bytes | memoryview] = []
        self.bytes = 0
        """Bytes in both queues."""
        self.answer_bytes = 0
        """Bytes of answers in both queues: messages that the peer can provoke without limit."""
        self.held_back = 0
        """Number of messages queued behind data."""

    def put_message(self, channel: int, payload: bytes, *, ordered: bool, answer: bool) -> None:
        """Queue a message; an `ordered` one behind all queued data, any other ahead of it."""
        frame = encode_frame(Kind.MESSAGE, channel, payload)
        self.bytes += len(frame)
        if answer:
            self.answer_bytes += len(frame)
        if ordered and self._data:
            self._data.append(frame)
            self.held_back += 1
        else:
            self._control.append(frame)

    def put_pong(self, payload: bytes) -> None:
        """Queue the answer to a ping behind all other messages. Of more than `MAX_PONGS`, the last ones are sent."""
        if len(self._pongs) == MAX_PONGS:
            self.bytes -= len(self._pongs.pop(0))
        self._pongs.append(encode_frame(Kind.MESSAGE, 0, payload))
        self.bytes += len(self._pongs[-1])

    def put_data(self, kind: Kind, channel: int, data: bytes | memoryview) -> None:
        """Queue a data frame. Header and payload remain two buffers, so that the payload is not copied, unless it is
        small."""
        size = len(data)
        if size <= COPIED_DATA:
            self._data.append(FRAME_HEADER.pack(size << 8 | kind, channel) + data)
        else:
            self._data.append(encode_header(kind, channel, size))
            self._data.append(data)
        self.bytes += FRAME_HEADER_SIZE + size

    def take(self) -> list[bytes | memoryview]:
        """Remove and return all buffers in sending order, control frames first. The caller must send them all."""
        if self._control or self._pongs:
            out = [*self._control, *self._pongs, *self._data]
            self._control, self._pongs = [], []
        else:
            out = self._data
        self._data = []
        self.bytes = self.answer_bytes = self.held_back = 0
        return out
