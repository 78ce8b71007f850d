"""Where a program is found: as execvp(3) does it, and by a path without links in its directory."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from farhand_server.policy import FileSystem, group_names


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """`bin/tool` and `other/tool` are programs, `bin/alias` a link to one, `link` one to `bin`, `data` no program."""
    tmp_path = Path(os.path.realpath(tmp_path))
    for directory in ("bin", "other", "empty", "bin/dir"):
        (tmp_path / directory).mkdir()
    for name, mode in (("bin/tool", 0o755), ("other/tool", 0o755), ("bin/data", 0o644)):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(mode)
    (tmp_path / "bin/alias").symlink_to("tool")
    (tmp_path / "bin/loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("bin")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "path", "found"),
    [
        ("tool", "{}/empty:{}/bin:{}/other", "bin/tool"),
        ("tool", "{}/other:{}/bin", "other/tool"),
        ("tool", "{}/link", "bin/tool"),
        ("tool", "bin", "bin/tool"),
        ("tool", "", None),
        ("tool", "{}/gone:{}/bin/tool", None),
        ("bin/tool", "{}/other", "bin/tool"),
        ("./link/../link/tool", "", "bin/tool"),
        ("{}/link/tool", "", "bin/tool"),
        ("alias", "{}/bin", "bin/alias"),
        ("{}/link/alias", "", "bin/alias"),
        ("data", "{}/bin", None),
        ("dir", "{}/bin", None),
        ("loop", "{}/bin", None),
        ("bin/tool/", "", None),
        ("bin/tool/..", "", None),
        ("", "{}/bin", None),
        ("x" * 5000, "{}/bin", None),
    ],
)
def test_a_program(tree: Path, name: str, path: str, found: str | None) -> None:
    place = FileSystem().program(
        name.replace("{}", str(tree)).encode(), path=path.replace("{}", str(tree)).encode(), cwd=bytes(tree)
    )
    assert place == (None if found is None else bytes(tree / found))


def test_an_empty_entry_of_path_is_the_working_directory(tree: Path) -> None:
    assert FileSystem().program(b"tool", path=b":/gone", cwd=bytes(tree / "bin")) == bytes(tree / "bin/tool")


def test_a_program_in_the_root_directory_has_one_slash() -> None:
    assert FileSystem().program(b"/../bin/sh", path=b"", cwd=b"/") == os.path.realpath(b"/bin") + b"/sh"


def test_a_directory_is_where_its_links_lead_also_where_it_is_missing(tree: Path) -> None:
    files = FileSystem()
    assert files.directory(bytes(tree / "link" / ".." / "bin" / "dir")) == bytes(tree / "bin/dir")
    assert files.directory(bytes(tree / "link" / "gone")) == bytes(tree / "bin/gone")


def test_the_groups_of_an_account_have_its_own_among_them() -> None:
    me = pwd.getpwuid(os.getuid())
    assert grp.getgrgid(me.pw_gid).gr_name in group_names(me.pw_name, me.pw_gid)
