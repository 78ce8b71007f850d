"""The records of the verdict feed, the connection on which core and edge report to each other. Without I/O.

A record has 17 bytes: a value of 16 bytes and its kind. Both sides belong to one version of Farhand, but for the time
of an upgrade. So the core writes the kinds that were added later only to an edge that has announced `READS_ALL`, and a
core that is older ignores what edges write.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Generic, TypeVar

from ..sources import Source, source_of

VALUE_SIZE: Final = 16
RECORD_SIZE: Final = VALUE_SIZE + 1

HEARTBEAT_INTERVAL: Final = 1.0
"""Seconds between two heartbeats, which show that the core's loop turns."""


class FromCore(IntEnum):
    """What the core reports, and what the value is."""

    LOGGED_IN = 1
    """The unique id of a client's connection, from its PROXY header."""
    REFUSED = 2
    """The unique id of a client's connection, from its PROXY header."""
    TICKET_KEY = 3
    """The key of tickets (`farhand_server.tickets`)."""
    HEARTBEAT = 4
    """A value of zeros, sent every `HEARTBEAT_INTERVAL` seconds."""


class FromEdge(IntEnum):
    """What an edge reports, and what the value is."""

    READS_ALL = 1
    """A value of zeros: the edge knows all kinds of this version."""
    REFUSING = 2
    """A source that is refused because of its debt: an IPv6 address, for IPv4 an IPv4-mapped one, for a network its
    first."""


_Kind = TypeVar("_Kind", FromCore, FromEdge)


def encode_record(kind: FromCore | FromEdge, value: bytes = bytes(VALUE_SIZE)) -> bytes:
    """Return a record. Raises ValueError unless the value has `VALUE_SIZE` bytes."""
    if len(value) != VALUE_SIZE:
        raise ValueError(f"a record's value has {VALUE_SIZE} bytes, not {len(value)}")
    return value + bytes([kind])


def encode_source(source: Source) -> bytes:
    """Return the value that stands for a source."""
    if isinstance(source, IPv4Address):
        return bytes(10) + b"\xff\xff" + source.packed
    return source.network_address.packed


def decode_source(value: bytes) -> Source:
    """Return the source that a value stands for."""
    return source_of(IPv6Address(value))


class RecordReader(Generic[_Kind]):
    """Splits what is received into records of the kinds of one side."""

    def __init__(self, kinds: type[_Kind]) -> None:
        self._kinds: type[_Kind] = kinds
        self._rest = b""

    def read(self, data: bytes) -> Iterator[tuple[_Kind, bytes]]:
        """Yield the records that are complete. Raises ValueError at one of an unknown kind."""
        data = self._rest + data
        whole = len(data) - len(data) % RECORD_SIZE
        self._rest = data[whole:]
        for offset in range(0, whole, RECORD_SIZE):
            value = data[offset : offset + VALUE_SIZE]
            yield self._kinds(data[offset + VALUE_SIZE]), value
