"""The policy knows what a worker has found, and a principal's groups and home."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from farhand_server.auth.accounts import Principal
from farhand_server.auth.authorized_keys import KeyOptions
from farhand_server.policy import FilesNeeded, KnownFiles, NoFiles, group_names, subject_of
from farhand_server.runs.environment import Home
from farhand_server.worker.messages import LookedUp, LookUp


def test_without_files_a_decision_that_depends_on_them_is_not_made() -> None:
    files = NoFiles()
    with pytest.raises(FilesNeeded):
        files.program(b"ls", path=b"/bin", cwd=b"/")
    with pytest.raises(FilesNeeded):
        files.directory(b"/")


def test_an_answer_about_other_directories_is_refused() -> None:
    asked = LookUp(b"", b"", b"/home", b"", (b"/srv",))
    assert KnownFiles(asked, LookedUp(b"", (b"/a", b"/b"))).directory(b"/srv") == b"/b"
    with pytest.raises(ValueError, match="shorter"):
        KnownFiles(asked, LookedUp(b"", (b"/a",)))


def test_the_groups_of_an_account_include_its_primary_group() -> None:
    me = pwd.getpwuid(os.getuid())
    assert grp.getgrgid(me.pw_gid).gr_name in group_names(me.pw_name, me.pw_gid)


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
