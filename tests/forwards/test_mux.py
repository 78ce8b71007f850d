"""Two joined sides agree whatever happens in whatever order, and a side that breaks the rules is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from farhand_forwards import wire
from farhand_forwards.flow_events import (
    FlowAccepted,
    FlowAsked,
    FlowData,
    FlowEof,
    FlowRefused,
    FlowReset,
    ListenAsked,
    ListenStarted,
)
from farhand_forwards.flow_state import MAX_FLOWS, MAX_LISTENERS, MAX_UNSENT_ANSWERS
from farhand_forwards.mux import Mux
from farhand_forwards.targets import ForwardRefused, InetTarget, UnixTarget
from farhand_forwards.windows import DATAGRAM_COST, FIRST_WINDOW
from farhand_forwards.wire import MAX_DATAGRAM, MAX_FLOW_WINDOW, ForwardFrame, ForwardWireError, Opening
from tests.support.joined_mux import WEB, sent

DNS = InetTarget("dns", 53, "udp")


HELLO = wire.encode_hello(FIRST_WINDOW)


def received(mux: Mux, data: bytes) -> list[Any]:
    return [
        FlowData(event.flow, bytes(event.data)) if isinstance(event, FlowData) else event
        for event in mux.receive_data(data)
    ]


class Pair:
    """A client and a worker, joined."""

    def __init__(self) -> None:
        self.client, self.worker = Mux(client=True), Mux(client=False)
        self.exchange()

    def exchange(self) -> tuple[list[Any], list[Any]]:
        """Let everything arrive, and return the events of the client and of the worker."""
        found: tuple[list[Any], list[Any]] = ([], [])
        while self.client.has_data_to_send or self.worker.has_data_to_send:
            to_worker, to_client = sent(self.client), sent(self.worker)
            found[0].extend(received(self.client, to_client))
            found[1].extend(received(self.worker, to_worker))
        return found

    def opened(self, target: Any = WEB) -> int:
        flow = self.client.open(target)
        self.exchange()
        self.worker.accept(flow)
        self.exchange()
        return flow


def test_a_flow_is_opened_used_and_ended() -> None:
    pair = Pair()
    flow = pair.client.open(WEB, "me")
    assert pair.exchange() == ([], [FlowAsked(flow, Opening(WEB, "me", 0), False)])
    pair.worker.accept(flow, InetTarget("10.0.0.1", 80))
    assert pair.exchange() == ([FlowAccepted(flow, InetTarget("10.0.0.1", 80))], [])
    pair.client.send(flow, b"question")
    pair.client.eof(flow)
    assert pair.exchange() == ([], [FlowData(flow, b"question"), FlowEof(flow)])
    pair.worker.consumed(flow, 8)
    pair.worker.send(flow, b"answer")
    pair.worker.eof(flow)
    assert pair.exchange() == ([FlowData(flow, b"answer"), FlowEof(flow)], [])
    pair.client.consumed(flow, 6)
    assert pair.exchange() == ([], [])
    for side in (pair.client, pair.worker):
        side.reset(flow)  # it is over: nothing happens
        assert not side.has_data_to_send


def test_what_is_sent_before_the_other_side_accepts_goes_with_the_request() -> None:
    pair = Pair()
    flow = pair.client.open(WEB)
    pair.client.send(flow, b"early")
    assert pair.exchange()[1] == [FlowAsked(flow, Opening(WEB, "", 0), False), FlowData(flow, b"early")]
    pair.worker.refuse(flow, "refused", "nothing listens there")
    pair.client.send(flow, b"late")
    assert pair.exchange() == ([FlowRefused(flow, "refused", "nothing listens there")], [])


def test_what_is_wanted_before_the_first_hello_is_sent_after_it() -> None:
    client, worker = Mux(client=True), Mux(client=False)
    flow = client.open(WEB)
    client.want_turn(flow)
    assert client.next_turn() == 0
    assert received(client, sent(worker)) == []
    assert client.next_turn() == flow
    assert client.credit(flow) == FIRST_WINDOW


def test_a_listener_of_the_other_side_opens_flows_until_it_is_closed() -> None:
    pair = Pair()
    listener = pair.client.listen(UnixTarget(b""))
    assert pair.exchange() == ([], [ListenAsked(listener, UnixTarget(b""))])
    pair.worker.listening(listener, UnixTarget(b"/tmp/s"))
    flow = pair.worker.open_accepted(listener, "them")
    assert pair.exchange()[0] == [
        ListenStarted(listener, UnixTarget(b"/tmp/s")),
        FlowAsked(flow, Opening(None, "them", listener), False),
    ]
    late = pair.worker.open_accepted(listener)
    pair.client.reset(listener)
    assert pair.exchange() == ([], [FlowReset(listener), FlowRefused(late, "failed", "the listener is closed")])
    with pytest.raises(ForwardRefused, match="the listener is closed"):
        pair.worker.open_accepted(listener)
    pair.client.accept(flow)
    assert pair.exchange()[1] == [FlowAccepted(flow, None)]


def test_a_listener_is_refused() -> None:
    pair = Pair()
    listener = pair.client.listen(WEB)
    pair.exchange()
    pair.worker.refuse(listener, "busy", "another program listens there")
    assert pair.exchange()[0] == [FlowRefused(listener, "busy", "another program listens there")]
    pair.client.reset(listener)
    assert not pair.client.has_data_to_send


def test_a_reset_ends_a_flow_for_both_and_what_is_under_way_is_ignored() -> None:
    pair = Pair()
    flow = pair.opened()
    pair.client.send(flow, b"lost")
    pair.client.eof(flow)
    pair.worker.send(flow, b"lost")
    pair.worker.reset(flow)
    pair.client.reset(flow)
    assert pair.exchange() == ([], [])
    assert pair.client.credit(flow) == 0


def test_datagrams_keep_their_boundaries_and_are_dropped_without_credit() -> None:
    pair = Pair()
    flow = pair.opened(DNS)
    for data in (b"", b"x", b"y" * MAX_DATAGRAM):
        assert pair.client.send_datagram(flow, data)
        assert pair.exchange()[1] == [FlowData(flow, data)]
        pair.worker.consumed(flow, len(data))
    pair.exchange()
    taken = 0
    while pair.client.send_datagram(flow, b""):
        taken += 1
    assert FIRST_WINDOW * 3 // 4 <= taken * DATAGRAM_COST <= 2 * FIRST_WINDOW
    assert pair.client.dropped == 1
    pair.exchange()
    for _ in range(taken):
        pair.worker.consumed(flow, 0)
    pair.exchange()
    assert pair.client.send_datagram(flow, b"z" * MAX_DATAGRAM)


def test_flows_take_turns() -> None:
    pair = Pair()
    flows = [pair.opened() for _ in range(3)]
    for flow in flows:
        pair.client.want_turn(flow)
    order = []
    for _ in range(9):
        flow = pair.client.next_turn()
        order.append(flow)
        pair.client.send(flow, b"x")
        pair.client.want_turn(flow)
    assert order == flows * 3


def test_a_flow_without_credit_has_no_turn_until_it_has_some() -> None:
    pair = Pair()
    slow, other = pair.opened(), pair.opened()
    pair.client.send(slow, bytes(FIRST_WINDOW))
    pair.client.want_turn(slow)
    pair.client.want_turn(other)
    assert (pair.client.next_turn(), pair.client.next_turn()) == (other, 0)
    pair.exchange()
    pair.worker.consumed(slow, FIRST_WINDOW)
    pair.exchange()
    assert pair.client.has_turn
    assert pair.client.next_turn() == slow


def test_a_flow_that_nobody_reads_counts_until_it_is_read() -> None:
    pair = Pair()
    flow = pair.opened()
    pair.client.send(flow, b"unread")
    pair.client.eof(flow)
    pair.worker.eof(flow)
    pair.exchange()
    pair.worker.reset(flow)
    assert pair.worker.has_data_to_send  # it was not over


def test_there_are_no_more_flows_and_listeners_than_allowed() -> None:
    pair = Pair()
    flows = [pair.client.open(WEB) for _ in range(MAX_FLOWS)]
    with pytest.raises(ForwardRefused, match="2048 connections already") as refused:
        pair.client.open(WEB)
    assert refused.value.cause == "busy"
    pair.exchange()
    late = pair.worker.open(WEB) if len(flows) < MAX_FLOWS else 0
    assert late == 0
    hostile = sent(Mux(client=True)) + b"".join(
        wire.encode_open(1 + 2 * number, Opening(WEB, "", 0)) for number in range(MAX_FLOWS + 1)
    )
    worker = Mux(client=False)
    assert len(received(worker, hostile)) == MAX_FLOWS
    assert b"2048 connections already" in sent(worker)
    for _ in range(MAX_LISTENERS):
        pair.client.listen(WEB)
    with pytest.raises(ForwardRefused, match="256 listeners already"):
        pair.client.listen(WEB)
    hostile = HELLO + b"".join(wire.encode_listen(1 + 2 * number, WEB) for number in range(MAX_LISTENERS + 1))
    worker = Mux(client=False)
    assert len(received(worker, hostile)) == MAX_LISTENERS
    assert b"256 listeners already" in sent(worker)


def test_a_side_whose_answers_are_not_read_is_flooded() -> None:
    worker = Mux(client=False)
    received(worker, HELLO)
    flow = -1
    while not worker.flooded:
        flow += 2
        assert received(worker, wire.encode_open(flow, Opening(WEB, "", 0)))
        worker.refuse(flow, "denied", "no" * 500)
    with pytest.raises(ForwardRefused, match="too much waits to be sent"):
        worker.open(WEB)
    assert MAX_UNSENT_ANSWERS < sum(map(len, worker.data_to_send())) < MAX_UNSENT_ANSWERS + 2000
    assert not worker.flooded


def opened_flow(mux: Mux, target: Any = WEB) -> int:
    received(mux, HELLO)
    flow = mux.open(target)
    received(mux, wire.encode_opened(flow, None))
    return flow


DATA = wire.encode_forward(ForwardFrame.DATA, 1, b"x")


EOF = wire.encode_forward(ForwardFrame.EOF, 1)


REFUSED = wire.encode_refused(1, "busy", "")


BROKEN: dict[str, tuple[Callable[[Mux], object], bytes]] = {
    "HELLO must be the first": (lambda mux: None, wire.encode_open(2, Opening(WEB, "", 0))),
    "HELLO must be the first frame, and no other": (lambda mux: received(mux, HELLO), HELLO),
    "cannot open flow 1 after 0": (lambda mux: received(mux, HELLO), wire.encode_open(1, Opening(WEB, "", 0))),
    "cannot open flow 2 after 4": (
        lambda mux: received(mux, HELLO + wire.encode_open(4, Opening(WEB, "", 0))),
        wire.encode_listen(2, WEB),
    ),
    "flow 1 was never opened": (lambda mux: received(mux, HELLO), DATA),
    "flow 2 was never opened": (lambda mux: received(mux, HELLO), wire.encode_forward(ForwardFrame.EOF, 2)),
    "flow 3 was never opened": (opened_flow, wire.encode_forward(ForwardFrame.RESET, 3)),
    "flow 5 was never opened": (opened_flow, wire.encode_credit(5, 1)),
    "flow 7 was never opened": (opened_flow, wire.encode_open(2, Opening(None, "", 7))),
    "flow 9 was never opened": (opened_flow, wire.encode_opened(9, None)),
    "DATA on flow 1, which was not accepted": (lambda mux: received(mux, HELLO) or mux.open(WEB), DATA),
    "EOF on flow 1, which cannot end now": (lambda mux: received(mux, HELLO) or mux.open(WEB), EOF),
    "EOF on flow 1, which cannot": (opened_flow, EOF + EOF),
    "EOF on flow 1": (lambda mux: opened_flow(mux, DNS), EOF),
    "DATA on flow 1 after its end": (opened_flow, EOF + DATA),
    "DATA without a byte": (opened_flow, wire.encode_forward(ForwardFrame.DATA, 1)),
    "131072 bytes with credit for 65536": (
        opened_flow,
        wire.encode_forward(ForwardFrame.DATA, 1, bytes(65536))
        + wire.encode_forward(ForwardFrame.DATA, 1, bytes(131072)),
    ),
    "a datagram of 65508 bytes": (
        lambda mux: opened_flow(mux, DNS),
        wire.encode_forward(ForwardFrame.DATA, 1, bytes(65508)),
    ),
    "a second answer for flow 1": (opened_flow, wire.encode_opened(1, None)),
    "a second answer for flow": (opened_flow, REFUSED),
    "a second answer": (
        lambda mux: received(mux, HELLO + wire.encode_open(2, Opening(WEB, "", 0))),
        wire.encode_opened(2, None),
    ),
    "flow 1 would have 2097153 bytes": (
        opened_flow,
        wire.encode_credit(1, MAX_FLOW_WINDOW - FIRST_WINDOW) + wire.encode_credit(1, 1),
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_not_due_is_refused(what: str) -> None:
    prepare, frames = BROKEN[what]
    mux = Mux(client=True)
    prepare(mux)
    with pytest.raises(ForwardWireError, match=what):
        received(mux, frames)


def test_a_stream_that_ends_in_the_middle_of_a_frame_is_refused() -> None:
    mux = Mux(client=True)
    received(mux, HELLO[:-1])
    with pytest.raises(ForwardWireError, match="in the middle of a frame"):
        mux.receive_eof()
    received(mux, HELLO[-1:])
    mux.receive_eof()


def test_what_the_rules_do_not_allow_is_refused_to_the_caller() -> None:
    pair = Pair()
    flow = pair.opened()
    wrong: list[Callable[[], object]] = [
        lambda: pair.client.send(flow, b""),
        lambda: pair.client.send(flow, bytes(FIRST_WINDOW + 1)),
        lambda: pair.client.send_datagram(flow, b"x"),
        lambda: pair.client.send_datagram(flow, bytes(MAX_DATAGRAM + 1)),
        lambda: pair.client.accept(flow),
        lambda: pair.worker.accept(flow),
        lambda: pair.worker.refuse(flow, "busy", ""),
        lambda: pair.client.consumed(flow, 1),
    ]
    for call in wrong:
        with pytest.raises(ValueError, match=r"^(flow|\d+ bytes|a datagram)"):
            call()
    pair.client.eof(flow)
    with pytest.raises(ValueError, match="cannot end now"):
        pair.client.eof(flow)
    listener = pair.client.listen(WEB)
    pair.exchange()
    pair.worker.listening(listener, WEB)
    for wrong_listener in (pair.worker.listening, lambda *_: pair.worker.refuse(listener, "busy", "")):
        with pytest.raises(ValueError, match="is open"):
            wrong_listener(listener, WEB)
