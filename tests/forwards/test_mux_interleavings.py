"""Two sides of a tunnel agree, whatever is called and however the bytes arrive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from farhand_forwards.flow_events import (
    FlowAsked,
    FlowData,
    FlowEof,
    FlowRefused,
    FlowReset,
    ListenAsked,
    MuxEvent,
)
from farhand_forwards.mux import Mux
from farhand_forwards.targets import UnixTarget
from farhand_forwards.windows import FIRST_WINDOW
from farhand_forwards.wire import MAX_FLOW_WINDOW
from tests.support.joined_mux import WEB, sent

STEPS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 1 << 16), st.booleans()), max_size=120)


class Side:
    """One side that does what the steps say, and what it knows about each flow."""

    def __init__(self, mux: Mux) -> None:
        self.mux = mux
        self.asked: list[int] = []
        self.flows: list[int] = []
        self.listeners: list[int] = []
        self.asked_listeners: list[int] = []
        self.sent: defaultdict[int, bytes] = defaultdict(bytes)
        self.received: defaultdict[int, bytes] = defaultdict(bytes)
        self.unread: defaultdict[int, int] = defaultdict(int)
        self.ended: set[int] = set()
        self.over: set[int] = set()
        self.eof: set[int] = set()
        self.wire = b""

    def act(self, step: int, number: int) -> None:
        """Do one thing, if it is possible now."""
        mux, flow = self.mux, self.flows[number % len(self.flows)] if self.flows else 0
        if step == 0:
            self.flows.append(mux.open(UnixTarget(b"/s")))
        elif step == 1 and self.asked:
            mux.accept(self.asked[0])
            self.flows.append(self.asked.pop(0))
        elif step == 2 and self.asked:
            self.over.add(self.asked[0])
            mux.refuse(self.asked.pop(0), "denied", "no")
        elif step in (3, 4, 5) and mux.credit(flow):
            data = bytes([number % 251]) * min(mux.credit(flow), 1 + number)
            mux.send(flow, data)
            self.sent[flow] += data
        elif step in (6, 7) and self.unread[flow]:
            count = min(self.unread[flow], 1 + number)
            self.unread[flow] -= count
            mux.consumed(flow, count)
        elif step == 8 and flow and flow not in self.ended | self.over:
            self.ended.add(flow)
            mux.eof(flow)
        elif step == 9 and number % 4 == 0 and flow:
            self.over.add(flow)
            mux.reset(flow)
        elif step == 10:
            mux.listen(WEB)
        elif step == 11 and self.listeners:
            self.flows.append(mux.open_accepted(self.listeners[0]))

    def handle(self, event: MuxEvent) -> None:
        match event:
            case FlowAsked(flow):
                self.asked.append(flow)
            case FlowData(flow, data):
                assert flow not in self.eof
                self.received[flow] += data
                self.unread[flow] += len(data)
                assert self.unread[flow] <= MAX_FLOW_WINDOW
            case FlowEof(flow):
                self.eof.add(flow)
            case FlowReset(flow) | FlowRefused(flow):
                self.over.add(flow)
                if flow in self.asked:
                    self.asked.remove(flow)
            case ListenAsked(listener, where):
                self.mux.listening(listener, where)
                self.listeners.append(listener)


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@given(STEPS, st.integers(1, 5000))
def test_two_sides_agree_after_any_interleaving(steps: list[tuple[int, int, bool]], size: int) -> None:
    client, worker = Side(Mux(client=True)), Side(Mux(client=False))

    def deliver(source: Side, sink: Side, count: int) -> None:
        source.wire += sent(source.mux)
        arriving, source.wire = source.wire[:count], source.wire[count:]
        for chunk in chunks(arriving, size):
            for event in sink.mux.receive_data(chunk):
                sink.handle(event)

    def deliver_all() -> None:
        while client.wire or worker.wire or client.mux.has_data_to_send or worker.mux.has_data_to_send:
            deliver(client, worker, 1 << 30)
            deliver(worker, client, 1 << 30)

    for step, number, first in steps:
        source, sink = (client, worker) if first else (worker, client)
        source.act(step, number)
        deliver(source, sink, number)
    deliver_all()
    for source, sink in ((client, worker), (worker, client)):
        for flow, data in source.sent.items():
            if flow in source.over | sink.over:
                assert data.startswith(sink.received[flow])
            else:
                assert data == sink.received[flow]
                assert (flow in source.ended) == (flow in sink.eof)
        # Whoever reads everything lets the other side send again.
        for flow in set(sink.flows) - sink.over - source.over - sink.eof:
            sink.mux.consumed(flow, sink.unread[flow])
    deliver_all()
    both = set(client.flows) & set(worker.flows) - client.over - worker.over
    assert all(client.mux.credit(flow) * 4 > FIRST_WINDOW * 3 for flow in both - client.ended)
    assert all(worker.mux.credit(flow) * 4 > FIRST_WINDOW * 3 for flow in both - worker.ended)
