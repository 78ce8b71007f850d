"""What a core hands over is read back whole; what this program does not understand it refuses, with the reason."""

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

STATE = Snapshot(program="0.1.0", left=12.5, lock=3, local=4, edges=5, listening=(6, 7), edge=4711, runs=())


@contextmanager
def file(data: bytes) -> Iterator[int]:
    """A file without a name that holds this."""
    fd = os.memfd_create("state")
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)


def whole() -> bytes:
    """The state as one program writes it."""
    fd = SnapshotWriter().write(STATE)
    try:
        return os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)


@given(st.lists(st.lists(st.binary(max_size=200), max_size=5), max_size=8))
def test_bytes_put_aside_come_back(pieces: list[list[bytes]]) -> None:
    blobs = SnapshotWriter()
    places: list[Blob] = [blobs.put(each) for each in pieces]
    received = ReceivedSnapshot.read(blobs.write(STATE))
    try:
        assert received.snapshot == STATE
        assert [received.get(place) for place in places] == [b"".join(each) for each in pieces]
    finally:
        received.close()


def test_for_a_trial_no_bytes_are_copied() -> None:
    blobs = SnapshotWriter(counting=True)
    assert blobs.put([b"x" * 1000, b"y"]) == (0, 1001)
    assert blobs.put([b"z"]) == (1001, 1)
    fd = blobs.write(STATE)
    assert os.fstat(fd).st_size < 1000
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_every_descriptor_that_has_to_stay_open_is_named() -> None:
    assert list(STATE.descriptors()) == [3, 4, 5, 6, 7]


NEWER = whole().replace(b"farhand-upgrade 1", b"farhand-upgrade 2", 1)
TEXT = whole().partition(b"\n")[2]


def framed(text: bytes) -> bytes:
    """Another JSON text, as it would be written."""
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
    ],
)
def test_what_is_not_understood_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with file(data) as fd, pytest.raises(SnapshotError) as refused:
        ReceivedSnapshot.read(fd)
    assert re.search(reason, str(refused.value))


def test_a_closed_descriptor_is_refused_with_the_reason() -> None:
    with file(b"") as fd:
        pass
    with pytest.raises(SnapshotError, match="cannot be read from descriptor"):
        ReceivedSnapshot.read(fd)
