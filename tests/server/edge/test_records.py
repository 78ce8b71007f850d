"""Records are counted right, however the stream is divided."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.edge.records import RECORD_HEADER_SIZE, RecordCounter


def stream(sizes: list[int]) -> bytes:
    return b"".join(b"\x17\x03\x03" + size.to_bytes(2, "big") + b"\xff" * size for size in sizes)


@pytest.mark.parametrize(
    ("data", "most", "expected"),
    [
        (b"", 1, (0, 0)),
        (b"\x17\x03\x03\0", 1, (4, 0)),
        (stream([0]), 1, (5, 1)),
        (stream([3])[:-1], 1, (7, 0)),
        (stream([3]), 1, (8, 1)),
        (stream([3, 4]), 1, (8, 1)),
        (stream([3, 4]), 2, (17, 2)),
        (stream([3, 4]) + b"\x17", 3, (18, 2)),
    ],
)
def test_the_bytes_to_use_end_with_the_last_record_that_may_be_used(
    data: bytes, most: int, expected: tuple[int, int]
) -> None:
    assert RecordCounter().take(memoryview(data), most) == expected


@given(
    st.lists(st.one_of(st.integers(0, 3), st.integers(0, 0x1FF)), max_size=12),  # lengths of one byte and of two
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
    st.integers(1, 4),
)
def test_the_ends_found_are_those_of_the_records_however_the_stream_is_divided(
    sizes: list[int], chunks: list[int], most: int
) -> None:
    data, counter = memoryview(stream(sizes)), RecordCounter()
    ends = list(itertools.accumulate(RECORD_HEADER_SIZE + size for size in sizes))
    at = 0
    for chunk in itertools.cycle(chunks):
        if at == len(data):
            break
        used, ended = counter.take(data[at : at + chunk], most)
        assert 0 < used <= chunk
        assert ended <= most
        assert ended == sum(at < end <= at + used for end in ends)
        assert used == chunk or ended == most or at + used == len(data)
        at += used


@given(st.lists(st.one_of(st.integers(0, 3), st.integers(0, 0x1FF)), max_size=8), st.integers(0, 400))
def test_a_whole_record_is_found_in_one_step_and_anything_else_is_left_to_the_other_way(
    sizes: list[int], cut: int
) -> None:
    data = memoryview(stream(sizes))[: max(0, len(stream(sizes)) - cut)]
    quick, slow, at = RecordCounter(), RecordCounter(), 0
    while at < len(data):
        used, ended = slow.take(data[at:], 1)
        assert quick.whole(data, at) == (used if ended else 0)
        if not ended:
            assert quick.take(data[at:], 1) == (used, 0)
            assert quick.whole(data, at) == 0, "a part of a record was taken"
            break
        at += used
