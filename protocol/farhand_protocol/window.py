"""Credit: how many bytes of a stream may be under way. Two counters, one at each end."""

from __future__ import annotations

from .errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from .limits import MAX_UNACKNOWLEDGED, MAX_WINDOW


class SendWindow:
    """The sender's end: what may still be sent. `credit` is in bytes, 0 to 2³¹-1; `offset` is that of the next byte."""

    __slots__ = ("credit", "offset")

    def __init__(self, credit: int, offset: int = 0) -> None:
        self.credit = credit
        self.offset = offset

    def spend(self, count: int) -> None:
        """Take `count` bytes of credit; `LocalProtocolError` where there is less."""
        if count > self.credit:
            raise LocalProtocolError(f"{count} bytes to send and credit for {self.credit}")
        self.credit -= count
        self.offset += count

    def skip(self, offset: int, count: int) -> None:
        """Leave `count` bytes out, without credit; `LocalProtocolError` where `offset` is not that of the next byte."""
        if offset != self.offset:
            raise LocalProtocolError(f"a gap at offset {offset} of a stream that stands at {self.offset}")
        self.offset += count

    def grant(self, count: int) -> None:
        """Add the peer's grant; `RemoteProtocolError` where the sum would pass 2³¹-1."""
        if self.credit + count > MAX_WINDOW:
            raise RemoteProtocolError(
                ErrorCode.CREDIT_EXCEEDED, f"credit of {self.credit} and {count} bytes passes {MAX_WINDOW}"
            )
        self.credit += count


class ReceiveWindow:
    """The receiver's end: what the peer may still send, and what the consumer has taken but not given back.

    `offset` is that of the next byte to come.
    """

    __slots__ = ("_open", "_size", "_taken", "offset")

    def __init__(self, size: int, offset: int = 0) -> None:
        self.offset = offset
        self._size = size
        self._open = size
        self._taken = 0

    def receive(self, count: int) -> None:
        """Book `count` received bytes; `RemoteProtocolError` where the peer had less credit."""
        if count > self._open:
            raise RemoteProtocolError(
                ErrorCode.CREDIT_EXCEEDED, f"{count} bytes came where there was credit for {self._open}"
            )
        self._open -= count
        self.offset += count

    def skip(self, offset: int, count: int) -> None:
        """Book `count` bytes that will not come; `RemoteProtocolError` where `offset` is not that of the next byte."""
        if offset != self.offset:
            raise RemoteProtocolError(
                ErrorCode.NOT_LEGAL, f"a gap at offset {offset} of a stream that stands at {self.offset}"
            )
        self.offset += count

    def acknowledge(self, count: int) -> int:
        """Book `count` bytes as consumed and return the credit to give back now, or 0.

        Credit is returned a quarter of the window at a time, and `MAX_UNACKNOWLEDGED` bytes at most: often enough that
        the sender never stalls on it, rarely enough that it costs nothing.
        """
        if self._taken + count + self._open > self._size:
            raise LocalProtocolError("more bytes were taken than had come")
        self._taken += count
        if self._taken < min(self._size // 4, MAX_UNACKNOWLEDGED):
            return 0
        grant, self._taken = self._taken, 0
        self._open += grant
        return grant
