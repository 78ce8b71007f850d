"""Whatever tree is sent and wherever a transfer is cut: files are whole, and the next attempt ends well."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.joined_transfer import (
    OPTIONS,
    JoinedTransfer,
    RecordedStream,
    leftovers,
    snapshot,
    transfer,
)
from tests.support.transfer_trees import CHUNK, LONG_AGO, RANDOM, settle, write

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
