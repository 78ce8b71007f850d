"""Frames: what is encoded is decoded to the same; what is cut off, too long or out of range is refused."""

from __future__ import annotations

import struct
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_files import wire
from tests.support.transfer_frames import ANY_FRAME, FRAMES

ENTRY = wire.Entry(1, wire.REGULAR, 0o644, 2, 3, 4, 5, b"path", b"target", b"")
TABLE = wire.FileTable(1, b"d", b"\x01\xa4" * 2, bytes(16), bytes(16), b"a\0b")
D = b"d" * 32


def decoded(encoded: bytes) -> wire.Frame:
    size, kind = wire.check_header(encoded[: wire.TRANSFER_HEADER.size])
    assert size == len(encoded) - wire.TRANSFER_HEADER.size
    return wire.decode(kind, memoryview(encoded)[wire.TRANSFER_HEADER.size :])


def test_every_frame_has_a_kind_and_is_tested() -> None:
    assert set(get_args(wire.Frame)) == FRAMES.keys()
    assert len(wire.TransferFrame) == len(FRAMES)


@given(ANY_FRAME)
def test_what_is_encoded_is_decoded_to_the_same(frame: wire.Frame) -> None:
    assert decoded(wire.encode(frame)) == frame


@pytest.mark.parametrize("kind", FRAMES, ids=lambda kind: kind.__name__)
def test_a_frame_that_is_cut_off_is_refused_or_another_valid_one(kind: type) -> None:
    @given(FRAMES[kind])
    def check(frame: Any) -> None:
        encoded = wire.encode(frame)
        number = encoded[4]
        payload = memoryview(encoded)[5:]
        for end in range(len(payload)):
            try:
                shorter: Any = wire.decode(number, payload[:end])
            except wire.WireError:
                continue
            assert frame[:-1] == shorter[:-1]  # the last field of bytes is shorter: the header says where a frame ends
            assert bytes(frame[-1]).startswith(bytes(shorter[-1]))

    check()


@pytest.mark.parametrize(
    "frame",
    [
        *(wire.Listed(1, 1), wire.Walked(1, 2, 1), wire.Skip(1), wire.Restart(1), wire.Finish()),
        *(wire.Hole(1, 2, 3), wire.Copy(1, 2, 3, 4), wire.Want(1, wire.BASIS, 1, wire.pack_chunks([(1, D)]))),
        *(wire.FileDone(1, D), wire.FileEnd(1, 2, 3, 4, D), wire.FileEnd(1, 2, 3, 4, D, D)),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_trailing_bytes_are_refused_where_no_bytes_belong(frame: wire.Frame) -> None:
    encoded = wire.encode(frame)
    with pytest.raises(wire.WireError):
        wire.decode(encoded[4], memoryview(encoded[5:] + b"x"))


@pytest.mark.parametrize("size", [7, 100, 0xFFFFFFFF])
def test_a_field_that_is_longer_than_its_frame_is_refused(size: int) -> None:
    encoded = bytearray(wire.encode(ENTRY))
    at = encoded.index(b"path") - 4
    struct.pack_into(">I", encoded, at, size)
    with pytest.raises(wire.WireError, match="Entry: it ends in the middle of a field"):
        wire.decode(wire.TransferFrame.ENTRY, memoryview(encoded)[5:])


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (ENTRY._replace(kind=4), "no kind 4"),
        (ENTRY._replace(mode=0o10000), "0o10000 is no mode"),
        (ENTRY._replace(size=-2), "a size of -2 bytes"),
        (ENTRY._replace(kind=wire.HARDLINK, target=b""), "a hard link to no entry"),
        (ENTRY._replace(kind=wire.HARDLINK, target=b"-1"), "a hard link to no entry"),
        (ENTRY._replace(kind=wire.HARDLINK, target="²".encode()), "a hard link to no entry"),
        (ENTRY._replace(kind=wire.HARDLINK, target=b"12345678901"), "a hard link to no entry"),
        (wire.Skip(1, 0), "Skip: 0 files"),
        (wire.Skip(1, wire.MAX_UNANSWERED + 1), "Skip: 2049 files"),
        (wire.Want(1, 3, 1), "an unknown basis"),
        (wire.Want(1, wire.PARTIAL, 2), "an unknown basis"),
        (wire.Want(1, wire.PARTIAL, 1, b"x" * 35), "35 bytes of digests"),
        (wire.Want(1, wire.PARTIAL, 1, bytes(36 * (wire.MAX_DIGESTS + 1))), "589860 bytes of digests"),
        (wire.Data(1, 0, b""), "Data: 0 bytes"),
        (wire.Data(1, 0, bytes(wire.CHUNK + 1)), "Data: 1048577 bytes"),
        (wire.FileEnd(1, 2, 3, 4, D[1:]), "no digest"),
        (wire.FileEnd(1, 2, 3, 4, D, D[1:]), "no digest"),
        (wire.FileDone(1, b""), "no digest"),
        (TABLE._replace(modes=b"", sizes=b"", mtimes=b""), "0 files; 1 to 512 are allowed"),
        (TABLE._replace(modes=bytes(1026)), "513 files; 1 to 512 are allowed"),
        (TABLE._replace(modes=bytes(5)), "columns are not equally long"),
        (TABLE._replace(sizes=bytes(24)), "columns are not equally long"),
        (TABLE._replace(mtimes=bytes(15)), "columns are not equally long"),
        (TABLE._replace(names=b"a"), "no 2 names"),
        (TABLE._replace(names=b"a\0b\0"), "no 2 names"),
        (TABLE._replace(modes=b"\x01\xa4\x10\x00"), "no mode"),
        (TABLE._replace(sizes=bytes(8) + b"\x80" + bytes(7)), "a size beyond 63 bits"),
        (wire.Listed(1, 2), "neither complete nor incomplete"),
        (wire.Walked(1, 1, 2), "neither complete nor incomplete"),
    ],
)
def test_what_is_out_of_range_is_refused_and_says_what(frame: wire.Frame, what: str) -> None:
    with pytest.raises(wire.WireError, match=what):
        decoded(wire.encode(frame))


@given(st.sampled_from(list(wire.TransferFrame)), st.binary(max_size=120))
def test_any_bytes_are_a_frame_or_refused(kind: int, payload: bytes) -> None:
    try:
        frame = wire.decode(kind, memoryview(payload))
    except wire.WireError:
        return
    assert wire.encode(frame)[5:] == payload


def test_data_are_not_copied() -> None:
    buffer = bytearray(wire.encode(wire.Data(1, 2, b"abc"))[5:])
    frame = wire.decode(wire.TransferFrame.DATA, memoryview(buffer))
    assert isinstance(frame, wire.Data)
    buffer[-1:] = b"X"
    assert bytes(frame.data) == b"abX"
    head, data = wire.encode_data(1, 2, b"abc")
    assert head + bytes(data) == wire.encode(wire.Data(1, 2, b"abc"))


@pytest.mark.parametrize("kind", [0, len(wire.TransferFrame) + 1, 255])
def test_an_unknown_kind_is_refused_from_the_header(kind: int) -> None:
    with pytest.raises(wire.WireError, match=f"no frame of kind {kind}"):
        wire.check_header(b"\0\0\0\0" + bytes([kind]))


def test_a_payload_that_is_too_large_is_refused_from_the_header_and_not_made() -> None:
    header = wire.TRANSFER_HEADER.pack(wire.MAX_TRANSFER_PAYLOAD + 1, wire.TransferFrame.DATA)
    with pytest.raises(wire.WireError, match="a payload of 1114113 bytes was announced; the maximum is 1114112"):
        wire.check_header(header)
    assert wire.check_header(wire.TRANSFER_HEADER.pack(wire.MAX_TRANSFER_PAYLOAD, 9)) == (wire.MAX_TRANSFER_PAYLOAD, 9)
    with pytest.raises(ValueError, match="the maximum is 1114112"):
        wire.encode(wire.Summary(bytes(wire.MAX_TRANSFER_PAYLOAD + 1)))


def test_the_largest_frames_of_each_kind_fit() -> None:
    wire.encode(wire.Data(1, 0, bytes(wire.CHUNK)))
    wire.encode(wire.Want(1, wire.BASIS, 1, bytes(wire.CHUNK_SIZE * wire.MAX_DIGESTS)))
    wire.encode(ENTRY._replace(path=bytes(wire.MAX_PATH), target=bytes(wire.MAX_PATH)))


@given(st.lists(st.tuples(st.binary(max_size=9).filter(lambda name: b"\0" not in name), st.binary(max_size=9))))
def test_extended_attributes_are_packed_and_unpacked(xattrs: list[tuple[bytes, bytes]]) -> None:
    assert wire.unpack_xattrs(wire.pack_xattrs(xattrs)) == xattrs


@pytest.mark.parametrize(
    ("packed", "what"),
    [
        (b"\0\0\0", "in the middle of a length"),
        (b"\0\0\0\x02a", "in the middle of a value"),
        (b"\0\0\0\x01a", "without a value"),
        (wire.pack_xattrs([(b"user.a", b"\0"), (b"user.\0", b"")]), "contains a NUL"),
        (b"\xff\xff\xff\xffa", "in the middle of a value"),
    ],
)
def test_broken_extended_attributes_are_refused(packed: bytes, what: str) -> None:
    with pytest.raises(wire.WireError, match=what):
        wire.unpack_xattrs(packed)


@given(st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), st.binary(min_size=32, max_size=32))))
def test_lengths_and_digests_are_packed_and_unpacked(chunks: list[tuple[int, bytes]]) -> None:
    packed = wire.pack_chunks(chunks)
    assert len(packed) == len(chunks) * wire.CHUNK_SIZE
    assert list(wire.unpack_chunks(packed)) == chunks
