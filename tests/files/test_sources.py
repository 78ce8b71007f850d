"""The directories of sources: few of them are open, whatever the number of sources, and each can be opened again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from farhand_files.opening import MAX_OPEN, Area
from farhand_files.options import TransferOptions
from farhand_files.sources import MAX_TREES, SourceDirectory, SourceTree, SourceTrees, source_of
from farhand_files.steps import Readable
from farhand_files.walk import Walk


def _area() -> Area:
    return Area(None, b"/")


def _add(trees: SourceTrees, path: Path) -> SourceTree:
    name = os.fsencode(path)
    return trees.add(name, _area().open_directory(name))


def _descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def _found(*sources: Path) -> list[Readable]:
    walk = Walk([os.fsencode(source) for source in sources], TransferOptions("put", (b"/there",)), _area())
    return [step for batch in walk.batches() for step in batch if isinstance(step, Readable)]


def _content(file: Readable) -> bytes:
    fd = file.place.open_file(file.name)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def test_files_of_many_named_directories_need_few_descriptors(tmp_path: Path) -> None:
    sources = [tmp_path / f"source {number}" for number in range(200)]
    for source in sources:
        (source / "below").mkdir(parents=True)
        (source / "below" / "file").write_bytes(source.name.encode())
    before = _descriptors()

    found = _found(*sources)

    assert _descriptors() - before <= 2 * MAX_TREES
    assert [_content(file) for file in found] == [source.name.encode() for source in sources]


def test_many_named_files_of_a_directory_need_one_descriptor(tmp_path: Path) -> None:
    files = [tmp_path / f"file {number}" for number in range(200)]
    for file in files:
        file.write_bytes(file.name.encode())
    before = _descriptors()

    found = _found(*files)

    assert _descriptors() - before <= 1
    assert len({file.place.tree.number for file in found}) == 1
    assert [_content(file) for file in found] == [file.name.encode() for file in files]


def test_a_large_source_keeps_as_many_directories_open_as_any(tmp_path: Path) -> None:
    for number in range(MAX_OPEN + 40):
        (tmp_path / f"below {number}").mkdir()
        (tmp_path / f"below {number}" / "file").touch()
    before = _descriptors()

    found = _found(tmp_path)

    assert len(found) == MAX_OPEN + 40
    assert _descriptors() - before <= MAX_OPEN + 1


def test_a_directory_that_was_closed_meanwhile_is_opened_again(tmp_path: Path) -> None:
    trees = SourceTrees(_area())
    first = _add(trees, tmp_path)
    (tmp_path / "file").write_bytes(b"content")
    for number in range(MAX_TREES):
        (tmp_path / str(number)).mkdir()
        _add(trees, tmp_path / str(number))

    fd = SourceDirectory(first, (), b"").open_file(b"file")

    assert os.read(fd, 10) == b"content"
    os.close(fd)


def test_another_directory_in_its_place_is_not_used(tmp_path: Path) -> None:
    trees = SourceTrees(_area())
    source = tmp_path / "source"
    source.mkdir()
    tree = _add(trees, source)
    for number in range(MAX_TREES):
        (tmp_path / str(number)).mkdir()
        _add(trees, tmp_path / str(number))
    source.rename(tmp_path / "moved")
    source.mkdir()

    with pytest.raises(OSError, match="replaced meanwhile") as caught:
        tree.get(())

    assert caught.value.errno == errno.ESTALE


def test_a_directory_that_stays_open_is_the_same_wherever_it_goes(tmp_path: Path) -> None:
    trees = SourceTrees(_area())
    source = tmp_path / "source"
    source.mkdir()
    tree = _add(trees, source)
    source.rename(tmp_path / "moved")
    source.mkdir()

    assert os.path.samestat(os.fstat(tree.get(()).fd), (tmp_path / "moved").stat())


def test_the_source_of_an_entry_is_named_as_it_was_given() -> None:
    assert source_of({b"src": b"/top/src"}, b"src/d/g") == b"/top/src/d/g"
    assert source_of({b"": b"/top/src/"}, b"d/g") == b"/top/src/d/g"
    assert source_of({b"src": b"a/src", b"second": b"second"}, b"second") == b"second"
    assert source_of({b"": b"src/", b"second": b"second"}, b"second") == b"", "both may have it"
    assert source_of({b"src": b""}, b"src/a") == b"", "two sources have this name"
    assert source_of({b"second": b"second"}, b"other") == b""
