"""Sender and receiver together: what comes out is what went in, whatever happens on the way."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from farhand_files import events, wire
from farhand_files.options import TransferOptions
from farhand_files.receiver import Sink
from farhand_files.sender import Pipe
from farhand_files.stream import Cancelled
from tests.support.joined_transfer import (
    OPTIONS,
    JoinedTransfer,
    RecordedStream,
    leftovers,
    snapshot,
    transfer,
)

CHUNK = wire.CHUNK
LONG_AGO = 1_000_000_000_000_000_000
RANDOM = random.Random(13)


def write(path: Path, content: bytes, mtime: int = LONG_AGO) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(mtime, mtime))
    return os.fsencode(path)


def settle(top: Path) -> None:
    """Give all directories a time of modification that no test makes by chance."""
    for number, (directory, _, _) in enumerate(os.walk(top, topdown=False)):
        os.utime(directory, ns=(LONG_AGO, LONG_AGO + number * 1_000_000_007))


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


NAMES = st.sampled_from([b"a", b"b", b"c", b"\xff", b"x\n"])
CONTENTS = st.one_of(
    st.binary(max_size=64).map(lambda data: ("file", data)),
    st.sampled_from([("link", b"a"), ("link", b"../b"), ("hard", b""), ("zeros", b"")]),
)
TREES = st.recursive(CONTENTS, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)


def plant(path: bytes, tree: object, files: list[bytes]) -> None:
    if isinstance(tree, dict):
        os.mkdir(path)
        for name, inner in tree.items():
            plant(path + b"/" + name, inner, files)
        os.utime(path, ns=(LONG_AGO, LONG_AGO + len(path)))
        return
    assert isinstance(tree, tuple)
    sort, data = tree
    if sort == "link":
        os.symlink(data, path)
    elif sort == "hard" and files:
        os.link(files[len(files) // 2], path)
    else:
        with open(path, "wb") as file:
            file.write(bytes(CHUNK) if sort == "zeros" else data)
        os.utime(path, ns=(LONG_AGO, LONG_AGO + len(data)))
        files.append(path)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAMES, TREES, max_size=4), st.dictionaries(NAMES, TREES, max_size=4))
def test_any_tree_arrives_over_nothing_and_over_itself(tree: dict[bytes, object], other: dict[bytes, object]) -> None:
    top = os.fsencode(tempfile.mkdtemp())
    try:
        plant(top + b"/tree", tree, [])
        expected = snapshot(top + b"/tree")
        transfer(top + b"/tree/", top + b"/new")
        assert snapshot(top + b"/new") == expected
        totals = transfer(top + b"/tree/", top + b"/new")
        assert totals.sent == 0
        assert snapshot(top + b"/new") == expected
        plant(top + b"/other", other, [])
        done = JoinedTransfer([top + b"/tree/"], top + b"/other", OPTIONS._replace(delete=True))
        totals = done.finish()
        if not totals.failed:
            assert snapshot(top + b"/other") == expected
        assert not leftovers(top)
    finally:
        shutil.rmtree(top)


def partial_state(new: dict[bytes, bytes], old: dict[bytes, bytes], target: bytes) -> None:
    """Check that each file is wholly old or wholly new, or is not there yet."""
    for path, content in new.items():
        try:
            with open(target + b"/" + path, "rb") as file:
                found = file.read()
        except FileNotFoundError:
            assert path not in old
        else:
            assert found in (content, old.get(path)), f"{path!r} is half a file"


def test_a_cut_at_any_frame_leaves_whole_files_and_the_next_attempt_ends_well(tmp_path: Path) -> None:
    new = {b"small": b"new small", b"empty": b"", b"d/more": b"more", b"large": RANDOM.randbytes(3 * CHUNK + 5)}
    old = {b"small": b"old small", b"large": RANDOM.randbytes(2 * CHUNK)}
    for path, content in new.items():
        write(tmp_path / "source" / os.fsdecode(path), content)
    (tmp_path / "source" / "link").symlink_to("small")
    os.link(tmp_path / "source" / "small", tmp_path / "source" / "z")
    settle(tmp_path / "source")
    source = os.fsencode(tmp_path / "source") + b"/"
    expected = snapshot(source)
    whole = JoinedTransfer([source], os.fsencode(tmp_path / "whole"), stream=RecordedStream)
    whole.finish()
    assert isinstance(whole.stream, RecordedStream)
    boundaries = whole.stream.boundaries()
    assert len(boundaries) > 15
    for number, boundary in enumerate(boundaries[:-1]):
        for cut in (boundary, boundary + 3):  # after the frame, and in the middle of the next one's header
            target = tmp_path / f"{number}-{cut}"
            for path, content in old.items():
                write(target / os.fsdecode(path), content, 5)
            first = JoinedTransfer([source], os.fsencode(target), cut_after=cut)
            first.wait()
            assert len(first.errors) == 2
            partial_state(new, old, os.fsencode(target))
            transfer(source, os.fsencode(target))
            assert snapshot(os.fsencode(target)) == expected
            assert not leftovers(os.fsencode(target))
            shutil.rmtree(target)


def test_a_cut_at_any_answer_leaves_whole_files_and_the_next_attempt_ends_well(tmp_path: Path) -> None:
    new = {b"small": b"new small", b"d/more": b"more", b"large": RANDOM.randbytes(2 * CHUNK + 5)}
    old = {b"small": b"old small", b"large": RANDOM.randbytes(2 * CHUNK)}
    for path, content in new.items():
        write(tmp_path / "source" / os.fsdecode(path), content)
    settle(tmp_path / "source")
    source = os.fsencode(tmp_path / "source") + b"/"
    expected = snapshot(source)
    failed = 0
    for cut in itertools.chain(range(0, 200, 7), range(200, 600, 25)):
        target = tmp_path / f"{cut}"
        for path, content in old.items():
            write(target / os.fsdecode(path), content, 5)
        first = JoinedTransfer([source], os.fsencode(target), answers_cut_after=cut)
        first.wait()
        failed += bool(first.errors)
        partial_state(new, old, os.fsencode(target))
        if not first.errors:
            break
        transfer(source, os.fsencode(target))
        assert snapshot(os.fsencode(target)) == expected
        assert not leftovers(os.fsencode(target))
        shutil.rmtree(target)
    assert failed > 10


def cuts(seed: int, count: int, size: int) -> Iterator[int]:
    chosen = random.Random(seed)
    return (chosen.randrange(size) for _ in range(count))


@pytest.mark.parametrize("count", [8, pytest.param(200, marks=pytest.mark.long)])
def test_a_large_file_goes_on_where_it_was_cut(tmp_path: Path, count: int) -> None:
    size = 8 * CHUNK + 17
    data = RANDOM.randbytes(size)
    source = write(tmp_path / "large", data)
    for number, cut in enumerate(cuts(count, count, size)):
        target = tmp_path / f"target {number}"
        first = JoinedTransfer([source], os.fsencode(target), cut_after=cut)
        first.wait()
        assert not target.exists()
        totals = transfer(source, os.fsencode(target))
        assert totals.kept >= (cut // CHUNK - 1) * CHUNK, f"cut after {cut} bytes"
        assert totals.sent == size - totals.kept
        assert target.read_bytes() == data
        target.unlink()
        assert not leftovers(os.fsencode(tmp_path))


def test_many_cuts_of_one_transfer_send_at_most_one_chunk_twice_each(tmp_path: Path) -> None:
    size = 24 * CHUNK
    data = RANDOM.randbytes(size)
    source, target = write(tmp_path / "large", data), os.fsencode(tmp_path / "target")
    arrived = 0
    cut = 0
    for _ in range(10):
        done = JoinedTransfer([source], target, cut_after=2 * CHUNK + CHUNK // 2)
        done.wait()
        cut += 1
        arrived += 2 * CHUNK + CHUNK // 2
        if not done.errors:
            break
    else:
        arrived += transfer(source, target).sent
    assert (tmp_path / "target").read_bytes() == data
    assert arrived <= size + cut * CHUNK


def test_what_was_left_is_checked_and_not_trusted(tmp_path: Path) -> None:
    size = 6 * CHUNK
    data = RANDOM.randbytes(size)
    source, target = write(tmp_path / "large", data), os.fsencode(tmp_path / "target")
    JoinedTransfer([source], target, cut_after=4 * CHUNK + 1000).wait()
    (left,) = leftovers(os.fsencode(tmp_path))
    with open(left, "r+b") as file:
        file.seek(CHUNK + 5)
        file.write(b"damage")
    totals = transfer(source, target)
    assert (tmp_path / "target").read_bytes() == data
    assert totals.kept == 3 * CHUNK
    assert totals.sent == 3 * CHUNK


@pytest.mark.parametrize("operation", ["put", "get"])
@pytest.mark.parametrize("at", [0, 5 * CHUNK + 77, 12 * CHUNK])
def test_an_insertion_costs_little_more_than_itself(tmp_path: Path, operation: str, at: int) -> None:
    old = RANDOM.randbytes(12 * CHUNK)
    new = old[:at] + RANDOM.randbytes(100_000) + old[at:]
    source, target = write(tmp_path / "new", new), write(tmp_path / "image", old, 5)
    options = OPTIONS._replace(operation=operation, paths=(source,), delta=True)
    totals = transfer(source, target, options)
    assert (tmp_path / "image").read_bytes() == new
    assert totals.sent < CHUNK
    assert totals.sent + totals.kept == len(new)
    assert totals.digest == blake3(new).hexdigest()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["keep", "zero", "new", "drop", "twice"])), max_size=8))
def test_any_rearrangement_of_an_older_file_arrives(changes: list[tuple[int, str]]) -> None:
    made = random.Random(1)
    blocks = [made.randbytes(300_000) for _ in range(6)]
    new = []
    for number, change in changes:
        block = blocks[number]
        new += {
            "keep": [block],
            "zero": [bytes(300_000)],
            "new": [made.randbytes(200_000)],
            "drop": [],
            "twice": [block, block],
        }[change]
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        source, target = write(top / "new", b"".join(new)), write(top / "old", b"".join(blocks), 5)
        transfer(source, target, OPTIONS._replace(delta=True))
        assert (top / "old").read_bytes() == b"".join(new)


def test_a_sparse_file_stays_sparse_when_only_its_changes_are_sent(tmp_path: Path) -> None:
    for name, written in (("new", b"after"), ("old", b"before")):
        with (tmp_path / name).open("wb") as file:
            file.truncate(64 * CHUNK)
            file.seek(30 * CHUNK)
            file.write(written)
    os.utime(tmp_path / "new", ns=(LONG_AGO, LONG_AGO))
    for options in (OPTIONS._replace(delta=True), OPTIONS, OPTIONS._replace(in_place=True)):
        shutil.copyfile(tmp_path / "old", tmp_path / "target")
        totals = transfer(os.fsencode(tmp_path / "new"), os.fsencode(tmp_path / "target"), options)
        assert totals.sent <= 2 * CHUNK
        assert (tmp_path / "target").read_bytes() == (tmp_path / "new").read_bytes()


def test_in_place_a_file_becomes_longer_or_shorter(tmp_path: Path) -> None:
    old = RANDOM.randbytes(3 * CHUNK + 100)
    for new in (old[: 2 * CHUNK + 50], old + b"more", b"", old[:CHUNK] + bytes(2 * CHUNK) + b"end"):
        source, target = write(tmp_path / "new", new), write(tmp_path / "target", old, 5)
        before = os.stat(target).st_ino
        transfer(source, target, OPTIONS._replace(in_place=True))
        assert (tmp_path / "target").read_bytes() == new
        assert os.stat(target).st_ino == before


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
    assert (tmp_path / "out").read_bytes() == (b"a" if name == "*.bin" else b"")
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
