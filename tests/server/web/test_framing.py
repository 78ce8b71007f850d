import itertools
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.web.framing import FramingError, Opcode, WebSocketDecoder, close_frame, frame_header
from tests.support.browser_frames import masked


def decoded(*chunks: bytes, room: int = 1 << 16) -> tuple[bytes, WebSocketDecoder]:
    """Return all that comes out of these chunks, one after the other."""
    decoder, out = WebSocketDecoder(), b""
    for chunk in chunks:
        decoder.feed(memoryview(chunk))
        buffer = memoryview(bytearray(room))
        while size := decoder.take(buffer):
            out += bytes(buffer[:size])
        while decoder.pending:
            out += bytes(buffer[: decoder.take(buffer)])
    return out, decoder


@given(
    st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=6),
    st.lists(st.integers(0, 2000), max_size=8),
    st.integers(1, 64),
)
def test_the_payload_comes_out_however_it_was_divided(
    parts: list[tuple[bytes, bool]], cuts: list[int], room: int
) -> None:
    sent, opcode = b"", Opcode.BINARY
    for payload, final in parts:
        sent += masked(payload, opcode, final=final) + masked(b"x", Opcode.PONG)
        opcode = Opcode.BINARY if final else Opcode.CONTINUATION
    places = sorted({min(cut, len(sent)) for cut in cuts} | {0, len(sent)})
    chunks = [sent[a:b] for a, b in itertools.pairwise(places)]
    assert decoded(*chunks, room=room)[0] == b"".join(payload for payload, _ in parts)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_lengths_of_all_three_forms_are_read(size: int) -> None:
    payload = os.urandom(size)
    assert decoded(masked(payload))[0] == payload


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"\xc2\x80\0\0\0\0", "reserved bits"),
        (b"\x82\x00\0\0\0\0", "without a mask"),
        (b"\x83\x80\0\0\0\0", "of kind 3"),
        (b"\x81\x80\0\0\0\0", "text instead of frames"),
        (b"\x80\x80\0\0\0\0", "out of order"),
        (masked(b"a", final=False) + masked(b"b"), "out of order"),
        (b"\x09\x80\0\0\0\0", "control frame"),
        (b"\x89\xfe\0\x7e\0\0\0\0", "control frame"),
    ],
)
def test_what_no_browser_sends_is_refused(frame: bytes, why: str) -> None:
    with pytest.raises(FramingError, match=why):
        decoded(frame)


def test_pings_are_answered_and_a_flood_of_them_is_refused() -> None:
    assert bytes(decoded(masked(b"hey", Opcode.PING))[1].replies) == b"\x8a\x03hey"
    with pytest.raises(FramingError, match="pings"):
        decoded(masked(bytes(125), Opcode.PING) * 40)


def test_nothing_follows_a_close() -> None:
    out, decoder = decoded(masked(b"last") + masked(b"\x03\xe8", Opcode.CLOSE) + masked(b"more"))
    assert (out, decoder.closed, decoder.pending) == (b"last", True, False)


def test_a_flood_of_empty_frames_takes_many_turns() -> None:
    decoder = WebSocketDecoder()
    decoder.feed(memoryview(masked(b"") * 1000 + masked(b"x")))
    buffer = memoryview(bytearray(8))
    turns = 1
    while not decoder.take(buffer):
        assert decoder.pending
        turns += 1
    assert turns == 4


@pytest.mark.parametrize(
    ("message", "used"),
    [
        (b'{"type":"ping","id":1}', False),
        (b'{"type":"credit","bytes":1}', False),
        (b'{"type":"list"}', True),
        (b"", True),
    ],
)
def test_what_a_page_sends_by_itself_is_no_use_of_it(message: bytes, used: bool) -> None:
    decoder = WebSocketDecoder()
    decoder.used = False
    decoder.feed(memoryview(masked(b"\0\0\0\x16\1\0\0\0"[:8] + message)))
    decoder.take(memoryview(bytearray(64)))
    assert decoder.used is used


def test_frames_to_a_browser_have_no_mask() -> None:
    assert frame_header(Opcode.BINARY, 125) == b"\x82\x7d"
    assert frame_header(Opcode.BINARY, 126) == b"\x82\x7e\x00\x7e"
    assert frame_header(Opcode.BINARY, 1 << 16) == b"\x82\x7f" + struct.pack("!Q", 1 << 16)
    assert close_frame(4502, "gone") == b"\x88\x06\x11\x96gone"
