"""Received files are put in place in batches: their content first, then their names, then the report."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_files import wire
from farhand_files.commit import MAX_BATCHES, MAX_HANDED, Committer, Received
from farhand_files.durability import Durability
from farhand_files.opening import Area, Directory
from farhand_files.temporary import Leftovers, Temporary, create


class Recording:
    """A committer, and what it has reported and the system calls that it has made, in their order."""

    def __init__(self, directory: Directory, monkeypatch: pytest.MonkeyPatch, *, sync: bool = True) -> None:
        self.directory = directory
        self.calls: list[str] = []
        self.durability = Durability()
        self.durability.register(directory)
        self.committer = Committer(self.durability, sync, self._done, self._failed)
        self._patch = monkeypatch
        for name in ("rename", "fsync"):
            monkeypatch.setattr(os, name, self._recorded(name))

    def _recorded(self, name: str) -> object:
        real = getattr(os, name)

        def call(*arguments: object, **keywords: object) -> object:
            self.calls.append(name)
            return real(*arguments, **keywords)

        return call

    def _done(self, batch: list[Received]) -> None:
        self.calls += [f"done {each.number}" for each in batch]

    def _failed(self, received: Received, error: OSError) -> None:
        self.calls.append(f"failed {received.number} {error.errno}")

    def file(self, number: int, *, closed: bool = False, name: bytes = b"") -> Received:
        made = create(self.directory, name or b"%d" % number)
        os.write(made.fd, b"%d" % number)
        if closed:
            made.close()
        return Received(number, made, False, 1, b"", b"")


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recording]:
    with Area(None, b"/").open_directory(os.fsencode(tmp_path)) as directory:
        made = Recording(directory, monkeypatch)
        yield made
        made.committer.close()
        made.durability.close()


def test_a_file_is_durable_before_it_is_in_place_and_reported_after_that(recording: Recording, tmp_path: Path) -> None:
    recording.committer.put(recording.file(1))
    recording.committer.drain()
    assert recording.calls == ["fsync", "rename", "fsync", "done 1"]
    assert (tmp_path / "1").read_text() == "1"


def test_without_sync_nothing_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Area(None, b"/").open_directory(os.fsencode(tmp_path)) as directory:
        recording = Recording(directory, monkeypatch, sync=False)
        recording.committer.put(recording.file(1))
        recording.committer.touch(directory)
        recording.committer.close()
    assert recording.calls == ["rename", "done 1"]


def test_files_that_come_together_have_one_sync(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    sync = recording.durability.sync_files

    def wait(*arguments: object) -> None:
        begun.set()
        assert goes_on.wait(60)
        sync(*arguments)  # type: ignore[arg-type]  # those of sync_files

    monkeypatch.setattr(recording.durability, "sync_files", wait)
    count = MAX_HANDED * MAX_BATCHES
    recording.committer.put(recording.file(0))
    recording.committer.hand_over()
    assert begun.wait(60)
    for number in range(1, count):
        recording.committer.put(recording.file(number, closed=True))
    goes_on.set()
    recording.committer.drain()
    assert recording.calls.count("fsync") < 10
    assert recording.calls.count("rename") == count
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(str(number) for number in range(count))


def test_a_file_that_cannot_be_put_in_place_fails_alone(recording: Recording, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    for number in (1, 2):
        recording.committer.put(recording.file(number))
    recording.committer.drain()
    assert "failed 1 21" in recording.calls
    assert "done 2" in recording.calls
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_directory_that_is_not_durable_fails_all_that_was_renamed_there(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Directory) -> int:
        raise OSError(5, "EIO")

    monkeypatch.setattr(Directory, "readable", refuse)
    recording.committer.put(recording.file(1))
    recording.committer.drain()
    assert recording.calls == ["fsync", "rename", "failed 1 5"]


def test_what_was_made_in_a_directory_is_made_durable(recording: Recording) -> None:
    recording.committer.touch(recording.directory)
    recording.committer.drain()
    assert recording.calls == ["fsync"]


def test_a_failure_to_report_is_raised_where_the_next_file_is_put(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: list[Received]) -> None:
        raise BrokenPipeError

    committer = Committer(recording.durability, False, broken, lambda *_: None)
    committer.put(recording.file(1))
    with pytest.raises(BrokenPipeError):
        committer.drain()
    with pytest.raises(BrokenPipeError):
        committer.hand_over()
    committer.close()
    committer.close()


def test_closing_puts_in_place_what_is_complete(recording: Recording, tmp_path: Path) -> None:
    for number in range(20):
        recording.committer.put(recording.file(number))
    recording.committer.close()
    assert len([call for call in recording.calls if call.startswith("done")]) == 20


def test_a_file_is_locked_until_it_has_its_name(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    received = recording.file(1)
    taken: list[Temporary | None] = []
    real = Temporary.replace_target

    def take_first(temporary: Temporary) -> None:
        taken.append(Leftovers(recording.directory).take(b"1"))
        real(temporary)

    monkeypatch.setattr(Temporary, "replace_target", take_first)
    os.truncate(received.file.fd, wire.CHUNK)
    recording.committer.put(received)
    recording.committer.drain()
    assert taken[0] is not None, "a copy"
    assert taken[0].name != received.file.name
    assert received.file.fd < 0
    taken[0].remove()
