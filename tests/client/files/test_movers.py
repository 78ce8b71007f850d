"""What transfers on this machine: a sender of paths and open files, or a receiver to one."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from farhand_client.files.movers import receiving, sending
from farhand_client.files.places import OpenFile
from farhand_files.events import Event, Finished, Totals
from farhand_files.options import TransferOptions
from farhand_files.stream import Cancelled, StreamEnded
from tests.support.processes import own_descriptors
from tests.support.transferring import collecting


class End:
    """One end of two pipes."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading = reading
        self.writing = writing

    def readinto(self, buffer: memoryview) -> int:
        return os.readv(self.reading, [buffer])

    def write(self, data: bytes | memoryview) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self.writing, left) :]

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


def transfer(
    source: bytes | OpenFile, destination: bytes | OpenFile, base: Path, *, into: bool = False
) -> tuple[Totals, list[Event]]:
    """Transfer between two movers of this process; return the totals of the receiver, and the sender's events."""
    (there, back), options = (os.pipe(), os.pipe()), TransferOptions("put", (b"x",), into=into)
    here, other = End(back[0], there[1]), End(there[0], back[1])
    events: list[Event] = []
    sender = sending([source], os.fsencode(base))(options, here, collecting(events))
    receiver = receiving(destination, os.fsencode(base))(options, other, lambda event: None)
    thread = threading.Thread(target=sender.run)
    thread.start()
    totals = receiver.run()
    thread.join(20)
    here.close()
    other.close()
    return totals, events


def open_descriptors() -> int:
    return len(own_descriptors())


def test_relative_paths_begin_where_the_caller_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    totals, events = transfer(b"a", b"b", tmp_path)
    assert (totals.files, totals.bytes) == (1, 7)
    assert (tmp_path / "b").read_text() == "content"
    assert any(isinstance(event, Finished) for event in events)


def test_open_files_are_used_and_stay_open(tmp_path: Path) -> None:
    with (tmp_path / "b").open("wb") as file:
        reading, writing = os.pipe()
        os.write(writing, b"from a pipe")
        os.close(writing)
        before = open_descriptors()
        totals, events = transfer(OpenFile(reading, b"stdin"), OpenFile(file.fileno(), b"b"), tmp_path)
        assert open_descriptors() <= before, "the duplicates are closed"
        assert (totals.files, totals.bytes) == (1, 11)
        assert [event.path for event in events if isinstance(event, Finished)] == [b"stdin"]
        assert os.read(reading, 1) == b""
        os.close(reading)
    assert (tmp_path / "b").read_text() == "from a pipe"


def test_an_open_file_has_its_name_in_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    with (tmp_path / "a").open("rb") as file:
        transfer(OpenFile(file.fileno(), b"a"), b"made", tmp_path, into=True)
    assert (tmp_path / "made/a").read_text() == "content"


def test_a_mover_that_is_cancelled_closes_its_duplicates(tmp_path: Path) -> None:
    before = open_descriptors()
    with (tmp_path / "a").open("wb") as file:
        reading, writing = os.pipe()
        stream = End(reading, writing)
        receiver = receiving(OpenFile(file.fileno(), b"a"), b"/")(
            TransferOptions("get", (b"x",)), stream, lambda _: None
        )
        receiver.cancel()
        os.close(writing)
        with pytest.raises((Cancelled, StreamEnded)):
            receiver.run()
        os.close(reading)
    assert open_descriptors() <= before
