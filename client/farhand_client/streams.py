"""The output streams of one attachment: how far each has come, and which of its bytes never arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farhand_protocol import messages as m

from .output import Gap

if TYPE_CHECKING:
    from .output import OutputReceiver


class _StreamState:
    """How far one output stream has come, and how much of it has not been consumed here."""

    __slots__ = ("ended", "expected", "lost", "receiver", "unconsumed", "without_credit")

    def __init__(self, offset: int, receiver: OutputReceiver) -> None:
        self.receiver = receiver
        self.expected = offset
        """The offset of the next byte to arrive."""
        self.unconsumed = 0
        """Bytes that arrived and are not consumed yet."""
        self.without_credit = 0
        """Those of them that arrived over a lost connection: their credit cannot be returned."""
        self.lost = 0
        """Bytes that gaps reported as no longer kept."""
        self.ended = False


class AttachmentStreams:
    """The requested streams, each with its receiver. With `tolerant`, bytes lost to a gap do not count as missing."""

    def __init__(self, *, tolerant: bool) -> None:
        self._streams: dict[m.Stream, _StreamState] = {}
        self._tolerant = tolerant
        self._discarding = False

    def add(self, stream: m.Output, receiver: OutputReceiver, offset: int) -> None:
        """Deliver the bytes of `stream` from `offset` on to `receiver`."""
        self._streams[stream] = _StreamState(offset, receiver)

    def expected(self, stream: m.Output) -> int | None:
        """Return the offset of the next byte expected of `stream`; None if the stream was not requested."""
        state = self._streams.get(stream)
        return None if state is None else state.expected

    def consumed(self, stream: m.Stream, count: int) -> int:
        """Note that `count` bytes were consumed; return for how many of them to return credit on this connection."""
        state = self._streams[stream]
        state.unconsumed -= count
        without_credit = min(state.without_credit, count)
        state.without_credit -= without_credit
        return count - without_credit

    def reopened(self, window: int) -> None:
        """Note that a new connection takes over, on which `window` bytes of each stream may be under way."""
        for state in self._streams.values():
            # Unread data was never acknowledged, so it can be sent again. If it were kept, every outage would add more.
            dropped = 0 if state.ended else state.receiver.trim(window)
            state.expected -= dropped
            state.unconsumed -= dropped
            state.without_credit = state.unconsumed

    def feed(self, stream: m.Stream, data: bytes) -> None:
        """Deliver bytes of `stream`."""
        state = self._streams[stream]
        state.expected += len(data)
        state.unconsumed += len(data)
        state.receiver.feed(data)

    def gap(self, gap: m.GapNotice) -> None:
        """Deliver a gap: its bytes will not arrive."""
        state = self._streams[gap.stream]
        state.expected = gap.offset + gap.bytes
        state.lost += gap.bytes
        state.receiver.gap(Gap(gap.stream, gap.offset, gap.bytes))

    def end(self, stream: m.Stream) -> None:
        """Deliver the end of `stream`."""
        state = self._streams[stream]
        state.ended = True
        state.receiver.end()

    def missing(self, ended: m.Ended) -> list[str]:
        """Return a phrase for each requested stream of an ended run of which bytes did not arrive."""
        if self._discarding:
            return []
        missing = []
        totals: dict[m.Stream, int] = {"stdout": ended.stdout, "stderr": ended.stderr}
        for stream, state in self._streams.items():
            total = totals[stream]
            if state.expected != total:
                missing.append(f"only {state.expected - state.lost} of {total} bytes of {stream} arrived")
            elif state.lost and not self._tolerant:
                missing.append(f"{state.lost} of {total} bytes of {stream} were no longer kept")
        return missing

    def finish(self) -> None:
        """End every stream: all of it has arrived."""
        for state in self._streams.values():
            state.receiver.end()

    def fail(self, error: Exception) -> None:
        """End every stream with `error`: nothing more will arrive, and it is unknown what is missing."""
        for state in self._streams.values():
            state.receiver.fail(error)

    def discard(self) -> None:
        """Throw away what is unread and what still arrives."""
        self._discarding = True
        for state in self._streams.values():
            state.receiver.discard()
