"""The service accesses files with a user's rights temporarily, and always restores its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from farhand_server.credentials import Credentials, acting_as
from tests.support.processes import fields

GAMES = Credentials("games", 5, 60, (60, 4711))


def thread_ids() -> dict[str, str]:
    """Return the ids and capabilities of the calling thread."""
    status = fields(Path("/proc/thread-self/status").read_text())
    return {name: status[name] for name in ("Uid", "Gid", "Groups", "CapEff", "CapPrm")}


def test_credentials_are_those_of_the_account() -> None:
    root = Credentials.of(0)
    assert (root.user, root.uid, root.gid) == ("root", 0, 0)
    assert 0 in root.groups


def test_a_uid_without_an_account_raises() -> None:
    with pytest.raises(KeyError):
        Credentials.of(3_999_999_999)


def test_without_credentials_nothing_changes() -> None:
    before = thread_ids()
    with acting_as(None):
        assert thread_ids() == before


@pytest.mark.needs("root")
def test_only_the_ids_for_files_change_and_only_inside_the_block() -> None:
    before = thread_ids()
    with acting_as(GAMES):
        inside = thread_ids()
    assert inside["Uid"].split() == [*before["Uid"].split()[:3], "5"]
    assert inside["Gid"].split() == [*before["Gid"].split()[:3], "60"]
    assert inside["Groups"].split() == ["60", "4711"]
    assert thread_ids() == before


@pytest.mark.needs("root")
def test_a_file_that_the_user_may_not_read_cannot_be_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("")
    secret.chmod(0o600)
    with acting_as(GAMES), pytest.raises(PermissionError):
        secret.open()


@pytest.mark.needs("root")
def test_an_exception_restores_the_services_own_ids() -> None:
    before = thread_ids()
    with pytest.raises(KeyboardInterrupt), acting_as(GAMES):
        raise KeyboardInterrupt
    assert thread_ids() == before


@pytest.mark.needs("root")
def test_other_threads_keep_their_ids() -> None:
    seen: list[dict[str, str]] = []
    look, looked = threading.Event(), threading.Event()

    def other() -> None:
        look.wait()
        seen.append(thread_ids())
        looked.set()

    thread = threading.Thread(target=other)
    thread.start()
    before = thread_ids()
    with acting_as(GAMES):
        look.set()
        looked.wait()
    thread.join()
    assert seen == [before]


def test_an_unsupported_machine_is_an_error_that_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = os.uname_result(("Linux", "host", "6", "1", "vax"))
    monkeypatch.setattr("os.uname", lambda: unknown)
    before = thread_ids()
    with pytest.raises(OSError, match="acting as another user is not supported on vax"), acting_as(GAMES):
        raise AssertionError("unreachable")
    assert thread_ids() == before


def test_an_ordinary_account_gets_a_permission_error() -> None:
    program = (
        "import os; from farhand_server.credentials import *\n"
        "os.geteuid() or (os.setgroups([]), os.setresgid(60, 60, 60), os.setresuid(5, 5, 5))\n"
        "try:\n  with acting_as(Credentials('root', 0, 0, ())): print('inside')\n"
        "except PermissionError: print('refused', os.geteuid() != 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("refused True\n", 0), done.stderr
