"""Exchanges the frames of one `Mux` with the other side, over a stream that calls back.

    stream  --frames_arrived-->  FrameExchange  --events-->  handle
    stream  <--write-----------  FrameExchange  <--turns---  flows (after wake, turn_wanted)

What has arrived is acted on in the call that brings it, and what is sent for it leaves at the end of that call: a turn
of the event loop between the two would cost more than all the rest of a small message. While the stream does not take
what is written, no flow has its turn, so nothing waits here but answers, and these are bounded (`Mux.flooded`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from farhand_protocol.limits import KiB

from .flow_events import MuxEvent
from .mux import Mux

WRITE_BATCH: Final = 256 * KiB
"""Bytes collected from flows before they are written to the stream at once."""

EVENT_BATCH: Final = 256
"""Frames acted on before others have their turn: about a millisecond's work."""

BULK_FRAMES: Final = 64 * KiB
"""Bytes from which on collecting more of them before they are written saves nothing."""

QUIET_EXCHANGE: Final = 0.0001
"""Seconds without writing after which what one flow sends is written at once. Otherwise, what sockets that are ready
in the same turn of the loop send is written together."""


class FrameReceiver(Protocol):
    """What a stream of frames calls. No method raises anything."""

    def frames_arrived(self, data: bytes) -> None:
        """Some bytes have arrived, at most about 256 KiB."""

    def frames_ended(self, error: Exception | None) -> None:
        """Nothing more will arrive."""

    def frames_writable(self) -> None:
        """All that was written is sent, after `FrameStream.write` has returned False."""


class FrameStream(Protocol):
    """What carries the frames of a tunnel."""

    def start(self, receiver: FrameReceiver) -> None:
        """Call `receiver` from now on, with what has arrived before, too."""

    def pause(self) -> None:
        """Let nothing arrive until `resume`."""

    def resume(self) -> None:
        """Let bytes arrive again, but not within this call."""

    def write(self, frames: Sequence[bytes | memoryview]) -> bool:
        """Send all of it, now or later. Return False if nothing more must be written until `frames_writable` is called,
        which is not done within this call. Raises OSError."""

    def stop(self) -> None:
        """Call the receiver no more."""


class FrameExchange:
    """Acts on the frames of one side of a tunnel, and sends its own."""

    def __init__(
        self,
        stream: FrameStream,
        mux: Mux,
        *,
        handle: Callable[[MuxEvent], None],
        turn: Callable[[int, int], None],
    ) -> None:
        """`handle` is called with each event, and `turn` with a flow whose turn it is and with its credit."""
        self._stream = stream
        self._mux = mux
        self._handle = handle
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._open = False
        self._events: Iterator[MuxEvent] | None = None
        """What has arrived and was not acted on yet; nothing more arrives meanwhile."""
        self._acting = self._taking = False
        self._blocked = False
        """Whether the stream takes nothing now."""
        self._flooded = False
        """Whether nothing is acted on until the stream takes something."""
        self._flush_due = False
        self._flushed = -QUIET_EXCHANGE

    async def run(self) -> None:
        """Exchange frames until the stream ends, or `stop` is called. Raises `ForwardWireError`, what the stream
        raises, and what `handle` and `turn` raise."""
        if not self._over.done():
            self._open = True
            self._stream.start(self)
            self._flush()
        try:
            await self._over
        finally:
            self._open = False
            self._stream.stop()

    def stop(self) -> None:
        """Have `run` return."""
        self._end(None)

    def wake(self) -> None:
        """Send what there is to send: at the end of the call that is acting on frames, or in the loop's next turn."""
        if self._open and not (self._acting or self._taking or self._flush_due or self._blocked):
            self._flush_due = True
            self._loop.call_soon(self._flush_now)

    def turn_wanted(self) -> None:
        """A flow has something to send. If the stream takes it, flows have their turns at once: one whose socket was
        not read would be reported by the loop a second time."""
        if not self._open or self._blocked or self._taking:
            return
        self._take_turns()
        if self._mux.unsent >= BULK_FRAMES or time.monotonic() - self._flushed >= QUIET_EXCHANGE:
            if not self._acting:
                self._flush()
        else:
            self.wake()

    # What the stream calls

    def frames_arrived(self, data: bytes) -> None:
        """Act on it."""
        self._events = self._mux.receive_data(data)
        self._act()

    def frames_ended(self, error: Exception | None) -> None:
        """End, with an error if it was in the middle of a frame."""
        try:
            if error is None:
                self._mux.receive_eof()
        except ValueError as truncated:
            error = truncated
        self._end(error)

    def frames_writable(self) -> None:
        """Send what waits, and act again on what has arrived."""
        self._blocked = False
        self._flush()
        if self._flooded and not self._blocked:
            self._flooded = False
            self._act()

    def _act(self) -> None:
        if self._events is None or not self._open:
            return
        count = 0
        self._acting = True
        try:
            for event in self._events:
                self._handle(event)
                count += 1
                if count == EVENT_BATCH or not self._open:
                    break
        except Exception as error:  # noqa: BLE001  # `run` raises it
            self._end(error)
            return
        finally:
            self._acting = False
        self._flush()
        self._flooded = self._mux.flooded
        if self._flooded or count == EVENT_BATCH:
            self._stream.pause()
            if not self._flooded:
                self._loop.call_soon(self._act)
        else:
            self._events = None
            self._stream.resume()

    # Sending

    def _flush_now(self) -> None:
        self._flush_due = False
        self._flush()

    def _flush(self) -> None:
        if self._blocked or not self._open:
            return
        try:
            self._take_turns()
            frames = self._mux.data_to_send()
            if frames:
                self._flushed = time.monotonic()
                self._blocked = not self._stream.write(frames)
        except Exception as error:  # noqa: BLE001  # `run` raises it
            self._end(error)
            return
        if self._mux.has_turn:
            self.wake()

    def _take_turns(self) -> None:
        """Collect from flows what can be written at once."""
        mux = self._mux
        self._taking = True
        try:
            while mux.unsent < WRITE_BATCH and (number := mux.next_turn()):
                self._turn(number, mux.credit(number))
        finally:
            self._taking = False

    def _end(self, error: Exception | None) -> None:
        self._open = False
        if not self._over.done():
            if error is None:
                self._over.set_result(None)
            else:
                self._over.set_exception(error)
