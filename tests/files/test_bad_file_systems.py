"""On real file systems that are full, damaged or fold names, and with a clock that jumps: what cannot arrive is named,
and nothing is half there."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_files import reading, temporary
from farhand_files.events import Trouble
from tests.support.joined_transfer import OPTIONS, JoinedTransfer, leftovers, snapshot, transfer
from tests.support.transfer_trees import CHUNK, RANDOM, settle, write

PAGE = os.sysconf("SC_PAGESIZE")
MiB = 1 << 20


@contextlib.contextmanager
def mounted(*command: str | Path) -> Iterator[Path]:
    """Mount at the last word of a command, and unmount in the end."""
    at = Path(command[-1])
    at.mkdir(exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]} is not permitted here: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


def image(path: Path, size: int, *make: str) -> Path:
    """Make a file with an empty file system."""
    with path.open("wb") as file:
        file.truncate(size)
    subprocess.run([*make, path], check=True, capture_output=True)
    return path


def failures(done: JoinedTransfer) -> dict[str, int]:
    """Return the name of each file that has failed, with the number of its error."""
    return {os.path.basename(os.fsdecode(each.path)): each.errno for each in done.sent if isinstance(each, Trouble)}


@pytest.mark.long
@pytest.mark.needs("root", "mount", "umount")
def test_a_disk_that_is_full_at_any_block_has_whole_files_only(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("a", "b", "c"):
        write(source / name, RANDOM.randbytes(2 * PAGE + 100))
    settle(source)
    for pages in range(2, 18):  # 1 for the top directory, 3 for each file, and some for what is old or temporary
        size = f"size={pages * PAGE}"
        with mounted("mount", "-t", "tmpfs", "-o", size, "none", tmp_path / "full") as full:
            (full / "b").write_bytes(b"old")
            done = JoinedTransfer([os.fsencode(source) + b"/"], os.fsencode(full))
            totals = done.finish()
            failed = failures(done)
            assert totals.failed == len(failed)
            assert set(failed.values()) <= {errno.ENOSPC}
            assert not leftovers(os.fsencode(full)), pages
            for name in ("a", "b", "c"):
                if name not in failed:
                    assert (full / name).read_bytes() == (source / name).read_bytes()
                elif name == "b":
                    assert (full / "b").read_bytes() == b"old"
                else:
                    assert not (full / name).exists()
            assert pages < 14 or not failed


@pytest.mark.needs("root", "mount", "umount", "mkfs.ext4")
def test_a_file_on_a_damaged_disk_is_named_and_the_rest_arrives(tmp_path: Path) -> None:
    disk = image(tmp_path / "disk", 24 * MiB, "mkfs.ext4", "-q", "-F")
    there = tmp_path / "there"
    with mounted("mount", "-o", "loop", disk, tmp_path / "damaged") as damaged:
        write(damaged / "first", RANDOM.randbytes(MiB))
        write(damaged / "large", RANDOM.randbytes(14 * MiB))
        subprocess.run(["sync", "--file-system", damaged], check=True)
        with (damaged / "large").open("rb") as large:
            os.posix_fadvise(large.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.truncate(disk, 12 * MiB)  # what is read beyond is an error of the device
        done = JoinedTransfer([os.fsencode(damaged) + b"/"], os.fsencode(there))
        done.finish()
        assert failures(done) == {"large": errno.EIO}
        assert (there / "first").read_bytes() == (damaged / "first").read_bytes()
        assert not (there / "large").exists()


@pytest.mark.needs("root", "lowntfs-3g", "mkntfs", "umount")
def test_of_names_that_a_file_system_folds_one_is_written_and_the_other_named(tmp_path: Path) -> None:
    disk = image(tmp_path / "disk", 8 * MiB, "mkntfs", "-q", "-F")
    source = tmp_path / "source"
    write(source / "name", b"the one")
    write(source / "NAME", b"the other")
    with mounted("lowntfs-3g", "-o", "ignore_case", disk, tmp_path / "folding") as folding:
        done = JoinedTransfer([os.fsencode(source) + b"/"], os.fsencode(folding))
        assert done.finish().failed == 1
        [(failed, number)] = failures(done).items()
        assert number == errno.EEXIST
        (source / failed).unlink()
        [kept] = source.iterdir()
        assert (folding / "name").read_bytes() == kept.read_bytes()
        again = transfer(os.fsencode(source) + b"/", os.fsencode(folding), OPTIONS._replace(delete=True))
        assert (again.files, again.deleted) == (0, 0)
        assert (folding / kept.name).read_bytes() == kept.read_bytes()


@pytest.mark.parametrize("jump", [-3600, 3600])
def test_a_clock_that_jumps_by_an_hour_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    class JumpingTime:
        """The clock of the modules that look at it."""

        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def time() -> float:
            return time.time() + jump

        @staticmethod
        def time_ns() -> int:
            return time.time_ns() + jump * 1_000_000_000

    source, there = tmp_path / "source", os.fsencode(tmp_path / "there")
    write(source / "old", b"old")
    write(source / "large", RANDOM.randbytes(4 * CHUNK))
    (source / "new").write_bytes(b"just written")
    settle(source)
    cut = JoinedTransfer([os.fsencode(source) + b"/"], there, cut_after=3 * CHUNK)
    cut.wait()
    assert cut.errors
    monkeypatch.setattr(reading, "time", JumpingTime)
    monkeypatch.setattr(temporary, "time", JumpingTime)
    totals = transfer(os.fsencode(source) + b"/", there)
    assert totals.kept >= CHUNK, "what was left is not too old"
    assert not leftovers(there)
    assert snapshot(there) == snapshot(os.fsencode(source))
    again = transfer(os.fsencode(source) + b"/", there)
    assert (again.files, again.sent) == (0, 0)
