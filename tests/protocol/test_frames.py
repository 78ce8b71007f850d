"""Frames are decoded the same for any chunk boundaries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol.errors import ErrorCode, RemoteProtocolError
from farhand_protocol.frames import JOINED_DATA, FrameDecoder, Kind, encode_frame, encode_header
from farhand_protocol.limits import FRAME_HEADER_SIZE, MAX_CHANNEL, MAX_PAYLOAD
from tests.support.cost import assert_linear
from tests.support.pairs import frames as decode_frames

Frames = list[tuple[int, int, bytes]]
some_frames = st.lists(st.tuples(st.integers(1, 4), st.integers(0, MAX_CHANNEL), st.binary(max_size=40)), max_size=12)
cuts = st.lists(st.integers(0, 60), max_size=60)


def no_check(kind: int, channel: int, length: int) -> None:
    """Accept every header."""


def chunks(data: bytes, sizes: list[int]) -> list[bytes]:
    out = []
    for size in sizes:
        out.append(data[:size])
        data = data[size:]
    return [*out, data]


@given(some_frames, cuts)
def test_any_chunks_give_the_same_frames(frames: Frames, sizes: list[int]) -> None:
    decoder = FrameDecoder(no_check)
    data = b"".join(encode_frame(*frame) for frame in frames)
    assert [frame for chunk in chunks(data, sizes) for frame in decoder.frames(chunk)] == frames


@given(some_frames)
def test_byte_by_byte_gives_the_frames(frames: Frames) -> None:
    decoder = FrameDecoder(no_check)
    data = b"".join(encode_frame(*frame) for frame in frames)
    assert [frame for at in range(len(data)) for frame in decoder.frames(data[at : at + 1])] == frames


@given(some_frames, cuts)
def test_each_header_is_checked_before_its_payload_is_stored(frames: Frames, sizes: list[int]) -> None:
    checked: list[tuple[int, int]] = []
    decoder = FrameDecoder(lambda kind, _, length: checked.append((kind, length)))
    data = b"".join(encode_frame(*frame) for frame in frames)
    for chunk in chunks(data, sizes):
        list(decoder.frames(chunk))
    distinct = [entry for at, entry in enumerate(checked) if at == 0 or entry != checked[at - 1]]
    wanted = [(kind, len(payload)) for kind, _, payload in frames]
    assert distinct == [entry for at, entry in enumerate(wanted) if at == 0 or entry != wanted[at - 1]]


@pytest.mark.parametrize("cut", range(9))
def test_a_refused_header_raises_as_soon_as_it_is_whole(cut: int) -> None:
    def refuse(kind: int, channel: int, length: int) -> None:
        raise RemoteProtocolError(ErrorCode.FRAME_TOO_LARGE, "no")

    decoder = FrameDecoder(refuse)
    header = encode_header(1, 0, MAX_PAYLOAD)
    if cut < 8:
        assert list(decoder.frames(header[:cut])) == []
    with pytest.raises(RemoteProtocolError):
        list(decoder.frames(header[cut:] if cut < 8 else header))


def test_payloads_outlive_the_buffer_in_which_they_arrived() -> None:
    buffer = bytearray(encode_frame(3, 1, b"first") + encode_frame(3, 1, b"second"))
    found = list(FrameDecoder(no_check).frames(memoryview(buffer)))
    buffer[:] = bytes(len(buffer))
    assert [payload for _, _, payload in found] == [b"first", b"second"]


@pytest.mark.parametrize("cut", [0, 1, 9, JOINED_DATA, 2 * JOINED_DATA + 100])
def test_bulk_data_that_arrives_together_is_taken_as_one(cut: int) -> None:
    payloads = [bytes([number]) * size for number, size in enumerate((JOINED_DATA + 5, JOINED_DATA + 5, JOINED_DATA))]
    data = b"".join(encode_frame(Kind.STDIN, 1, payload) for payload in payloads)
    decoder = FrameDecoder(no_check)
    found = [*decoder.frames(data[:cut]), *decoder.frames(data[cut:])]
    assert b"".join(payload for _, _, payload in found) == b"".join(payloads)
    assert len(found) == (1 if cut <= FRAME_HEADER_SIZE else 2)
    assert {(kind, channel) for kind, channel, _ in found} == {(Kind.STDIN, 1)}


@given(st.lists(st.integers(0, 9000), max_size=12))
def test_bulk_data_is_passed_on_as_it_arrives_and_whole_frames_are_not_parted(sizes: list[int]) -> None:
    message, small, bulk = b"m" * 20_000, b"s" * 100, b"b" * JOINED_DATA
    data = encode_frame(1, 0, message) + encode_frame(2, 1, bulk) + encode_frame(2, 1, small) + encode_frame(1, 0, b"")
    decoder = FrameDecoder(no_check)
    at = 0
    found: Frames = []
    for chunk in chunks(data, sizes):
        at += len(chunk)
        found += decoder.frames(chunk)
        begin = 2 * FRAME_HEADER_SIZE + len(message)
        passed = sum(len(payload) for kind, _, payload in found if kind == Kind.STDIN and payload != small)
        assert passed == min(max(0, at - begin), len(bulk))
        if begin < at < begin + len(bulk):
            assert decoder.waits
            assert decoder.incomplete == FRAME_HEADER_SIZE + len(bulk)
    assert found[0] == (1, 0, message)
    assert found[-2:] == [(2, 1, small), (1, 0, b"")]


@pytest.mark.parametrize(
    "second",
    [
        encode_frame(Kind.STDIN, 1, bytes(JOINED_DATA - 1)),  # perhaps a key
        encode_frame(Kind.STDIN, 1, bytes(JOINED_DATA + 1)),  # perhaps longer than is allowed
        encode_frame(Kind.STDIN, 2, bytes(JOINED_DATA)),
        encode_frame(Kind.STDERR, 1, bytes(JOINED_DATA)),
        encode_frame(Kind.MESSAGE, 1, bytes(JOINED_DATA)),
    ],
)
def test_frames_that_differ_are_never_joined(second: bytes) -> None:
    first = encode_frame(Kind.STDIN, 1, bytes(JOINED_DATA))
    assert len(list(FrameDecoder(no_check).frames(first + second))) == 2
    messages = encode_frame(Kind.MESSAGE, 1, bytes(JOINED_DATA)) * 2
    assert len(list(FrameDecoder(no_check).frames(messages))) == 2


def test_frames_are_encoded_as_specified() -> None:
    assert encode_frame(3, 1, b"hello") == bytes.fromhex("0000050300000001") + b"hello"
    assert encode_header(255, MAX_CHANNEL, MAX_PAYLOAD) == b"\xff" * 8
    assert decode_frames(encode_frame(4, MAX_CHANNEL, b"")) == [(4, MAX_CHANNEL, b"")]


@pytest.mark.parametrize("size", [1, 100])
def test_ten_times_the_frame_costs_ten_times_as_much_in_chunks_of_any_size(size: int) -> None:
    def decode(data: bytes) -> None:
        decoder = FrameDecoder(no_check)
        found = [each for at in range(0, len(data), size) for each in decoder.frames(data[at : at + size])]
        assert sum(len(payload) for _, _, payload in found) == len(data) - FRAME_HEADER_SIZE

    assert_linear(decode, lambda n: encode_frame(Kind.MESSAGE, 1, bytes(n)), 3000 * size)
    assert_linear(decode, lambda n: encode_frame(Kind.STDOUT, 1, bytes(n)), 3000 * size)


@pytest.mark.parametrize(("size", "count"), [(1, 2000), (JOINED_DATA, 20)])
def test_ten_times_the_frames_cost_ten_times_as_much(size: int, count: int) -> None:
    frame = encode_frame(2, 1, bytes(size))
    assert_linear(lambda data: list(FrameDecoder(no_check).frames(data)), lambda n: frame * n, count)
