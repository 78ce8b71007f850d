"""A spool gives back what was written, at any offset that it still keeps, and says when there is room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.runs.spool import Spool


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=20), max_size=20),
    limits=st.lists(st.integers(min_value=1, max_value=30), min_size=1, max_size=10),
)
def test_what_is_read_in_any_pieces_is_what_was_written(chunks: list[bytes], limits: list[int]) -> None:
    spool = Spool(limit=1000)
    for chunk in chunks:
        spool.append(chunk)
    read, turn = b"", 0
    while data := spool.read(len(read), limits[turn % len(limits)]):
        assert len(data) <= limits[turn % len(limits)]
        read += data
        spool.release(len(read))
        turn += 1
    assert read == b"".join(chunks)
    assert spool.start == spool.end == len(read) == len(b"".join(chunks))


@given(chunks=st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=20), data=st.data())
def test_release_forgets_nothing_that_is_still_to_be_read(chunks: list[bytes], data: st.DataObject) -> None:
    spool, whole = Spool(limit=1000), b"".join(chunks)
    for chunk in chunks:
        spool.append(chunk)
    released = data.draw(st.integers(min_value=0, max_value=len(whole)))
    spool.release(released)
    assert spool.start <= released
    offset = data.draw(st.integers(min_value=spool.start, max_value=len(whole)))
    assert spool.read(offset, len(whole)) == whole[offset:]


@pytest.mark.parametrize("offset", [0, 4, 11])
def test_an_offset_that_is_not_kept_is_an_error(offset: int) -> None:
    spool = Spool(limit=100)
    spool.append(b"12345")
    spool.append(b"67890")
    spool.release(5)
    with pytest.raises(ValueError, match="5 to 10 are"):
        spool.read(offset, 1)


def test_it_is_full_at_its_limit_and_says_once_when_there_is_room() -> None:
    spool, room = Spool(limit=10), list[int]()
    spool.on_room = lambda: room.append(spool.start)
    filled = []
    for _ in range(2):
        spool.append(b"x" * 9)
        filled.append(spool.full)
    assert filled == [False, True]
    spool.release(8)
    assert room == []
    spool.release(9)
    assert room == [9]
    spool.release(18)
    assert room == [9]


def test_the_reader_is_told_of_output_and_of_the_end() -> None:
    spool, told = Spool(limit=10), list[tuple[int, bool]]()
    spool.on_output = spool.on_end = lambda: told.append((spool.end, spool.ended))
    spool.append(b"abc")
    spool.finish()
    assert told == [(3, False), (3, True)]


def test_a_discarding_spool_counts_and_keeps_nothing() -> None:
    spool, room = Spool(limit=10), list[int]()
    spool.on_room = lambda: room.append(spool.end)
    spool.append(b"x" * 10)
    spool.discard()
    assert room == [10]
    spool.append(b"y" * 1000)
    assert (spool.start, spool.end, spool.full) == (1010, 1010, False)
    assert spool.read(1010, 100) == b""
