"""Files that plainly are up to date; where anything is not plain, the long way decides."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_files import wire
from farhand_files.destination import Requested
from farhand_files.names import BadName, check_path
from farhand_files.opening import Area, OpenDirectories
from farhand_files.options import TransferOptions
from farhand_files.planning import Action, Existing, decide
from farhand_files.rows import FileRows
from farhand_files.unchanged import Unchanged

LONG_AGO = 1_000_000_000_000_000_000
OPTIONS = TransferOptions("put", (b"/somewhere",))


def entry(path: bytes, *, size: int = 4, mtime: int = LONG_AGO, mode: int = 0o644) -> wire.Entry:
    return wire.Entry(0, wire.REGULAR, mode, 0, 0, mtime, size, path)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    for name in ("f", "d/f", "d/g", ".hidden"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"same")
        path.chmod(0o644)
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    shutil.copy2(tmp_path / "f", tmp_path / "d" / "setuid")
    (tmp_path / "d" / "setuid").chmod(0o4644)
    (tmp_path / "link").symlink_to("f")
    (tmp_path / "to-d").symlink_to("d")
    return tmp_path


def unchanged(top: Path, options: TransferOptions = OPTIONS, noted: list[tuple[bytes, ...]] | None = None) -> Unchanged:
    directories = OpenDirectories(Area(None, b"/").open_directory(os.fsencode(top)))
    return Unchanged(options, Requested(options), directories, noted.append if noted is not None else None)


def test_a_file_with_the_same_size_time_and_mode_is_up_to_date(top: Path) -> None:
    noted: list[tuple[bytes, ...]] = []
    found = unchanged(top, noted=noted)
    assert found.includes(entry(b"f"))
    assert found.includes(entry(b"d/f"))
    assert found.includes(entry(b"d/g"))
    assert noted == [(b"f",), (b"d", b"f"), (b"d", b"g")]


@pytest.mark.parametrize(
    "changed",
    [
        entry(b"d/f", size=5),
        entry(b"d/f", size=-1),
        entry(b"d/f", mtime=LONG_AGO + 1),
        entry(b"d/f", mode=0o600),
        entry(b"d/setuid"),
        entry(b"d/missing"),
        entry(b"missing/f"),
        entry(b"link"),
        entry(b"to-d/f"),
        entry(b"d"),
        entry(b".hidden"),
        entry(b"/f"),
        entry(b"d//f"),
        entry(b"d/../f"),
        entry(b"../f"),
        entry(b""),
        entry(b"d/"),
        entry(b"d/f\0"),
        entry(b"x" * 256),
        entry(b"d/" * 3000 + b"f"),
    ],
)
def test_what_is_not_plain_is_left_to_the_long_way(top: Path, changed: wire.Entry) -> None:
    noted: list[tuple[bytes, ...]] = []
    assert not unchanged(top, noted=noted).includes(changed)
    assert not noted


def test_a_mode_that_was_requested_is_compared(top: Path) -> None:
    assert not unchanged(top, OPTIONS._replace(mode=0o600)).includes(entry(b"f"))
    assert unchanged(top, OPTIONS._replace(mode=0o644)).includes(entry(b"f", mode=0o600))


def test_where_one_file_is_missing_the_others_are_not_looked_up_twice(top: Path) -> None:
    found = unchanged(top)
    assert not found.includes(entry(b"d/missing"))
    assert not found.includes(entry(b"d/f"))
    assert found.includes(entry(b"f"))
    assert found.includes(entry(b"d/f"))


def test_what_was_not_requested_is_not_looked_up(top: Path) -> None:
    options = TransferOptions("get", (b"/there/d", b"/there/x*"))
    found = unchanged(top, options)
    assert not found.includes(entry(b"f"))
    assert found.includes(entry(b"d/f"))


@pytest.mark.parametrize(
    "options",
    [OPTIONS._replace(checksum=True), OPTIONS._replace(max_size=1), OPTIONS._replace(newer_than=1)],
)
def test_digests_and_limits_need_the_long_way(options: TransferOptions) -> None:
    assert not Unchanged.applies_to(options)
    assert Unchanged.applies_to(OPTIONS)


@given(
    st.sampled_from([b"f", b"d/f", b"d", b"link", b"x", b"../f"]),
    st.sampled_from([4, 5, -1]),
    st.sampled_from([LONG_AGO, 0]),
    st.sampled_from([0o644, 0o4644, 0o600]),
    st.booleans(),
)
def test_whatever_is_skipped_would_be_skipped_by_the_long_way(
    path: bytes, size: int, mtime: int, mode: int, times: bool
) -> None:
    top = Path(f"/tmp/farhand-unchanged-{os.getpid()}")
    (top / "d").mkdir(parents=True, exist_ok=True)
    for name in ("f", "d/f"):
        (top / name).write_bytes(b"same")
        (top / name).chmod(0o644)
        os.utime(top / name, ns=(LONG_AGO, LONG_AGO))
    try:
        options = OPTIONS._replace(times=times)
        given_entry = entry(path, size=size, mtime=mtime, mode=mode)
        if unchanged(top, options).includes(given_entry):
            check_path(path)
            decision = decide(given_entry, Existing(wire.REGULAR, 4, LONG_AGO, 0o644), options)
            assert (decision.action, decision.attributes) == (Action.SKIP, False)
    except BadName:
        pytest.fail("a bad name was looked up")
    finally:
        (top / "f").unlink()
        (top / "d" / "f").unlink()
        (top / "d").rmdir()
        top.rmdir()


def rows(directory: bytes, *names: bytes, size: int = 4, mode: int = 0o644) -> FileRows:
    count = len(names)
    made = FileRows(0, directory, names, [mode] * count, [size] * count, [LONG_AGO] * count)
    return FileRows.of(made.table())


def test_the_first_file_of_a_table_that_is_not_up_to_date_is_found(top: Path) -> None:
    noted: list[tuple[bytes, ...]] = []
    found = unchanged(top, noted=noted)
    assert found.end_of(rows(b"d", b"f", b"g"), 0) == 2
    assert found.end_of(rows(b"d", b"f", b"setuid", b"g"), 0) == 1
    assert found.end_of(rows(b"d", b"f", b"setuid", b"g"), 1) == 1
    assert found.end_of(rows(b"d", b"f", b"setuid", b"g"), 2) == 3
    assert noted == [(b"d", b"f"), (b"d", b"g"), (b"d", b"f"), (b"d", b"g")]


@pytest.mark.parametrize(
    "changed",
    [
        rows(b"d", b"f", size=5),
        rows(b"d", b"f", mode=0o600),
        rows(b"d", b"missing"),
        rows(b"missing", b"f"),
        rows(b"", b"link"),
        rows(b"to-d", b"f"),
        rows(b"", b"d"),
        rows(b"d", b"..", b"f"),
        rows(b"d/..", b"f"),
        rows(b"/", b"f"),
    ],
)
def test_what_is_not_plain_in_a_table_is_left_to_the_long_way(top: Path, changed: FileRows) -> None:
    assert unchanged(top).end_of(changed, 0) == 0


def test_where_one_file_of_a_table_is_missing_the_others_are_not_looked_up(top: Path) -> None:
    found = unchanged(top)
    assert found.end_of(rows(b"d", b"f", b"missing", b"g"), 0) == 1
    assert found.end_of(rows(b"d", b"f", b"missing", b"g"), 2) == 2


def test_a_table_at_the_top_has_only_what_was_requested(top: Path) -> None:
    options = TransferOptions("get", (b"/there/f",))
    assert unchanged(top, options).end_of(rows(b"", b"f"), 0) == 1
    assert unchanged(top, options).end_of(rows(b"", b"g", b"f"), 0) == 0


@given(st.integers(0, 5), st.integers(LONG_AGO - 1, LONG_AGO + 1), st.sampled_from([0o644, 0o600, 0o4644]))
def test_a_table_and_entries_are_judged_alike(
    tmp_path_factory: pytest.TempPathFactory, size: int, mtime: int, mode: int
) -> None:
    top = tmp_path_factory.mktemp("top")
    (top / "f").write_bytes(b"same")
    (top / "f").chmod(0o644)
    os.utime(top / "f", ns=(LONG_AGO, LONG_AGO))
    made = FileRows.of(FileRows(0, b"", [b"f"], [mode], [size], [mtime]).table())
    for options in (OPTIONS, OPTIONS._replace(mode=0o644)):
        assert unchanged(top, options).end_of(made, 0) == unchanged(top, options).includes(made.entry(0))
