"""A spool returns what was written from any offset that it still keeps, and makes its writer wait for the clients that
hold the run, and for no others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.runs.output.spool import (
    MAX_OFFSET,
    MERGE_SIZE,
    MIN_SPOOL,
    REREAD_SIZE,
    GoneSpool,
    MemorySpool,
    SpoolMemory,
)
from farhand_server.sharing import ShareBounds

MiB = 1 << 20


def new(limit: int = 4 * MiB, memory: int = 1 << 30) -> MemorySpool:
    return MemorySpool(limit, SpoolMemory(memory))


@given(
    chunks=st.lists(st.integers(min_value=1, max_value=3 * MERGE_SIZE), min_size=1, max_size=20),
    limits=st.lists(st.integers(min_value=1, max_value=100_000), min_size=1, max_size=10),
    hold=st.booleans(),
)
def test_reading_in_any_chunks_returns_the_written_bytes(chunks: list[int], limits: list[int], hold: bool) -> None:
    spool, whole = new(), bytearray()
    for number, length in enumerate(chunks):
        chunk = bytes([number]) * length
        spool.append(chunk)
        whole += chunk
    read, step = b"", 0
    while data := spool.read(len(read), limits[step % len(limits)]):
        assert len(data) <= limits[step % len(limits)]
        read += data
        if hold:
            spool.hold(len(read))
        step += 1
    assert read == bytes(whole)
    assert spool.end == len(read)


@given(chunks=st.lists(st.integers(min_value=1, max_value=2 * MERGE_SIZE), min_size=1, max_size=20), data=st.data())
def test_unacknowledged_output_and_a_tail_of_the_rest_are_kept(chunks: list[int], data: st.DataObject) -> None:
    spool, whole = new(), b"".join(bytes([number]) * length for number, length in enumerate(chunks))
    at = 0
    for length in chunks:
        spool.append(whole[at : at + length])
        at += length
    acknowledged = data.draw(st.integers(min_value=0, max_value=len(whole)))
    spool.hold(acknowledged)
    assert spool.start <= max(0, min(acknowledged, len(whole) - REREAD_SIZE))
    assert spool.size <= max(len(whole) - acknowledged, REREAD_SIZE) + 2 * MERGE_SIZE
    offset = data.draw(st.integers(min_value=spool.start, max_value=len(whole)))
    assert spool.read(offset, len(whole)) == whole[offset:]


@pytest.mark.parametrize("offset", [0, MiB - REREAD_SIZE - 1, MiB + 1])
def test_an_offset_that_is_not_kept_is_an_error(offset: int) -> None:
    spool = new()
    for _ in range(MiB // MERGE_SIZE):
        spool.append(bytes(MERGE_SIZE))
    spool.hold(MiB)
    with pytest.raises(ValueError, match=f"{MiB - REREAD_SIZE} to {MiB} are"):
        spool.read(offset, 1)


def test_a_spool_is_full_at_its_limit_until_the_holders_acknowledge() -> None:
    spool, room = new(limit=2 * MiB), list[int]()
    spool.on_room = lambda: room.append(spool.held)
    states = []
    for count in (2 * MiB - 1, 1):
        spool.append(bytes(count))
        states.append(spool.full)
    spool.hold(0)
    assert (states, room) == ([False, True], [])
    spool.hold(1)
    assert (room, spool.full) == ([1], False)


def test_each_spool_keeps_its_minimum_when_the_memory_of_all_is_used_up() -> None:
    memory = SpoolMemory(3 * MiB)
    hog, other = MemorySpool(8 * MiB, memory), MemorySpool(8 * MiB, memory)
    hog.append(bytes(3 * MiB))
    assert hog.full
    states = []
    for count in (MIN_SPOOL - 1, 1):
        other.append(bytes(count))
        states.append(other.full)
    assert states == [False, True]


def test_a_writer_that_waited_for_the_memory_of_others_continues_at_the_next_acknowledgement() -> None:
    memory = SpoolMemory(3 * MiB)
    hog, other = MemorySpool(8 * MiB, memory), MemorySpool(8 * MiB, memory)
    room = list[int]()
    other.on_room = lambda: room.append(other.held)
    hog.append(bytes(2 * MiB))
    other.append(bytes(2 * MiB))
    assert other.full
    hog.close()
    other.hold(1)
    assert room == [1]


def test_a_stream_that_no_holder_wants_never_fills() -> None:
    spool = new(limit=2 * MiB)
    spool.hold(MAX_OFFSET)
    states = set()
    for _ in range(100):
        spool.append(bytes(64 << 10))
        states.add(spool.full)
        assert spool.size <= REREAD_SIZE + (64 << 10)
    spool.hold(spool.end)
    assert states == {False}
    spool.append(bytes(2 * MiB))
    assert spool.full


def test_a_spool_that_is_freed_counts_and_keeps_a_tail() -> None:
    spool, room = new(limit=MiB), list[int]()
    spool.on_room = lambda: room.append(spool.end)
    spool.append(bytes(MiB))
    assert spool.full
    spool.free()
    assert room == [MiB]
    spool.hold(0)
    spool.append(bytes(2 * MiB))
    assert (spool.end, spool.full) == (3 * MiB, False)


def test_listeners_are_notified_of_output_and_once_of_the_end_and_may_remove_themselves() -> None:
    spool, calls = new(), list[tuple[str, int, bool]]()

    def once() -> None:
        calls.append(("once", spool.end, spool.ended))
        spool.listeners.remove(once)

    spool.listeners += [once, lambda: calls.append(("always", spool.end, spool.ended))]
    spool.append(b"abc")
    spool.finish()
    spool.finish()
    assert calls == [("once", 3, False), ("always", 3, False), ("always", 3, True)]


def test_a_closed_spool_releases_its_memory() -> None:
    memory = SpoolMemory(1 << 30)
    spool = MemorySpool(4 * MiB, memory)
    spool.append(bytes(MiB))
    assert memory.used == MiB
    spool.close()
    assert (memory.used, spool.start, spool.end, spool.read(MiB, 1)) == (0, MiB, MiB, b"")


def test_only_the_length_of_a_deleted_spool_is_known() -> None:
    spool = GoneSpool(7)
    assert (spool.start, spool.end, spool.ended, spool.read(7, 10)) == (7, 7, True, b"")
    with pytest.raises(ValueError, match="nothing is"):
        spool.read(0, 1)


def test_an_account_with_a_bound_of_memory_has_no_more_than_that() -> None:
    memory = SpoolMemory(1 << 30)
    memory.bounds.use(lambda user, groups: ShareBounds(memory=4 * MiB))
    memory.bounds.add(50_001, "ada", frozenset())
    ada, bob = (MemorySpool(16 * MiB, memory.of(uid)) for uid in (50_001, 50_002))
    for spool in (ada, bob):
        spool.append(bytes(5 * MiB))
    assert (ada.full, bob.full) == (True, False)


def test_memory_that_one_account_uses_up_leaves_others_their_part() -> None:
    memory = SpoolMemory(12 * MiB)
    ada, bob, root = (MemorySpool(16 * MiB, memory.of(uid)) for uid in (50_001, 50_002, 0))
    while not ada.full:
        ada.append(bytes(MiB))
    assert (memory.used, memory.by_user.of(50_001)) == (8 * MiB, 8 * MiB)
    bob.append(bytes(2 * MiB))
    assert not bob.full
    root.append(bytes(MiB))
    assert not root.full
    ada.close()
    assert (memory.used, memory.by_user.of(50_001)) == (3 * MiB, 0)
