"""A snapshot is read back completely, or refused with the reason if this program does not understand it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.runs.snapshots import Blob
from farhand_server.upgrade.snapshot import ReceivedSnapshot, Snapshot, SnapshotError, SnapshotWriter

SNAPSHOT = Snapshot(program="0.1.0", left=12.5, lock=3, local=4, edges=5, listening=(6, 7), edge=4711, runs=())


@contextmanager
def file(data: bytes) -> Iterator[int]:
    """Return an unnamed file with this content."""
    fd = os.memfd_create("snapshot")
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)


def whole() -> bytes:
    """A snapshot as the old program writes it."""
    fd = SnapshotWriter().write(SNAPSHOT)
    try:
        return os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)


@given(st.lists(st.lists(st.binary(max_size=200), max_size=5), max_size=8))
def test_bytes_are_read_back_whole(chunks: list[list[bytes]]) -> None:
    blobs = SnapshotWriter()
    places: list[Blob] = [blobs.put(each) for each in chunks]
    received = ReceivedSnapshot.read(blobs.write(SNAPSHOT))
    try:
        assert received.snapshot == SNAPSHOT
        assert [received.get(place) for place in places] == [b"".join(each) for each in chunks]
    finally:
        received.close()


def test_a_trial_copies_no_bytes() -> None:
    blobs = SnapshotWriter(counting=True)
    assert blobs.put([b"x" * 1000, b"y"]) == (0, 1001)
    assert blobs.put([b"z"]) == (1001, 1)
    fd = blobs.write(SNAPSHOT)
    assert os.fstat(fd).st_size < 1000
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_every_descriptor_that_has_to_stay_open_is_listed() -> None:
    assert list(SNAPSHOT.descriptors()) == [3, 4, 5, 6, 7]


NEWER = whole().replace(b"farhand-upgrade 1", b"farhand-upgrade 2", 1)
TEXT = whole().partition(b"\n")[2]


def framed(text: bytes) -> bytes:
    """Return the JSON text in a file of the snapshot format."""
    return b"farhand-upgrade 1 %d\n%s" % (len(text), text)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is not the snapshot of a farhandd"),
        (b"#!/bin/sh\n", "is not the snapshot of a farhandd"),
        (b"farhand-upgrade x 3\n{}", "is not the snapshot of a farhandd"),
        (NEWER, "snapshots of version 2, and the new one reads version 1; stop the service and start it again instead"),
        (whole()[:-1], "cannot be read from descriptor \\d+: it is truncated"),
        (framed(b"{}"), "does not understand: program: Field required"),
        (framed(TEXT.replace(b'"left"', b'"right"')), "does not understand: "),
        (framed(TEXT.replace(b"4711", b'"4711"')), "does not understand: edge: Input should be a valid integer"),
        (framed(TEXT.replace(b'"lock":3', b'"lock":-3')), "does not understand: lock: "),
        (framed(TEXT.replace(b'_version":0', b'_version":9999')), "tables have version 9999, .*; install a later one"),
    ],
)
def test_an_unknown_snapshot_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with file(data) as fd, pytest.raises(SnapshotError) as refused:
        ReceivedSnapshot.read(fd)
    assert re.search(reason, str(refused.value))


def test_the_snapshot_of_an_earlier_program_need_not_say_what_tables_the_history_has() -> None:
    earlier = TEXT.replace(b',"history_version":0', b"")
    assert earlier != TEXT
    with file(framed(earlier)) as fd:
        assert ReceivedSnapshot.read(fd).snapshot == SNAPSHOT


def test_a_closed_descriptor_is_refused_with_the_reason() -> None:
    with file(b"") as fd:
        pass
    with pytest.raises(SnapshotError, match="cannot be read from descriptor"):
        ReceivedSnapshot.read(fd)
