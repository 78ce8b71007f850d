"""Programs are found as by execvp(3), and named by a path whose directory has no symbolic links."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from farhand_server.auth.accounts import Principal
from farhand_server.auth.authorized_keys import KeyOptions
from farhand_server.credentials import Credentials
from farhand_server.policy import FileSystem, group_names, subject_of
from farhand_server.runs.environment import Home


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Create programs `bin/tool` and `other/tool`, links `bin/alias` to one and `link` to `bin`, and a file `data`."""
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
def test_a_program_is_found_as_by_execvp(tree: Path, name: str, path: str, found: str | None) -> None:
    place = FileSystem().program(
        name.replace("{}", str(tree)).encode(), path=path.replace("{}", str(tree)).encode(), cwd=bytes(tree)
    )
    assert place == (None if found is None else bytes(tree / found))


def test_an_empty_entry_of_path_is_the_working_directory(tree: Path) -> None:
    assert FileSystem().program(b"tool", path=b":/gone", cwd=bytes(tree / "bin")) == bytes(tree / "bin/tool")


def test_a_program_in_the_root_directory_has_one_slash() -> None:
    assert FileSystem().program(b"/../bin/sh", path=b"", cwd=b"/") == os.path.realpath(b"/bin") + b"/sh"


def test_symbolic_links_of_a_directory_are_resolved_even_if_it_is_missing(tree: Path) -> None:
    files = FileSystem()
    assert files.directory(bytes(tree / "link" / ".." / "bin" / "dir")) == bytes(tree / "bin/dir")
    assert files.directory(bytes(tree / "link" / "gone")) == bytes(tree / "bin/gone")


def test_the_groups_of_an_account_include_its_primary_group() -> None:
    me = pwd.getpwuid(os.getuid())
    assert grp.getgrgid(me.pw_gid).gr_name in group_names(me.pw_name, me.pw_gid)


@pytest.mark.needs("root")
def test_a_program_that_the_user_cannot_access_is_skipped(tree: Path) -> None:
    for directory in (*tree.parents, tree):
        if directory.stat().st_uid == 0 and not directory.stat().st_mode & 0o001:
            directory.chmod(0o711)
    (tree / "bin").chmod(0o700)
    path = f"{tree}/bin:{tree}/other".encode()
    assert FileSystem(Credentials.of(65534)).program(b"tool", path=path, cwd=b"/") == os.fsencode(tree / "other/tool")
    assert FileSystem().program(b"tool", path=path, cwd=b"/") == os.fsencode(tree / "bin/tool")


def home(directory: str) -> Home:
    return Home(shell=b"/bin/sh", directory=b"/", environment={b"HOME": directory.encode()})


def test_a_subject_has_the_proven_facts_of_its_principal() -> None:
    me = pwd.getpwuid(os.getuid())
    by_key = Principal(me.pw_name, me.pw_uid, "key", "SHA256:abc", KeyOptions(command=b""))
    subject = subject_of(by_key, home("/home/ada"))
    assert (subject.fingerprint, subject.local, subject.forced) == ("SHA256:abc", False, True)
    assert (subject.groups, subject.home) == (group_names(me.pw_name, me.pw_gid), b"/home/ada")
    local = subject_of(Principal(me.pw_name, me.pw_uid, "peer"), home("/home/ada"))
    assert (local.fingerprint, local.local, local.forced) == (None, True, False)


def test_an_account_without_an_entry_has_no_groups_and_the_root_directory_is_not_a_home() -> None:
    subject = subject_of(Principal("4000000", 4_000_000, "peer"), home("/"))
    assert (subject.groups, subject.home) == (frozenset(), b"")
