"""A record arrives whole or is counted as dropped, and its writer never waits."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.forwards.records import (
    MAX_RECORD,
    MAX_RECORD_TEXT,
    MAX_WAITING_RECORDS,
    FlowRecord,
    RecordWriter,
)

RECORD = FlowRecord("connect", "db:5432", "10.0.0.5:5432", "127.0.0.1:40000", 5, 7, 1.5, "ended")
texts = st.text(max_size=MAX_RECORD_TEXT)
seconds = st.floats(0, 1e9)
counts = st.integers(0, (1 << 63) - 1)


@given(
    st.builds(
        FlowRecord,
        st.sampled_from(["connect", "accept", "listen"]),
        texts,
        texts,
        texts,
        counts,
        counts,
        seconds,
        message=texts,
    )
)
def test_a_record_is_read_as_it_was_written(record: FlowRecord) -> None:
    packed = record.pack()
    assert len(packed) <= MAX_RECORD
    assert FlowRecord.unpack(packed) == record


def test_the_longest_texts_fit_one_message() -> None:
    long = "\x01" * 1000
    packed = FlowRecord("listen", long, long, long, (1 << 63) - 1, (1 << 63) - 1, 1e9, "denied", long).pack()
    assert len(packed) <= MAX_RECORD
    assert FlowRecord.unpack(packed).target == long[:MAX_RECORD_TEXT]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"target": 7},
        {"target": "x" * (MAX_RECORD_TEXT + 1)},
        {"from_client": -1},
        {"from_client": True},
        {"to_client": 1 << 63},
        {"seconds": 1},
        {"seconds": -1.0},
        {"seconds": float("nan")},
    ],
)
def test_nonsense_is_no_record(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a record"):
        FlowRecord.unpack(json.dumps(list((RECORD._asdict() | change).values())).encode())


@pytest.mark.parametrize("packed", [b"", b"{}", b"[]", b"\xff", b"[" * 5000, b'["connect"]'])
def test_what_is_no_list_of_the_fields_is_none_either(packed: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        FlowRecord.unpack(packed)


class Ends:
    def __init__(self) -> None:
        self.core, self.worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.core.setblocking(False)
        self.dropped = 0

    def writer(self) -> RecordWriter:
        return RecordWriter(self.worker, self._drop)

    def _drop(self) -> None:
        self.dropped += 1

    def received(self) -> int:
        count = 0
        while True:
            try:
                count += bool(FlowRecord.unpack(self.core.recv(MAX_RECORD)))
            except BlockingIOError:
                return count


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.core.close()
    made.worker.close()


async def test_what_the_core_does_not_take_waits_and_beyond_a_bound_is_dropped(ends: Ends) -> None:
    writer = ends.writer()
    for _ in range(5000):
        writer.write(RECORD)
    assert ends.dropped > 1000
    received = 0
    while received + ends.dropped < 5000:
        received += ends.received()
        await asyncio.sleep(0)
    assert received > MAX_WAITING_RECORDS
    writer.write(RECORD)
    assert ends.received() == 1


async def test_a_writer_whose_core_is_gone_drops_everything_and_goes_on(ends: Ends) -> None:
    writer = ends.writer()
    ends.core.close()
    for _ in range(3):
        writer.write(RECORD)
    writer.finish(0.01)
    assert ends.dropped == 3


async def test_at_its_end_a_writer_waits_for_the_core_but_not_for_long(ends: Ends) -> None:
    writer = ends.writer()
    for _ in range(MAX_WAITING_RECORDS):
        writer.write(RECORD)
    writer.finish(0.01)
    assert 0 < ends.dropped < MAX_WAITING_RECORDS
    assert ends.received() == MAX_WAITING_RECORDS - ends.dropped
    writer.write(RECORD)
    writer.finish(0.01)
    assert ends.received() == 1
