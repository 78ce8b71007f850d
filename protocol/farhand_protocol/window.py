"""Flow control: how many bytes of a stream may be in flight. Each end keeps one counter.

The receiver grants credit in bytes; the sender spends it. Once the consumer has processed data, the receiver returns
its credit. A slow consumer thus stops the sender, with a bounded amount of data in between.
"""

from __future__ import annotations

from .errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from .limits import MAX_UNACKNOWLEDGED, MAX_WINDOW


class SendWindow:
    """The sender's end. `credit` is how many bytes may still be sent, 0 to 2³¹-1; `offset` is the next byte's
    offset."""

    __slots__ = ("credit", "offset")

    def __init__(self, credit: int, offset: int = 0) -> None:
        self.credit = credit
        self.offset = offset

    def spend(self, count: int) -> None:
        """Spend `count` bytes of credit; the caller must then send them.

        Raises `LocalProtocolError` if the credit is smaller.
        """
        if count > self.credit:
            raise LocalProtocolError(f"sending {count} bytes with credit for {self.credit}")
        self.credit -= count
        self.offset += count

    def skip(self, offset: int, count: int) -> None:
        """Skip `count` bytes, which costs no credit.

        Raises `LocalProtocolError` if `offset` is not the next byte's offset.
        """
        if offset != self.offset:
            raise LocalProtocolError(f"a gap at offset {offset} of a stream at offset {self.offset}")
        self.offset += count

    def grant(self, count: int) -> None:
        """Add credit granted by the peer. Raises `RemoteProtocolError` if the sum would exceed 2³¹-1."""
        if self.credit + count > MAX_WINDOW:
            raise RemoteProtocolError(
                ErrorCode.CREDIT_EXCEEDED, f"credit of {self.credit} and {count} bytes exceeds {MAX_WINDOW}"
            )
        self.credit += count


class ReceiveWindow:
    """The receiver's end: how much the peer may still send, and how much was acknowledged but not yet returned as
    credit.

    `offset` is the offset of the next expected byte.
    """

    __slots__ = ("_acknowledged", "_open", "_size", "offset")

    def __init__(self, size: int, offset: int = 0) -> None:
        self.offset = offset
        self._size = size
        self._open = size
        self._acknowledged = 0

    def receive(self, count: int) -> None:
        """Record `count` received bytes. Raises `RemoteProtocolError` if they exceed the peer's credit."""
        if count > self._open:
            raise RemoteProtocolError(ErrorCode.CREDIT_EXCEEDED, f"received {count} bytes with credit for {self._open}")
        self._open -= count
        self.offset += count

    def skip(self, offset: int, count: int) -> None:
        """Record `count` bytes that the peer skips.

        Raises `RemoteProtocolError` if `offset` is not the next byte's offset.
        """
        if offset != self.offset:
            raise RemoteProtocolError(
                ErrorCode.NOT_LEGAL, f"a gap at offset {offset} of a stream at offset {self.offset}"
            )
        self.offset += count

    def acknowledge(self, count: int) -> int:
        """Record `count` bytes as consumed and return the credit that the caller must grant the peer now, or 0.

        Credit is returned a quarter of the window at a time, or `MAX_UNACKNOWLEDGED` bytes if that is less: often
        enough that the sender never stalls for lack of credit, and rarely enough that it costs nothing.
        """
        if self._acknowledged + count + self._open > self._size:
            raise LocalProtocolError("more bytes acknowledged than received")
        self._acknowledged += count
        if self._acknowledged < min(self._size // 4, MAX_UNACKNOWLEDGED):
            return 0
        grant, self._acknowledged = self._acknowledged, 0
        self._open += grant
        return grant
