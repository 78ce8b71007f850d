"""The section "Forwards" of `protocol/README.md` and the code agree, in both directions."""

from __future__ import annotations

import re

import pytest

from farhand_forwards import flow_state, windows, wire
from farhand_forwards.datagram_listener import PEER_IDLE_TIMEOUT
from farhand_forwards.flow_events import FlowAccepted, FlowAsked, FlowData, FlowEof, MuxEvent
from farhand_forwards.mux import Mux
from farhand_forwards.targets import FORWARD_CAUSES, MAX_REFUSAL_SIZE, MAX_UNIX_PATH, InetTarget
from farhand_forwards.wire import FORWARD_HEADER, ForwardFrame, ForwardWireError
from tests.protocol.test_specification import fenced, section, table

FORWARDS = section("12. Forwards")
KINDS = {row[0]: row[1:] for row in table(FORWARDS, "kind")}
EXAMPLES = [
    [
        (direction, name, bytes.fromhex(digits))
        for direction, name, digits in re.findall(r"^([<>]) (\w+)\n((?:  [0-9a-f ]+\n)+)", block, re.M)
    ]
    for block in fenced(FORWARDS, "forward")
]
DECODE = {
    "HELLO": wire.decode_hello,
    "OPEN": wire.decode_open,
    "OPENED": wire.decode_opened,
    "REFUSED": wire.decode_refused,
    "CREDIT": wire.decode_credit,
    "LISTEN": wire.decode_listen,
    "LISTENING": wire.decode_listening,
}


def test_the_kinds() -> None:
    assert {name: int(row[0]) for name, row in KINDS.items()} == {kind.name: int(kind) for kind in ForwardFrame}
    for name, (number, _, payload) in KINDS.items():
        if "json" in payload:
            members = re.findall(r"(?<!json)`(\w+)`", payload.partition(":")[2])
            decode = DECODE[name]
            with pytest.raises(ForwardWireError, match=f"an object with {', '.join(sorted(members))}$"):
                decode(b"{}")
        if payload == "none":
            with pytest.raises(ForwardWireError):
                wire.check_forward_header(int(number), 1, 1)
    assert f"`window` {wire.MIN_FLOW_WINDOW} to {wire.MAX_FLOW_WINDOW}" in FORWARDS
    assert windows.FIRST_WINDOW >= wire.MIN_FLOW_WINDOW


def test_the_causes_and_limits() -> None:
    assert tuple(row[0] for row in table(FORWARDS, "cause")) == FORWARD_CAUSES
    for name, value, _ in table(FORWARDS, "limit"):
        module = next(module for module in (wire, windows, flow_state) if hasattr(module, name))
        assert int(value) == getattr(module, name)
    assert f"at most {wire.MAX_ORIGIN_SIZE} (`origin`) or {MAX_REFUSAL_SIZE} (`message`)" in FORWARDS
    assert f"with 1\nto {MAX_UNIX_PATH} bytes" in FORWARDS
    assert f"of 0 to {wire.MAX_DATAGRAM}\nbytes" in FORWARDS
    assert f"for {PEER_IDLE_TIMEOUT:g} seconds" in FORWARDS


def test_every_kind_has_an_example_that_decodes() -> None:
    assert {name for block in EXAMPLES for _, name, _ in block} == KINDS.keys()
    for block in EXAMPLES:
        for direction, name, raw in block:
            kind, flow, size = FORWARD_HEADER.unpack_from(raw)
            wire.check_forward_header(kind, flow, size)
            assert ForwardFrame(kind).name == name
            assert len(raw) == FORWARD_HEADER.size + size
            assert KINDS[name][1] in ("either way", "client to worker" if direction == ">" else "worker to client")
            if name in DECODE:
                DECODE[name](raw[FORWARD_HEADER.size :])


def test_the_example_of_a_connection_is_what_two_sides_say() -> None:
    client, worker = Mux(client=True), Mux(client=False)

    def said(source: Mux, sink: Mux) -> tuple[bytes, list[MuxEvent]]:
        data = b"".join(source.data_to_send())
        return data, [
            FlowData(event.flow, bytes(event.data)) if isinstance(event, FlowData) else event
            for event in sink.receive_data(data)
        ]

    hello, _ = said(worker, client)
    to_worker, _ = said(client, worker)
    flow = client.open(InetTarget("db", 5432), "127.0.0.1:50214")
    client.send(flow, b"ping\n")
    data, events = said(client, worker)
    assert [type(event) for event in events] == [FlowAsked, FlowData]
    to_worker += data
    worker.accept(flow, InetTarget("192.0.2.9", 5432))
    worker.send(flow, b"pong\n")
    to_client, events = said(worker, client)
    assert [type(event) for event in events] == [FlowAccepted, FlowData]
    client.eof(flow)
    worker.eof(flow)
    data, events = said(client, worker)
    assert events == [FlowEof(flow)]
    to_worker += data
    to_client = hello + to_client + said(worker, client)[0]
    for direction, expected in ((">", to_worker), ("<", to_client)):
        assert b"".join(raw for each, _, raw in EXAMPLES[0] if each == direction) == expected
