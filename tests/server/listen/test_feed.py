"""Records of the verdict feed, whole and in parts."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network

import pytest

from farhand_server.listen.feed import (
    RECORD_SIZE,
    FromCore,
    FromEdge,
    RecordReader,
    decode_source,
    encode_record,
    encode_source,
)
from farhand_server.sources import Source

RECORDS = [(FromCore.LOGGED_IN, b"a" * 16), (FromCore.HEARTBEAT, bytes(16)), (FromCore.TICKET_KEY, b"k" * 16)]
BYTES = b"".join(encode_record(kind, value) for kind, value in RECORDS)


@pytest.mark.parametrize("size", range(1, 3 * RECORD_SIZE + 1))
def test_records_are_read_whatever_chunks_they_arrive_in(size: int) -> None:
    reader = RecordReader(FromCore)
    found = [record for at in range(0, len(BYTES), size) for record in reader.read(BYTES[at : at + size])]
    assert found == RECORDS


def test_a_record_of_an_unknown_kind_is_an_error_after_those_before_it() -> None:
    records = RecordReader(FromEdge).read(encode_record(FromEdge.READS_ALL) + bytes(16) + b"\x63")
    assert next(records) == (FromEdge.READS_ALL, bytes(16))
    with pytest.raises(ValueError, match="99"):
        next(records)


def test_a_value_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes, not 3"):
        encode_record(FromCore.REFUSED, b"abc")


@pytest.mark.parametrize("source", [IPv4Address("192.0.2.1"), IPv6Network("2001:db8:0:7::/64")])
def test_a_source_is_reported_as_it_is(source: Source) -> None:
    assert decode_source(encode_source(source)) == source
