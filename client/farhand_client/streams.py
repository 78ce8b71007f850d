"""The output of one attachment: where each stream stands, and what of it never arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farhand_protocol import messages as m

from .output import Gap

if TYPE_CHECKING:
    from .output import Receiver


class _Stream:
    """One output stream: where it stands, and how much of it was not consumed here."""

    __slots__ = ("ended", "expected", "lost", "owed", "receiver", "waiting")

    def __init__(self, offset: int, receiver: Receiver) -> None:
        self.receiver = receiver
        self.expected = offset
        """The offset of the next byte to come."""
        self.waiting = 0
        """Bytes that came and are not consumed."""
        self.owed = 0
        """Those of them that came over a connection that is gone: no credit can be given back for them."""
        self.lost = 0
        """Bytes that a gap said are no longer kept."""
        self.ended = False


class AttachmentStreams:
    """Those that the client wants, each with its receiver. With `tolerant` a gap leaves nothing missing."""

    def __init__(self, *, tolerant: bool) -> None:
        self._streams: dict[m.Stream, _Stream] = {}
        self._tolerant = tolerant
        self._discarding = False

    def add(self, stream: m.Output, receiver: Receiver, offset: int) -> None:
        """Say where the bytes of `stream` go, from `offset` on."""
        self._streams[stream] = _Stream(offset, receiver)

    def expected(self, stream: m.Output) -> int | None:
        """Return the offset from which `stream` is wanted; None where it is not."""
        state = self._streams.get(stream)
        return None if state is None else state.expected

    def take(self, stream: m.Stream, count: int) -> int:
        """`count` bytes were consumed; return for how many of them this connection gets credit back."""
        state = self._streams[stream]
        state.waiting -= count
        paid = min(state.owed, count)
        state.owed -= paid
        return count - paid

    def reopened(self, window: int) -> None:
        """What comes from now on comes over another connection, where `window` bytes of a stream may be under way."""
        for state in self._streams.values():
            # What waits here was never acknowledged, so it can come again; with every cut there would be more of it.
            dropped = 0 if state.ended else state.receiver.trim(window)
            state.expected -= dropped
            state.waiting -= dropped
            state.owed = state.waiting

    def feed(self, stream: m.Stream, data: bytes) -> None:
        """Bytes came."""
        state = self._streams[stream]
        state.expected += len(data)
        state.waiting += len(data)
        state.receiver.feed(data)

    def gap(self, gap: m.GapNotice) -> None:
        """Bytes will not come."""
        state = self._streams[gap.stream]
        state.expected = gap.offset + gap.bytes
        state.lost += gap.bytes
        state.receiver.gap(Gap(gap.stream, gap.offset, gap.bytes))

    def end(self, stream: m.Stream) -> None:
        """`stream` is over."""
        state = self._streams[stream]
        state.ended = True
        state.receiver.end()

    def missing(self, ended: m.Ended) -> list[str]:
        """Return what did not arrive of the output of a run that is over, and was wanted, in words."""
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
        """All is there."""
        for state in self._streams.values():
            state.receiver.end()

    def fail(self, error: Exception) -> None:
        """No more will come, and it is not known what is missing."""
        for state in self._streams.values():
            state.receiver.fail(error)

    def discard(self) -> None:
        """Nobody wants what waits nor what comes."""
        self._discarding = True
        for state in self._streams.values():
            state.receiver.discard()
