"""Frames: what is encoded is decoded to the same; what is too large, unknown or not due is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_forwards import wire
from farhand_forwards.targets import MAX_REFUSAL_SIZE, ForwardTarget, InetTarget, UnixTarget
from farhand_forwards.wire import FORWARD_HEADER, ForwardFrame, ForwardWireError, Opening
from tests.forwards.test_targets import TARGETS

TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=200)


def payload(frame: bytes) -> bytes:
    kind, flow, size = FORWARD_HEADER.unpack_from(frame)
    wire.check_forward_header(kind, flow, size)
    assert len(frame) == FORWARD_HEADER.size + size
    return frame[FORWARD_HEADER.size :]


@given(TARGETS, TEXT)
def test_what_is_encoded_is_decoded_to_the_same(target: ForwardTarget, text: str) -> None:
    assert wire.decode_open(payload(wire.encode_open(1, Opening(target, text, 0)))) == (target, text, 0)
    assert wire.decode_open(payload(wire.encode_open(2, Opening(None, text, 7)))) == (None, text, 7)
    assert wire.decode_opened(payload(wire.encode_opened(1, target))) == target
    assert wire.decode_opened(payload(wire.encode_opened(1, None))) is None
    assert wire.decode_refused(payload(wire.encode_refused(1, "busy", text))) == ("busy", text)
    assert wire.decode_listen(payload(wire.encode_listen(1, target))) == target
    assert wire.decode_listening(payload(wire.encode_listening(1, target))) == target
    assert wire.decode_credit(payload(wire.encode_credit(1, 5))) == 5
    assert wire.decode_hello(payload(wire.encode_hello(1 << 17))) == 1 << 17


def test_a_listener_may_be_asked_for_without_host_port_and_path() -> None:
    for where in (InetTarget("", 0), UnixTarget(b"")):
        assert wire.decode_listen(payload(wire.encode_listen(1, where))) == where
        with pytest.raises(ForwardWireError):
            wire.decode_listening(payload(wire.encode_listening(1, where)))


def test_text_that_is_too_long_or_controls_a_terminal_is_changed_before_it_is_sent() -> None:
    _, message = wire.decode_refused(payload(wire.encode_refused(1, "failed", "\x1b" + "é" * 5000)))
    assert len(message) == MAX_REFUSAL_SIZE
    assert message.startswith("\\x1bé")
    assert wire.decode_open(payload(wire.encode_open(1, Opening(None, "\n" * 1000, 3)))).origin.startswith("\\n")


@pytest.mark.parametrize(
    ("kind", "flow", "size", "what"),
    [
        (0, 1, 0, "no frame of kind 0"),
        (11, 1, 0, "no frame of kind 11"),
        (ForwardFrame.DATA, 1, wire.MAX_FORWARD_DATA + 1, "DATA: a payload of 262145 bytes"),
        (ForwardFrame.OPEN, 1, wire.MAX_FORWARD_JSON + 1, "OPEN: a payload of 8193 bytes"),
        (ForwardFrame.CREDIT, 1, 5, "CREDIT: a payload of 5 bytes"),
        (ForwardFrame.EOF, 1, 1, "EOF: a payload of 1 bytes"),
        (ForwardFrame.RESET, 1, 1, "RESET: a payload"),
        (ForwardFrame.DATA, 0, 1, "DATA of flow 0"),
        (ForwardFrame.HELLO, 1, 10, "HELLO of flow 1"),
    ],
)
def test_a_header_is_judged_before_its_payload_is_stored(kind: int, flow: int, size: int, what: str) -> None:
    with pytest.raises(ForwardWireError, match=what):
        wire.check_forward_header(kind, flow, size)


OPEN = {"target": {"path": "/s"}, "origin": "", "listener": 0}


@pytest.mark.parametrize(
    ("decode", "value", "what"),
    [
        (wire.decode_hello, {"version": 2, "window": 65536}, "HELLO: version 2; this side knows 1"),
        (wire.decode_hello, {"version": True, "window": 65536}, "HELLO: version True"),
        (wire.decode_hello, {"version": 1, "window": 1}, "a window must be"),
        (wire.decode_hello, {"version": 1, "window": 65536, "more": 1}, "an object with version, window"),
        (wire.decode_hello, [], "an object with"),
        (wire.decode_open, OPEN | {"listener": 1}, "exactly one of target and listener"),
        (wire.decode_open, OPEN | {"target": None}, "exactly one of target and listener"),
        (wire.decode_open, OPEN | {"listener": -1}, "a number of 32 bits"),
        (wire.decode_open, OPEN | {"listener": 1 << 32}, "a number of 32 bits"),
        (wire.decode_open, OPEN | {"origin": "x" * 513}, "at most 512 printable"),
        (wire.decode_open, OPEN | {"origin": "\x1b"}, "at most 512 printable"),
        (wire.decode_open, OPEN | {"target": {"path": ""}}, "OPEN: the path"),
        (wire.decode_opened, {"address": 5}, "a target must be an object"),
        (wire.decode_refused, {"cause": "whim", "message": ""}, "there is no cause 'whim'"),
        (wire.decode_refused, {"cause": "busy", "message": 1}, "message must be"),
    ],
)
def test_json_that_says_something_else_is_refused(decode: Any, value: Any, what: str) -> None:
    with pytest.raises(ForwardWireError, match=what):
        decode(json.dumps(value).encode())


@pytest.mark.parametrize("text", [b"", b"{", b'{"where":1,"where":2}', b"\xff\xff", b"[" * 100])
def test_what_is_not_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(ForwardWireError, match="LISTEN: "):
        wire.decode_listen(text)


@pytest.mark.parametrize("count", [0, wire.MAX_FLOW_WINDOW + 1])
def test_credit_that_cannot_be_is_refused(count: int) -> None:
    with pytest.raises(ForwardWireError, match=f"CREDIT: {count} bytes"):
        wire.decode_credit(count.to_bytes(4, "big"))


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(payload: bytes) -> None:
    for decode in (wire.decode_hello, wire.decode_open, wire.decode_opened, wire.decode_refused, wire.decode_listen):
        try:
            decode(payload)
        except ForwardWireError:
            continue
