"""Of what transfers have left behind, a sweep removes what is old and held by nobody, and nothing else."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from farhand_files.opening import Area, Outside
from farhand_files.temporary import temporary_name
from farhand_server.files.order import OrderFile, TransferOrder, TransferReport
from farhand_server.files.sweeping import NOT_SWEPT, SWEPT, serve_sweep, sweep_destination
from farhand_server.programs.order_file import RunIds
from tests.support.processes import own_descriptors
from tests.support.transfer_workers import transfer_worker

AREA = Area(None, b"/")


def leave(directory: Path, target: str = "target") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / os.fsdecode(temporary_name(target.encode()))
    path.write_bytes(b"part")
    return path


def later() -> float:
    """Return a time at which everything in a test counts as old."""
    return time.time() + 3600


def order(*paths: Path, before: float, roots: tuple[bytes, ...] | None = None) -> TransferOrder:
    return TransferOrder("sweep", tuple(map(os.fsencode, paths)), b"/", roots, None, before=before)


def test_a_directory_is_swept_with_all_that_is_below_it(tmp_path: Path) -> None:
    left = [leave(tmp_path / "dest"), leave(tmp_path / "dest" / "a" / "b"), leave(tmp_path / "dest" / "a" / "c")]
    (tmp_path / "dest" / "a" / "kept").write_text("kept")
    beside = leave(tmp_path)
    assert sum(sweep_destination(AREA, bytes(tmp_path / "dest"), later())) == 3
    assert not any(each.exists() for each in left)
    assert beside.exists()
    assert (tmp_path / "dest" / "a" / "kept").exists()


@pytest.mark.parametrize("there", [True, False])
def test_what_is_beside_a_file_is_swept_and_nothing_below(tmp_path: Path, there: bool) -> None:
    left, below = leave(tmp_path), leave(tmp_path / "directory")
    if there:
        (tmp_path / "target").write_text("whole")
    assert list(sweep_destination(AREA, bytes(tmp_path / "target"), later())) == [1]
    assert not left.exists()
    assert below.exists()
    assert (tmp_path / "target").exists() is there


def test_what_is_fresh_or_held_stays(tmp_path: Path) -> None:
    fresh = leave(tmp_path, "fresh")
    assert sum(sweep_destination(AREA, bytes(tmp_path), fresh.stat().st_ctime)) == 0
    held = leave(tmp_path, "held")
    with held.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert sum(sweep_destination(AREA, bytes(tmp_path), later())) == 1
    assert (fresh.exists(), held.exists()) == (False, True)


def test_links_below_the_destination_are_not_followed(tmp_path: Path) -> None:
    elsewhere = leave(tmp_path / "elsewhere")
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "link").symlink_to(tmp_path / "elsewhere")
    assert sum(sweep_destination(AREA, bytes(tmp_path / "dest"), later())) == 0
    assert elsewhere.exists()


def test_a_destination_that_has_become_a_way_out_is_not_swept(tmp_path: Path) -> None:
    elsewhere = leave(tmp_path / "elsewhere")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "dest").symlink_to(tmp_path / "elsewhere")
    area = Area((bytes(tmp_path / "root"),), b"/")
    with pytest.raises(Outside):
        list(sweep_destination(area, bytes(tmp_path / "root" / "dest"), later()))
    assert elsewhere.exists()


def test_the_search_is_bounded(tmp_path: Path) -> None:
    for number in range(8):
        leave(tmp_path / "dest" / str(number))
    removed = sum(sweep_destination(AREA, bytes(tmp_path / "dest"), later(), entries=10))
    assert removed == 2
    assert sum(sweep_destination(AREA, bytes(tmp_path / "dest"), later())) == 6


def test_a_directory_that_cannot_be_read_does_not_keep_the_others_from_being_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = leave(tmp_path / "dest" / "readable")
    leave(tmp_path / "dest" / "refused")
    scandir = os.scandir

    def refuse(fd: int) -> os._ScandirIterator[str]:
        if Path(f"/proc/self/fd/{fd}").readlink().name == "refused":
            raise PermissionError
        return scandir(fd)

    monkeypatch.setattr(os, "scandir", refuse)
    assert sum(sweep_destination(AREA, bytes(tmp_path / "dest"), later())) == 1
    assert not left.exists()


def test_what_was_removed_is_reported_also_if_a_destination_is_gone(tmp_path: Path) -> None:
    leave(tmp_path / "dest")
    asked = order(tmp_path / "gone" / "deep", tmp_path / "dest", before=later())
    order_file = OrderFile.create(asked)
    assert serve_sweep(asked, order_file) == NOT_SWEPT
    assert order_file.report() == TransferReport(complete=True, deleted=1, failed=1)
    order_file.close()


def test_nothing_stays_open(tmp_path: Path) -> None:
    leave(tmp_path / "dest" / "a")
    before = len(own_descriptors())
    assert sum(sweep_destination(AREA, bytes(tmp_path), later())) == 1
    assert len(own_descriptors()) == before


@pytest.mark.needs("root")
def test_a_worker_removes_what_is_its_users_and_nothing_else(tmp_path: Path) -> None:
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == 0 and each != Path("/"):
            each.chmod(0o755)
    own, roots = leave(tmp_path / "dest"), leave(tmp_path / "dest", "root")
    (tmp_path / "dest").chmod(0o777)
    os.chown(own, 61_001, 61_001)
    hidden = leave(tmp_path / "hidden")
    hidden.parent.chmod(0o700)
    asked = order(tmp_path / "dest", tmp_path / "hidden", before=later())
    with transfer_worker(asked._replace(user=RunIds(61_001, 61_001, ()))) as worker:
        assert (worker.wait(), worker.stderr) == (SWEPT, b"")
        assert worker.report().deleted == 1
    assert (own.exists(), roots.exists(), hidden.exists()) == (False, True, True)


def test_a_worker_sweeps_and_says_nothing(tmp_path: Path) -> None:
    left = leave(tmp_path / "dest")
    with transfer_worker(order(tmp_path / "dest", before=later())) as worker:
        assert (worker.wait(), worker.stderr) == (SWEPT, b"")
        assert worker.report() == TransferReport(complete=True, deleted=1)
    assert not left.exists()
