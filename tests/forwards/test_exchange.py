"""Frames are acted on as they arrive and sent as the stream takes them; a fake stream records what is asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from farhand_forwards import exchange as exchange_module
from farhand_forwards import mux as mux_module
from farhand_forwards import wire
from farhand_forwards.exchange import BULK_FRAMES, EVENT_BATCH, FrameExchange, FrameReceiver
from farhand_forwards.flow_events import FlowAsked, MuxEvent
from farhand_forwards.mux import Mux
from farhand_forwards.targets import InetTarget
from farhand_forwards.wire import MIN_FLOW_WINDOW, ForwardFrame, ForwardWireError, Opening

WEB = InetTarget("web", 80)
HELLO = wire.encode_hello(MIN_FLOW_WINDOW)


class FakeStream:
    """Records what is written, and takes it while `taking`."""

    def __init__(self) -> None:
        self.receiver: FrameReceiver | None = None
        self.written: list[bytes] = []
        self.taking = True
        self.paused = False
        self.error: OSError | None = None

    def start(self, receiver: FrameReceiver) -> None:
        self.receiver = receiver

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def write(self, frames: Sequence[bytes | memoryview]) -> bool:
        if self.error is not None:
            raise self.error
        self.written.append(b"".join(frames))
        return self.taking

    def stop(self) -> None:
        self.receiver = None

    def arrives(self, data: bytes) -> None:
        assert self.receiver is not None
        assert not self.paused
        self.receiver.frames_arrived(data)

    def writable(self) -> None:
        assert self.receiver is not None
        self.taking = True
        self.receiver.frames_writable()


class Exchanging:
    """A worker's side that accepts every flow, and sends `data` when it is a flow's turn."""

    def __init__(self) -> None:
        self.stream = FakeStream()
        self.mux = Mux(client=False)
        self.events: list[MuxEvent] = []
        self.on_event: Callable[[MuxEvent], None] = self._accept
        self.data = b"x"
        self.exchange = FrameExchange(self.stream, self.mux, handle=self._handle, turn=self._turn)
        self.running = asyncio.ensure_future(self.exchange.run())

    def _handle(self, event: MuxEvent) -> None:
        self.events.append(event)
        self.on_event(event)

    def _accept(self, event: MuxEvent) -> None:
        if isinstance(event, FlowAsked):
            self.mux.accept(event.flow)

    def _turn(self, flow: int, credit: int) -> None:
        self.mux.send(flow, self.data[:credit])

    def send(self, flow: int) -> None:
        self.mux.want_turn(flow)
        self.exchange.turn_wanted()

    async def begun(self, flows: int = 0) -> Exchanging:
        """Begin, with so many flows; forget what was written so far."""
        await asyncio.sleep(0)
        opened = (wire.encode_open(2 * number + 1, Opening(WEB, "", 0)) for number in range(flows))
        self.stream.arrives(HELLO + b"".join(opened))
        self.stream.written.clear()
        return self

    async def end(self) -> None:
        self.exchange.stop()
        await self.running
        assert self.stream.receiver is None


async def test_an_answer_leaves_in_the_call_that_brings_the_question() -> None:
    side = await Exchanging().begun()
    side.stream.arrives(wire.encode_open(1, Opening(WEB, "", 0)))
    assert side.stream.written == [wire.encode_opened(1, None)]
    await side.end()


async def test_what_a_quiet_flow_sends_is_written_at_once_and_what_follows_it_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    side = await Exchanging().begun(flows=4)
    monkeypatch.setattr(exchange_module, "QUIET_EXCHANGE", 0.0)
    side.send(1)
    monkeypatch.setattr(exchange_module, "QUIET_EXCHANGE", 60.0)
    for flow in (3, 5, 7):
        side.send(flow)
    assert len(side.stream.written) == 1
    await asyncio.sleep(0)
    assert len(side.stream.written) == 2
    assert b"".join(side.stream.written) == b"".join(
        wire.encode_forward(ForwardFrame.DATA, flow, b"x") for flow in (1, 3, 5, 7)
    )
    await side.end()


async def test_bulk_data_waits_for_no_other() -> None:
    side = await Exchanging().begun(flows=2)
    side.data = bytes(BULK_FRAMES)
    side.send(1)
    side.send(3)
    assert len(side.stream.written) == 2
    await side.end()


async def test_no_flow_has_its_turn_while_the_stream_takes_nothing() -> None:
    side = await Exchanging().begun(flows=2)
    side.stream.taking = False
    side.data = bytes(BULK_FRAMES)
    side.send(1)
    side.send(3)
    side.exchange.wake()
    await asyncio.sleep(0)
    assert len(side.stream.written) == 1
    side.stream.writable()
    assert len(side.stream.written) == 2
    await side.end()


async def test_others_have_their_turn_after_a_number_of_frames() -> None:
    side = await Exchanging().begun(flows=1)
    side.events.clear()
    side.stream.arrives(wire.encode_forward(ForwardFrame.DATA, 1, b"x") * (2 * EVENT_BATCH + 1))
    assert len(side.events) == EVENT_BATCH
    paused = side.stream.paused
    assert paused
    await asyncio.sleep(0)
    assert len(side.events) == 2 * EVENT_BATCH
    await asyncio.sleep(0)
    assert len(side.events) == 2 * EVENT_BATCH + 1
    assert not side.stream.paused
    await side.end()


async def test_nothing_is_acted_on_while_too_many_answers_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mux_module, "MAX_UNSENT_ANSWERS", 100)
    side = await Exchanging().begun()
    side.stream.taking = False
    side.stream.arrives(wire.encode_open(1, Opening(WEB, "", 0)))  # its answer is written, and fills the stream
    side.stream.arrives(b"".join(wire.encode_open(flow, Opening(WEB, "", 0)) for flow in range(3, 21, 2)))
    paused = side.stream.paused
    assert paused
    side.stream.writable()
    assert not side.stream.paused
    assert len(side.stream.written) == 2
    await side.end()


async def test_the_end_of_the_stream_ends_it_but_not_within_a_frame() -> None:
    side = await Exchanging().begun()
    assert side.stream.receiver is not None
    side.stream.receiver.frames_ended(None)
    await side.running

    side = await Exchanging().begun()
    side.stream.arrives(HELLO[:5])
    assert side.stream.receiver is not None
    side.stream.receiver.frames_ended(None)
    with pytest.raises(ForwardWireError, match="in the middle of a frame"):
        await side.running


async def test_it_raises_what_the_stream_and_its_owner_raise() -> None:
    side = await Exchanging().begun()
    assert side.stream.receiver is not None
    side.stream.receiver.frames_ended(OSError(5, "broken"))
    with pytest.raises(OSError, match="broken"):
        await side.running

    side = await Exchanging().begun()
    side.stream.error = BrokenPipeError(32, "nobody reads")
    side.stream.arrives(wire.encode_open(1, Opening(WEB, "", 0)))
    with pytest.raises(BrokenPipeError):
        await side.running

    def fail(event: MuxEvent) -> None:
        raise LookupError(event)

    side = await Exchanging().begun()
    side.on_event = fail
    side.stream.arrives(wire.encode_open(1, Opening(WEB, "", 0)) + b"\xff" * 100)
    with pytest.raises(LookupError):
        await side.running


async def test_one_that_was_stopped_does_nothing_more() -> None:
    side = await Exchanging().begun(flows=1)
    side.on_event = lambda event: side.exchange.stop()
    side.events.clear()
    side.stream.arrives(wire.encode_forward(ForwardFrame.DATA, 1, b"x") * 2)
    side.send(1)
    side.exchange.wake()
    await side.running
    assert len(side.events) == 1
    assert not side.stream.written
