"""The receiver, with a sender at the other end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from farhand_files import wire
from tests.support.transferring import FakeSender, transfer


def tree(top: Path) -> dict[str, object]:
    """Return what is below a directory: modes, times and contents."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        what: object = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        times = 0 if path.is_symlink() else status.st_mtime_ns
        found[str(path.relative_to(top))] = (oct(status.st_mode), times, what)
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    top = tmp_path / "source"
    (top / "one/two").mkdir(parents=True)
    (top / "empty directory").mkdir(mode=0o700)
    (top / "empty").touch(mode=0o600)
    (top / "one/small").write_bytes(b"small")
    (top / "one/two/large").write_bytes(os.urandom(wire.CHUNK + 1))
    (top / "one/symlink").symlink_to("small")
    os.link(top / "one/small", top / "one/two/small too")
    (Path(os.fsdecode(os.fsencode(top) + b"/\xff\n"))).write_bytes(b"name")
    os.utime(top / "one", ns=(10**18, 10**18 + 123_456_789))
    (top / "one").chmod(0o555)
    return top


def test_a_tree_arrives_as_it_is(source: Path, tmp_path: Path) -> None:
    done = transfer(source, tmp_path / "destination")
    assert not done.troubles
    assert tree(tmp_path / "destination/source") == tree(source)
    assert (done.totals.files, done.totals.failed) == (4, 0)
    assert done.sender_totals.to_json() == done.totals.to_json()
    small = (tmp_path / "destination/source/one/small").stat()
    assert small.st_ino == (tmp_path / "destination/source/one/two/small too").stat().st_ino


def test_the_same_again_transfers_nothing(source: Path, tmp_path: Path) -> None:
    transfer(source, tmp_path / "destination")
    before = {path: path.lstat().st_ino for path in (tmp_path / "destination").rglob("*")}
    done = transfer(source, tmp_path / "destination")
    assert (done.totals.files, done.totals.skipped, done.totals.others, done.totals.sent) == (0, 4, 0, 0)
    assert {path: path.lstat().st_ino for path in (tmp_path / "destination").rglob("*")} == before


def test_a_file_is_received_frame_by_frame(tmp_path: Path) -> None:
    sender = FakeSender(tmp_path)
    number = sender.file(b"file", b"content")
    done = sender.answer()
    assert isinstance(done, wire.FileDone)
    assert done.number == number
    assert list(sender.finish()) == []
    assert (tmp_path / "file").read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
