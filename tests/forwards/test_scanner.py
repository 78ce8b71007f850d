"""Frames are found however the bytes are split, and large payloads are not stored."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_forwards.scanner import FrameScanner
from farhand_forwards.wire import FORWARD_HEADER

FRAMES = st.lists(st.tuples(st.integers(1, 10), st.integers(0, 9), st.binary(max_size=40)), max_size=12)
IN_PARTS = 5


def encoded(frames: list[tuple[int, int, bytes]]) -> bytes:
    return b"".join(FORWARD_HEADER.pack(kind, flow, len(payload)) + payload for kind, flow, payload in frames)


@given(FRAMES, st.lists(st.integers(0, 500), max_size=20))
def test_any_split_of_the_bytes_yields_the_same_frames(frames: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    judged = []

    def begin(kind: int, flow: int, size: int) -> bool:
        judged.append((kind, flow, size))
        return kind == IN_PARTS

    scanner = FrameScanner(begin)
    data = encoded(frames)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    found: list[tuple[int, int, bytes]] = []
    for start, end in pairwise(places):
        for kind, flow, payload in scanner.frames(data[start:end]):
            if kind == IN_PARTS:
                assert payload
            found.append((kind, flow, bytes(payload)))
    assert not scanner.incomplete
    assert judged == [(kind, flow, len(payload)) for kind, flow, payload in frames]
    whole = [frame for frame in found if frame[0] != IN_PARTS]
    assert whole == [frame for frame in frames if frame[0] != IN_PARTS]
    parts = b"".join(payload for kind, _, payload in found if kind == IN_PARTS)
    assert parts == b"".join(payload for kind, _, payload in frames if kind == IN_PARTS)


def test_a_frame_is_refused_from_its_header_alone() -> None:
    def begin(kind: int, flow: int, size: int) -> bool:
        raise ValueError("refused")

    scanner = FrameScanner(begin)
    header = FORWARD_HEADER.pack(1, 2, 1 << 31)
    assert list(scanner.frames(header[:-1])) == []
    assert scanner.incomplete
    with pytest.raises(ValueError, match="refused"):
        list(scanner.frames(header[-1:]))


def test_the_end_in_the_middle_of_a_payload_is_noticed() -> None:
    scanner = FrameScanner(lambda kind, flow, size: True)
    assert [bytes(payload) for _, _, payload in scanner.frames(FORWARD_HEADER.pack(5, 1, 4) + b"abc")] == [b"abc"]
    assert scanner.incomplete
    assert [bytes(payload) for _, _, payload in scanner.frames(b"d")] == [b"d"]
    assert not scanner.incomplete
