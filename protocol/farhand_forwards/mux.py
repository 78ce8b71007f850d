"""Many flows and listeners in one stream of frames: the rules of both sides, without I/O.

Give what has arrived to `receive_data` and act on the events; after any call, send what `data_to_send` returns. The
owner pulls: it takes the flow whose turn it is (`next_turn`), reads as much from that flow's source as `credit` allows,
and calls `send`. So nothing waits inside, and flows take turns as fast as the carrier takes what they send.

A flow begins with `open`, or with `FlowAsked` and `accept`. Whoever opens it may send at once, before the other side
has accepted. It is over after `eof` in both directions, once all that has arrived is consumed; or after `reset` or
`refuse` in either. Frames that were sent before the other side knew of that are ignored when they arrive; for an id
that was never used they are an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from . import flow_events as events
from . import wire
from .flow_state import (
    ANSWERED,
    MAX_FLOWS,
    MAX_LISTENERS,
    MAX_UNSENT_ANSWERS,
    FlowState,
    ListenerState,
    leads_datagrams,
)
from .scanner import FrameScanner
from .targets import ForwardCause, ForwardRefused, ForwardTarget
from .windows import DATAGRAM_COST, FIRST_WINDOW, WindowPool
from .wire import FORWARD_HEADER, MAX_DATAGRAM, MAX_FLOW_ID, MAX_FLOW_WINDOW, ForwardFrame, ForwardWireError, Opening

_DATA: Final = int(ForwardFrame.DATA)


class Mux:
    """One side of a tunnel. A call that the rules do not allow raises ValueError, unless its flow is over."""

    def __init__(self, *, client: bool) -> None:
        self._next_id = 1 if client else 2
        self._last_peer_id = 0 if client else -1
        self._flows: dict[int, FlowState] = {}
        self._ours: dict[int, ListenerState] = {}
        """Listeners of the other side that this one has asked for."""
        self._theirs: dict[int, ListenerState] = {}
        self._turns: dict[int, None] = {}
        """The flows that want to send and may, in the order of their turns."""
        self._pool = WindowPool()
        self._peer_window = 0
        self._greeted = False
        self._out: list[bytes | memoryview] = [wire.encode_hello(FIRST_WINDOW)]
        self.unsent = len(self._out[0])
        """Bytes that `data_to_send` would return."""
        self._scanner = FrameScanner(self._begin)
        self.dropped = 0
        """Datagrams that were not sent for lack of credit."""

    # Sending

    @property
    def flooded(self) -> bool:
        """Whether so much waits to be sent that nothing more should be received."""
        return self.unsent > MAX_UNSENT_ANSWERS

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` would return anything."""
        return bool(self._out)

    def data_to_send(self) -> list[bytes | memoryview]:
        """Remove and return what is to be sent, in this order. The caller must send all of it."""
        out, self._out, self.unsent = self._out, [], 0
        return out

    def open(self, target: ForwardTarget, origin: str = "") -> int:
        """Open a flow and return its id. Raises `ForwardRefused` if there are too many, or if too much is unsent."""
        return self._open(Opening(target, origin, 0), leads_datagrams(target))

    def open_accepted(self, listener: int, origin: str = "") -> int:
        """Open a flow for a connection that a listener has accepted, and return its id. Raises as `open`, and if the
        listener is closed."""
        known = self._theirs.get(listener)
        if known is None:
            raise ForwardRefused("failed", "the listener is closed")
        return self._open(Opening(None, origin, listener), known.datagrams)

    def _open(self, opening: Opening, datagrams: bool) -> int:
        if len(self._flows) >= MAX_FLOWS:
            raise ForwardRefused("busy", f"this tunnel has {MAX_FLOWS} connections already")
        if self.flooded:  # in an outage, programs may try again and again
            raise ForwardRefused("busy", "too much waits to be sent through this tunnel")
        flow = self._take_id()
        self._put(wire.encode_open(flow, opening))
        self._flows[flow] = FlowState(self._peer_window, self._pool, ours=True, datagrams=datagrams)
        return flow

    def accept(self, flow: int, address: ForwardTarget | None = None) -> None:
        """Accept a flow that the other side wants to open."""
        state = self._flows[flow]
        if state.ours or state.answered:
            raise ValueError(f"flow {flow} is open")
        state.answered = True
        self._put(wire.encode_opened(flow, address))

    def refuse(self, flow: int, cause: ForwardCause, message: str) -> None:
        """Refuse a flow or a listener that the other side wants to open."""
        if flow in self._theirs:
            if self._theirs[flow].answered:
                raise ValueError(f"listener {flow} is open")
            del self._theirs[flow]
        elif flow in self._flows:
            state = self._flows[flow]
            if state.ours or state.answered:
                raise ValueError(f"flow {flow} is open")
            self._forget(flow)
        else:
            return
        self._put(wire.encode_refused(flow, cause, message))

    def listen(self, where: ForwardTarget) -> int:
        """Have the other side listen, and return the listener's id. Raises as `open`."""
        if len(self._ours) >= MAX_LISTENERS:
            raise ForwardRefused("busy", f"this tunnel has {MAX_LISTENERS} listeners already")
        listener = self._take_id()
        self._put(wire.encode_listen(listener, where))
        self._ours[listener] = ListenerState(datagrams=leads_datagrams(where))
        return listener

    def listening(self, listener: int, where: ForwardTarget) -> None:
        """Say where this side listens now, as the other one has asked it to."""
        known = self._theirs[listener]
        if known.answered:
            raise ValueError(f"listener {listener} is open")
        known.answered = True
        self._put(wire.encode_listening(listener, where))

    def credit(self, flow: int) -> int:
        """Return how many bytes may be sent on a flow now; 0 if it is over."""
        state = self._flows.get(flow)
        return state.credit if state is not None and state.may_send else 0

    def want_turn(self, flow: int) -> None:
        """A flow has something to send: `next_turn` returns it as soon as it may."""
        state = self._flows.get(flow)
        if state is not None:
            if state.credit > 0:
                self._turns[flow] = None
            else:
                state.wants_turn = True

    def next_turn(self) -> int:
        """Remove and return the flow that is to send now; 0 if there is none. It has credit."""
        for flow in self._turns:
            del self._turns[flow]
            return flow
        return 0

    @property
    def has_turn(self) -> bool:
        """Whether there is a flow that is to send now."""
        return bool(self._turns)

    def send(self, flow: int, data: bytes | memoryview) -> None:
        """Send bytes of a stream: at most `wire.MAX_FORWARD_DATA`, and at most `credit`."""
        size = len(data)
        state = self._flows[flow]
        if state.datagrams or not 0 < size <= min(self.credit(flow), wire.MAX_FORWARD_DATA):
            raise ValueError(f"{size} bytes cannot be sent on flow {flow} now")
        state.credit -= size
        self._out += (FORWARD_HEADER.pack(_DATA, flow, size), data)
        self.unsent += FORWARD_HEADER.size + size

    def send_datagram(self, flow: int, data: bytes) -> bool:
        """Send a datagram, or count it as dropped and return False if there is no credit for it."""
        size = len(data)
        if size > MAX_DATAGRAM:
            raise ValueError(f"a datagram of {size} bytes; the maximum is {MAX_DATAGRAM}")
        state = self._flows.get(flow)
        if state is None or not state.may_send or state.credit < size + DATAGRAM_COST or self.flooded:
            self.dropped += 1
            return False
        if not state.datagrams:
            raise ValueError(f"flow {flow} is a stream")
        state.credit -= size + DATAGRAM_COST
        self._out += (FORWARD_HEADER.pack(_DATA, flow, size), data)
        self.unsent += FORWARD_HEADER.size + size
        return True

    def consumed(self, flow: int, count: int) -> None:
        """Record that so many bytes were processed: of a stream, or of one datagram."""
        state = self._flows.get(flow)
        if state is not None:
            grant = state.window.consume(count + DATAGRAM_COST if state.datagrams else count)
            if state.eof_received:
                self._forget_ended(flow, state)
            elif grant:
                self._put(wire.encode_credit(flow, grant))

    def eof(self, flow: int) -> None:
        """Send nothing more on a stream."""
        state = self._flows.get(flow)
        if state is None:
            return
        if state.datagrams or not state.may_send:
            raise ValueError(f"flow {flow} cannot end now")
        state.eof_sent = True
        self._turns.pop(flow, None)
        self._put(wire.encode_forward(ForwardFrame.EOF, flow))
        self._forget_ended(flow, state)

    def reset(self, flow: int) -> None:
        """Give up a flow or a listener, of either side."""
        if flow in self._flows:
            self._forget(flow)
        elif self._ours.pop(flow, None) is None and self._theirs.pop(flow, None) is None:
            return
        self._put(wire.encode_forward(ForwardFrame.RESET, flow))

    def _take_id(self) -> int:
        if self._next_id > MAX_FLOW_ID:
            raise ForwardRefused("failed", "this tunnel has had four billion connections; begin another one")
        taken = self._next_id
        self._next_id += 2
        return taken

    def _put(self, frame: bytes) -> None:
        self._out.append(frame)
        self.unsent += len(frame)

    def _forget_ended(self, flow: int, state: FlowState) -> None:
        if state.over:
            self._forget(flow)

    def _forget(self, flow: int) -> None:
        self._flows.pop(flow).window.close()
        self._turns.pop(flow, None)

    # Receiving
    def receive_data(self, data: bytes) -> Iterator[events.MuxEvent]:
        """Yield what has arrived. Exhaust the iterator before the next call. After `ForwardWireError` all is over."""
        for kind, flow, payload in self._scanner.frames(data):
            if kind == _DATA:
                if flow in self._flows:
                    yield events.FlowData(flow, payload)
            elif event := self._received(ForwardFrame(kind), flow, bytes(payload)):
                yield event

    def receive_eof(self) -> None:
        """The other side's stream has ended. Raises `ForwardWireError` if that was in the middle of a frame."""
        if self._scanner.incomplete:
            raise ForwardWireError("the stream has ended in the middle of a frame")

    def _begin(self, kind: int, flow: int, size: int) -> bool:
        """Judge a header; return whether the payload is to be delivered as it arrives."""
        if kind == _DATA and size <= wire.MAX_FORWARD_DATA:
            state = self._flows.get(flow)
            if state is not None and self._greeted:
                if state.ours and not state.answered:
                    raise ForwardWireError(f"DATA on flow {flow}, which was not accepted")
                if state.eof_received:
                    raise ForwardWireError(f"DATA on flow {flow} after its end")
                if state.datagrams:
                    if size > MAX_DATAGRAM:
                        raise ForwardWireError(f"DATA: a datagram of {size} bytes; the maximum is {MAX_DATAGRAM}")
                    state.window.receive(size + DATAGRAM_COST)
                    return False
                if not size:
                    raise ForwardWireError(f"DATA without a byte on flow {flow}")
                state.window.receive(size)
                return True
        wire.check_forward_header(kind, flow, size)
        if self._greeted is (kind == ForwardFrame.HELLO):
            raise ForwardWireError("HELLO must be the first frame, and no other")
        if kind == _DATA:
            self._check_used(flow)
        return kind == _DATA

    def _check_used(self, flow: int) -> None:
        used = flow < self._next_id if flow % 2 == self._next_id % 2 else flow <= self._last_peer_id
        if not used:
            raise ForwardWireError(f"flow {flow} was never opened")

    def _received(self, kind: ForwardFrame, flow: int, payload: bytes) -> events.MuxEvent | None:
        match kind:
            case ForwardFrame.HELLO:
                self._greet(wire.decode_hello(payload))
            case ForwardFrame.OPEN:
                return self._open_received(flow, wire.decode_open(payload))
            case ForwardFrame.LISTEN:
                return self._listen_received(flow, wire.decode_listen(payload))
            case ForwardFrame.LISTENING:
                where = wire.decode_listening(payload)
                if self._answer(self._ours.get(flow), flow):
                    return events.ListenStarted(flow, where)
            case ForwardFrame.OPENED:
                address = wire.decode_opened(payload)
                state = self._flows.get(flow)
                if self._answer(state if state is None or state.ours else ANSWERED, flow):
                    return events.FlowAccepted(flow, address)
            case ForwardFrame.REFUSED:
                return self._refused_received(flow, *wire.decode_refused(payload))
            case ForwardFrame.CREDIT:
                self._credit_received(flow, wire.decode_credit(payload))
            case ForwardFrame.EOF:
                return self._eof_received(flow)
            case ForwardFrame.RESET:
                return self._reset_received(flow)
        return None

    def _greet(self, window: int) -> None:
        self._greeted = True
        self._peer_window = window
        for flow, state in self._flows.items():  # those that were opened before
            state.credit = window
            if state.wants_turn:
                state.wants_turn = False
                self._turns[flow] = None

    def _take_peer_id(self, flow: int) -> None:
        if flow % 2 == self._next_id % 2 or flow <= self._last_peer_id:
            raise ForwardWireError(f"the other side cannot open flow {flow} after {self._last_peer_id}")
        self._last_peer_id = flow

    def _open_received(self, flow: int, opening: Opening) -> events.MuxEvent | None:
        self._take_peer_id(flow)
        target = opening.target
        datagrams = leads_datagrams(target)
        if opening.listener:
            listener = self._ours.get(opening.listener)
            if listener is None:
                self._check_used(opening.listener)
                self._put(wire.encode_refused(flow, "failed", "the listener is closed"))
                return None
            datagrams = listener.datagrams
        if len(self._flows) >= MAX_FLOWS:
            self._put(wire.encode_refused(flow, "busy", f"this tunnel has {MAX_FLOWS} connections already"))
            return None
        self._flows[flow] = FlowState(self._peer_window, self._pool, ours=False, datagrams=datagrams)
        return events.FlowAsked(flow, opening, datagrams)

    def _listen_received(self, listener: int, where: ForwardTarget) -> events.MuxEvent | None:
        self._take_peer_id(listener)
        if len(self._theirs) >= MAX_LISTENERS:
            self._put(wire.encode_refused(listener, "busy", f"this tunnel has {MAX_LISTENERS} listeners already"))
            return None
        self._theirs[listener] = ListenerState(datagrams=leads_datagrams(where))
        return events.ListenAsked(listener, where)

    def _answer(self, asked: FlowState | ListenerState | None, flow: int) -> bool:
        """Record an answer; return whether anybody still waits for it."""
        if asked is None:
            self._check_used(flow)
            return False
        if asked.answered:
            raise ForwardWireError(f"a second answer for flow {flow}")
        asked.answered = True
        return True

    def _refused_received(self, flow: int, cause: ForwardCause, message: str) -> events.MuxEvent | None:
        state = self._flows.get(flow)
        asked = self._ours.get(flow) if state is None else state if state.ours else ANSWERED
        if not self._answer(asked, flow):
            return None
        if state is None:
            del self._ours[flow]
        else:
            self._forget(flow)
        return events.FlowRefused(flow, cause, message)

    def _credit_received(self, flow: int, count: int) -> None:
        state = self._flows.get(flow)
        if state is None:
            self._check_used(flow)
            return
        state.credit += count
        if state.credit > MAX_FLOW_WINDOW:
            raise ForwardWireError(f"CREDIT: flow {flow} would have {state.credit} bytes; {MAX_FLOW_WINDOW} can be")
        if state.wants_turn and not state.eof_sent:
            state.wants_turn = False
            self._turns[flow] = None

    def _eof_received(self, flow: int) -> events.MuxEvent | None:
        state = self._flows.get(flow)
        if state is None:
            self._check_used(flow)
            return None
        if state.datagrams or state.eof_received or (state.ours and not state.answered):
            raise ForwardWireError(f"EOF on flow {flow}, which cannot end now")
        state.eof_received = True
        self._forget_ended(flow, state)
        return events.FlowEof(flow)

    def _reset_received(self, flow: int) -> events.MuxEvent | None:
        if flow in self._flows:
            self._forget(flow)
        elif self._ours.pop(flow, None) is None and self._theirs.pop(flow, None) is None:
            self._check_used(flow)
            return None
        return events.FlowReset(flow)
