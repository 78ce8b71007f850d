"""Sender and receiver together: what comes out is what went in, whatever happens on the way."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from blake3 import blake3

from farhand_files import events, wire
from farhand_files.options import TransferOptions
from farhand_files.receiver import Sink
from farhand_files.sender import Pipe
from farhand_files.stream import Cancelled
from tests.support.joined_transfer import (
    OPTIONS,
    JoinedTransfer,
    leftovers,
    snapshot,
    transfer,
)
from tests.support.transfer_trees import CHUNK, LONG_AGO, RANDOM, settle, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    top = tmp_path / "source"
    for size in (0, 1, 4096, CHUNK - 1, CHUNK, CHUNK + 1):
        write(top / f"of {size} bytes", RANDOM.randbytes(size), LONG_AGO + size)
    write(top / "deep" / "er" / "file", b"content")
    write(top / os.fsdecode(b"\xff\n"), b"a name that is no text")
    write(top / ("n" * 255), b"the longest name")
    (top / "empty").mkdir(mode=0o700)
    (top / "link").symlink_to("deep/er")
    (top / "dangling").symlink_to("/nowhere/at all")
    os.link(top / "deep" / "er" / "file", top / "second name")
    (top / "of 1 bytes").chmod(0o640)
    (top / "of 4096 bytes").chmod(0o755)
    with (top / "sparse").open("wb") as file:
        file.truncate(5 * CHUNK)
        file.seek(3 * CHUNK)
        file.write(b"x")
    os.utime(top / "sparse", ns=(LONG_AGO, LONG_AGO))
    settle(top)
    return top


@pytest.mark.parametrize("operation", ["put", "get"])
def test_a_tree_with_every_kind_of_entry_arrives_exactly(tmp_path: Path, source: Path, operation: str) -> None:
    path = os.fsencode(source)
    options = OPTIONS._replace(operation=operation, paths=(path if operation == "get" else b"/somewhere",), sync=True)
    totals = transfer(path, os.fsencode(tmp_path / "new"), options)
    assert snapshot(os.fsencode(tmp_path / "new")).keys() - {b"source"} == {
        b"source/" + each for each in snapshot(path)
    }
    assert snapshot(os.fsencode(tmp_path / "new" / "source")) == snapshot(path)
    assert (totals.files, totals.skipped) == (10, 0)
    copied = os.stat(tmp_path / "new" / "source" / "sparse")
    assert copied.st_blocks * 512 < 2 * CHUNK
    assert not leftovers(os.fsencode(tmp_path / "new"))


def test_the_same_again_sends_nothing(tmp_path: Path, source: Path) -> None:
    target = os.fsencode(tmp_path / "new")
    transfer(os.fsencode(source) + b"/", target)
    before = snapshot(target)
    assert before == snapshot(os.fsencode(source))
    totals = transfer(os.fsencode(source) + b"/", target)
    assert (totals.files, totals.sent, totals.skipped) == (0, 0, 10)
    assert snapshot(target) == before
    totals = transfer(os.fsencode(source) + b"/", target, OPTIONS._replace(checksum=True))
    assert totals.sent == 0
    assert snapshot(target) == before


def test_a_dry_run_counts_the_links_that_would_replace_something(tmp_path: Path) -> None:
    write(tmp_path / "source" / "sub" / "new", b"")
    for name in ("file", "changed", "same"):
        (tmp_path / "source" / name).symlink_to(name[:4])
    write(tmp_path / "target" / "file", b"precious")
    (tmp_path / "target" / "changed").symlink_to("elsewhere")
    (tmp_path / "target" / "same").symlink_to("same")
    options = OPTIONS._replace(dry_run=True)
    totals = transfer(os.fsencode(tmp_path / "source") + b"/", os.fsencode(tmp_path / "target"), options)
    assert (totals.files, totals.others) == (1, 3), "sub, file and changed"
    assert (tmp_path / "target" / "file").read_bytes() == b"precious"


@pytest.mark.parametrize("dry_run", [True, False])
def test_both_sides_say_what_is_made_replaced_and_set(tmp_path: Path, dry_run: bool) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    write(source / "new" / "file", b"")
    write(source / "instead" / "file", b"")
    write(source / "mode", b"")
    (source / "link").symlink_to("new")
    write(target / "link", b"precious")
    (target / "instead").symlink_to("elsewhere")
    (source / "same").mkdir()
    (target / "same").mkdir(mode=0o700)
    shutil.copy2(source / "mode", target / "mode")
    (target / "mode").chmod(0o600)
    options = OPTIONS._replace(delete=True, dry_run=dry_run)
    joined = JoinedTransfer([os.fsencode(source) + b"/"], os.fsencode(target), options)
    totals = joined.finish()
    assert (totals.failed, totals.others) == (0, 3)
    placed = {each for each in joined.received if isinstance(each, events.Placed)}
    assert placed == {each for each in joined.sent if isinstance(each, events.Placed)}
    assert placed == {
        events.Placed(b"new", wire.DIRECTORY, wire.NEW),
        events.Placed(b"instead", wire.DIRECTORY, wire.REPLACED),
        events.Placed(b"link", wire.SYMLINK, wire.REPLACED),
        events.Placed(b"mode", wire.REGULAR, wire.ATTRIBUTES),
        events.Placed(b"same", wire.DIRECTORY, wire.ATTRIBUTES),
    }
    assert (target / "instead" / "file").exists() is not dry_run
    assert (target / "link").is_symlink() is not dry_run


def test_further_names_of_a_file_that_is_left_out_are_left_too_and_not_deleted(tmp_path: Path) -> None:
    top, target = tmp_path / "source", tmp_path / "target"
    write(top / "large", b"large")
    os.link(top / "large", top / "other name")
    write(target / "other name", b"old")
    write(target / "gone", b"")
    totals = transfer(os.fsencode(top) + b"/", os.fsencode(target), OPTIONS._replace(delete=True, max_size=4))
    assert (totals.deleted, totals.files, totals.others, totals.skipped) == (1, 0, 0, 0)
    assert [path.name for path in target.iterdir()] == ["other name"]
    assert (target / "other name").read_bytes() == b"old"


def test_a_change_that_size_and_time_do_not_show_is_found_by_its_digest(tmp_path: Path) -> None:
    data = RANDOM.randbytes(4 * CHUNK)
    changed = data[: 2 * CHUNK] + b"!" + data[2 * CHUNK + 1 :]
    one, two = write(tmp_path / "a", changed), write(tmp_path / "b", data)
    assert transfer(one, two).skipped == 1
    totals = transfer(one, two, OPTIONS._replace(checksum=True))
    assert (totals.sent, totals.kept) == (CHUNK, 3 * CHUNK)
    assert (tmp_path / "b").read_bytes() == changed


class Changing:
    """Changes a file when the sender reports progress: in the middle of its transfer."""

    def __init__(self, path: Path, contents: Sequence[bytes]) -> None:
        self.path = path
        self.contents = list(contents)

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.Begun) and self.contents:
            content = self.contents.pop(0)
            threading.Timer(0.0, self._change, (content,)).start()

    def _change(self, content: bytes) -> None:
        with self.path.open("r+b") as file:
            file.write(content)
            file.truncate()


def test_a_file_that_is_rewritten_meanwhile_is_one_or_the_other(tmp_path: Path) -> None:
    old, new = RANDOM.randbytes(8 * CHUNK), RANDOM.randbytes(8 * CHUNK)
    for number in range(5):
        source = write(tmp_path / f"source {number}", old)
        target = tmp_path / f"target {number}"
        changing = Changing(tmp_path / f"source {number}", [new])
        totals = JoinedTransfer([source], os.fsencode(target), report=changing).finish()
        assert totals.failed == 0
        assert target.read_bytes() in (old, new)


def test_a_log_that_grows_all_the_time_arrives_as_it_was(tmp_path: Path) -> None:
    log = tmp_path / "log"
    start = b"0123456789\n" * 200_000
    write(log, start)
    stop = threading.Event()

    def grow() -> None:
        with log.open("ab", buffering=0) as file:
            while not stop.wait(0.001):
                file.write(b"0123456789\n")

    growing = threading.Thread(target=grow)
    growing.start()
    try:
        totals = JoinedTransfer([os.fsencode(log)], os.fsencode(tmp_path / "copy")).finish()
    finally:
        stop.set()
        growing.join()
    assert totals.failed == 0
    copy = (tmp_path / "copy").read_bytes()
    assert len(copy) >= len(start)
    assert log.read_bytes().startswith(copy)


def test_a_file_that_is_truncated_meanwhile_arrives_whole_or_not_at_all(tmp_path: Path) -> None:
    old = RANDOM.randbytes(8 * CHUNK)
    source = write(tmp_path / "source", old)
    target = tmp_path / "target"
    changing = Changing(tmp_path / "source", [b"short"])
    JoinedTransfer([source], os.fsencode(target), report=changing).finish()
    assert target.read_bytes() in (old, b"short")


def test_files_of_proc_and_pipes_arrive_to_their_end(tmp_path: Path) -> None:
    transfer(b"/proc/version", os.fsencode(tmp_path / "version"))
    assert (tmp_path / "version").read_bytes() == Path("/proc/version").read_bytes()
    out, into = os.pipe()
    data = RANDOM.randbytes(3 * CHUNK + 5)

    def feed() -> None:
        with os.fdopen(into, "wb") as pipe:
            pipe.write(data)

    feeding = threading.Thread(target=feed)
    feeding.start()
    transfer([Pipe(out, b"-")], os.fsencode(tmp_path / "dump"))
    feeding.join()
    os.close(out)
    assert (tmp_path / "dump").read_bytes() == data


def test_one_file_can_go_to_a_descriptor(tmp_path: Path) -> None:
    data = RANDOM.randbytes(2 * CHUNK) + bytes(CHUNK) + b"end"
    with (tmp_path / "out").open("wb") as out:
        options = OPTIONS._replace(operation="get", paths=(b"source",))
        totals = transfer(write(tmp_path / "source", data), Sink(out.fileno()), options)
    assert (tmp_path / "out").read_bytes() == data
    assert totals.digest == blake3(data).hexdigest()


@pytest.mark.parametrize("name", ["deep", "deep/", "*.bin"])
def test_that_several_cannot_go_to_a_descriptor_is_told_once(tmp_path: Path, source: Path, name: str) -> None:
    for each in "abc":
        write(source / f"{each}.bin", each.encode())
    with (tmp_path / "out").open("wb") as out:
        options = OPTIONS._replace(operation="get", paths=(os.fsencode(source / name),))
        joined = JoinedTransfer(options.paths, Sink(out.fileno()), options, expand=True)
        totals = joined.finish()
    assert totals.failed == 1
    assert (tmp_path / "out").read_bytes() == b""
    [trouble] = [each for each in joined.received if isinstance(each, events.Trouble)]
    assert (trouble.path, trouble.sentence) == (b"-", "only one file can be written to a pipe")


def test_both_directions_at_once(tmp_path: Path, source: Path) -> None:
    shutil.copytree(source, tmp_path / "second", symlinks=True)
    settle(tmp_path / "second")
    there = JoinedTransfer([os.fsencode(source) + b"/"], os.fsencode(tmp_path / "one"))
    back = JoinedTransfer([os.fsencode(tmp_path / "second") + b"/"], os.fsencode(tmp_path / "two"))
    assert there.finish().failed == back.finish().failed == 0
    assert snapshot(os.fsencode(tmp_path / "one")) == snapshot(os.fsencode(source))
    assert snapshot(os.fsencode(tmp_path / "two")) == snapshot(os.fsencode(tmp_path / "second"))


def test_two_transfers_to_one_target_leave_one_of_them_whole(tmp_path: Path) -> None:
    data = [RANDOM.randbytes(6 * CHUNK + number) for number in range(2)]
    target = tmp_path / "target"
    several = [
        JoinedTransfer([write(tmp_path / f"{number}", each)], os.fsencode(target)) for number, each in enumerate(data)
    ]
    for each in several:
        assert each.finish().failed == 0
    assert target.read_bytes() in data
    assert not leftovers(os.fsencode(tmp_path))


def test_delete_removes_what_the_source_does_not_have(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "target"
    write(target / "surplus" / "inner", b"x")
    write(target / "deep" / "surplus", b"x")
    write(target / "keep.log", b"x")
    options = OPTIONS._replace(delete=True, excludes=("*.log",))
    dry = JoinedTransfer([os.fsencode(source) + b"/"], os.fsencode(target), options._replace(dry_run=True))
    before = snapshot(os.fsencode(target))
    would = dry.finish()
    assert not would.failed, dry.troubles()
    assert snapshot(os.fsencode(target)) == before
    done = JoinedTransfer([os.fsencode(source) + b"/"], os.fsencode(target), options)
    totals = done.finish()
    assert totals.failed == 0, done.troubles()
    assert (would.files, would.deleted) == (totals.files, totals.deleted)
    assert {event.path for event in done.sent if isinstance(event, events.Removed)} >= {b"deep/surplus", b"surplus"}
    found = snapshot(os.fsencode(target))
    found.pop(b"keep.log")
    assert found.keys() == snapshot(os.fsencode(source)).keys()


@pytest.mark.parametrize("broken", ["unreadable", "vanished"])
def test_nothing_is_deleted_when_a_source_could_not_be_read(
    tmp_path: Path, source: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    write(target / "surplus", b"x")
    sources = [os.fsencode(source) + b"/"]
    if broken == "unreadable":
        real = os.scandir

        def scandir(fd: int) -> object:
            if os.readlink(f"/proc/self/fd/{fd}").endswith("/deep"):
                raise PermissionError(13, "Permission denied")
            return real(fd)

        monkeypatch.setattr(os, "scandir", scandir)
    else:
        sources.append(os.fsencode(tmp_path / "missing"))
    done = JoinedTransfer(sources, os.fsencode(target), OPTIONS._replace(delete=True, into=True))
    totals = done.finish()
    assert totals.failed == 1
    assert totals.deleted == 0
    assert (target / "surplus").exists()


def test_excludes_sizes_and_times_are_left_out(tmp_path: Path, source: Path) -> None:
    options = OPTIONS._replace(excludes=("deep/", "*name"), max_size=CHUNK - 1, newer_than=LONG_AGO)
    transfer(os.fsencode(source) + b"/", os.fsencode(tmp_path / "target"), options)
    assert sorted(os.listdir(tmp_path / "target")) == [
        "dangling",
        "empty",
        "link",
        "of 1 bytes",
        f"of {CHUNK - 1} bytes",
        "of 4096 bytes",
    ]


def test_extended_attributes_are_kept_if_requested(tmp_path: Path) -> None:
    path = write(tmp_path / "source" / "f", b"x")
    os.setxattr(path, "user.note", b"of a file")
    os.setxattr(os.path.dirname(path), "user.note", b"of a directory")
    transfer(os.path.dirname(path), os.fsencode(tmp_path / "target"), OPTIONS._replace(xattrs=True))
    assert os.getxattr(tmp_path / "target" / "source" / "f", "user.note") == b"of a file"
    assert os.getxattr(tmp_path / "target" / "source", "user.note") == b"of a directory"


def test_cancel_of_either_side_ends_both_and_leaves_no_half_file(tmp_path: Path) -> None:
    source = write(tmp_path / "source", RANDOM.randbytes(4 * CHUNK))
    for sender, number in itertools.product((True, False), range(2)):
        target = tmp_path / f"target {sender} {number}"
        done = JoinedTransfer([source], os.fsencode(target), OPTIONS._replace(rate=2 * CHUNK))
        side = done.sender if sender else done.receiver
        threading.Timer(0.05 * number, side.cancel).start()
        done.wait()
        assert any(isinstance(error, Cancelled) for error in done.errors)
        assert not target.exists()


def test_names_of_a_file_arrive_also_if_it_is_up_to_date(tmp_path: Path) -> None:
    path = write(tmp_path / "source" / "a", b"x")
    settle(tmp_path / "source")
    transfer(os.fsencode(tmp_path / "source") + b"/", os.fsencode(tmp_path / "target"))
    os.link(path, tmp_path / "source" / "b")
    transfer(os.fsencode(tmp_path / "source") + b"/", os.fsencode(tmp_path / "target"))
    assert os.path.samefile(tmp_path / "target" / "a", tmp_path / "target" / "b")


@pytest.mark.long
def test_a_file_larger_than_4_gib_arrives(tmp_path: Path) -> None:
    with (tmp_path / "source").open("wb") as file:
        file.truncate((4 << 30) + 5)
        file.seek(4 << 30)
        file.write(b"end")
    totals = transfer(os.fsencode(tmp_path / "source"), os.fsencode(tmp_path / "target"))
    assert totals.sent <= CHUNK
    with (tmp_path / "target").open("rb") as file:
        file.seek(4 << 30)
        assert file.read() == b"end\0\0"
    assert os.stat(tmp_path / "target").st_blocks < 100


def test_options_reach_both_sides(tmp_path: Path) -> None:
    options = TransferOptions("put", (b"x",), sync=False, mode=0o600, times=False, sha256=True)
    done = JoinedTransfer([write(tmp_path / "source", b"x")], os.fsencode(tmp_path / "target"), options)
    done.finish()
    status = os.stat(tmp_path / "target")
    assert status.st_mode & 0o777 == 0o600
    assert status.st_mtime_ns != LONG_AGO
    (finished,) = [event for event in done.sent if isinstance(event, events.Finished)]
    assert len(finished.sha256) == 32


@pytest.mark.parametrize("year", [1901, 2038, 2262, 2400])
def test_any_time_of_a_file_system_arrives_or_the_nearest_that_can(tmp_path: Path, year: int) -> None:
    seconds = int((year - 1970 + 0.2) * 365.2425 * 86400)
    for name, size in (("small", 9), ("empty", 0), ("large", 2 * CHUNK)):
        write(tmp_path / "source" / name, bytes(size), seconds * 1_000_000_000)
    os.utime(tmp_path / "source", (seconds, seconds))
    has = (tmp_path / "source").stat().st_mtime_ns
    transfer(os.fsencode(tmp_path / "source") + b"/", os.fsencode(tmp_path / "new"))
    times = {path.stat().st_mtime_ns for path in (tmp_path / "new", *(tmp_path / "new").iterdir())}
    assert times == {min(has, (1 << 63) - 1)}
    assert transfer(os.fsencode(tmp_path / "source") + b"/", os.fsencode(tmp_path / "new")).skipped == 3
