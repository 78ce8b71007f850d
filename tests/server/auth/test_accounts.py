"""Root's service accepts logins to the accounts that sshd would accept; a hostile name finds no account."""

from __future__ import annotations

import errno
import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.auth import accounts
from farhand_server.auth.accounts import Account, Shadow
from farhand_server.credentials import Credentials

PATTERNS = (Path("/etc/farhand/authorized_keys.d/{user}"), Path("~/.config/farhand/authorized_keys"), Path("/c/keys"))
TODAY = int(time.time() // 86400)

Database = Callable[..., None]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    """Fake passwd(5) and shadow(5) with ada and root; the fixture's value changes ada's entries."""

    def change(
        *, shell: str = "/bin/sh", password: str = "*", expires: int | None = None, home: str = "/home/ada"
    ) -> None:
        entries = {
            "root": pwd.struct_passwd(("root", "x", 0, 0, "", "/root", "/bin/sh")),
            "ada": pwd.struct_passwd(("ada", "x", 1000, 1000, "", home, shell)),
        }
        monkeypatch.setattr("pwd.getpwnam", entries.__getitem__)
        monkeypatch.setattr("pwd.getpwuid", lambda uid: next(e for e in entries.values() if e.pw_uid == uid))
        monkeypatch.setattr("os.geteuid", lambda: 0)
        monkeypatch.setattr("os.getgrouplist", lambda name, gid: [gid, 4, 27])
        monkeypatch.setattr(
            "farhand_server.auth.accounts.shadow_entry",
            lambda name: Shadow(password, expires) if name == "ada" else Shadow("*", None),
        )

    change()
    return change


def ada() -> Account:
    account = accounts.every_account(PATTERNS)("ada")
    assert account is not None
    return account


def test_an_account_has_its_key_files_and_credentials(database: Database) -> None:
    assert ada() == Account(
        "ada",
        1000,
        Path("/home/ada"),
        (Path("/etc/farhand/authorized_keys.d/ada"), Path("/home/ada/.config/farhand/authorized_keys")),
        reader=Credentials("ada", 1000, 1000, (1000, 4, 27)),
    )


def test_files_in_the_home_are_read_as_the_user_and_others_as_the_service(database: Database) -> None:
    account = ada()
    assert [account.reader_of(path) for path in account.key_files] == [None, account.reader]


def test_a_file_without_user_or_home_in_its_path_applies_to_the_services_own_account_only(database: Database) -> None:
    root = accounts.every_account(PATTERNS)("root")
    assert root is not None
    assert Path("/c/keys") in root.key_files
    assert Path("/c/keys") not in ada().key_files


@pytest.mark.parametrize("home", ["", "home/ada"])
def test_a_home_that_is_not_an_absolute_path_counts_as_the_root_directory(database: Database, home: str) -> None:
    database(home=home)
    assert ada().home == Path("/")


@pytest.mark.parametrize("password", ["*", "", "x", "$6$salt$hash", "*!"])
def test_an_account_without_a_usable_password_is_open(database: Database, password: str) -> None:
    database(password=password)
    assert ada().closed is None


@pytest.mark.parametrize("password", ["!", "!!", "!$6$salt$hash", "!*"])
def test_a_locked_account_is_closed_as_by_sshd_without_pam(database: Database, password: str) -> None:
    database(password=password)
    assert "it is locked" in (ada().closed or "")


@pytest.mark.parametrize(("expires", "closed"), [(TODAY - 1, True), (TODAY + 2, False), (None, False)])
def test_an_expired_account_is_closed(database: Database, expires: int | None, closed: bool) -> None:
    database(expires=expires)
    assert ("it has expired" in (ada().closed or "")) is closed


@pytest.mark.parametrize(
    ("shell", "why"),
    [
        ("/usr/sbin/nologin", "its shell is /usr/sbin/nologin"),
        ("/bin/false", "its shell is /bin/false"),
        ("/no/such/shell", "does not exist"),
        ("/etc/passwd", "is not executable"),
        ("/bin", "is not executable"),
    ],
)
def test_an_account_without_a_shell_is_closed(database: Database, shell: str, why: str) -> None:
    database(shell=shell)
    assert why in (ada().closed or "")


def test_an_empty_shell_field_means_bin_sh(database: Database) -> None:
    database(shell="")
    assert ada().closed is None


@pytest.mark.parametrize(
    "name", ["", "ADA", "ada ", "../ada", "ada/../root", "/", ".", "..", "ad\0a", "0", "é", "\ud800"]
)
def test_an_unknown_name_finds_no_account(name: str) -> None:
    assert accounts.every_account(PATTERNS)(name) is None


@pytest.mark.parametrize("name", ["../../tmp/keys", "a/b", ".", ".."])
def test_a_name_that_would_change_a_path_finds_no_account_even_if_the_database_has_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    entry = pwd.struct_passwd((name, "x", 1000, 1000, "", "/", "/bin/sh"))
    monkeypatch.setattr("pwd.getpwnam", lambda wanted: entry)
    assert accounts.every_account(PATTERNS)(name) is None


def test_another_spelling_of_a_name_finds_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = pwd.struct_passwd(("ada", "x", 1000, 1000, "", "/", "/bin/sh"))
    monkeypatch.setattr("pwd.getpwnam", lambda wanted: entry)
    assert accounts.every_account(PATTERNS)("Ada") is None


@given(st.text())
def test_looking_up_a_name_never_raises(name: str) -> None:
    found = accounts.every_account(PATTERNS)(name)
    assert found is None or found.user == name


@given(user=st.text("{}~user/.", min_size=1), home=st.sampled_from(["/h", "/h/{user}", "/~"]))
def test_user_and_home_are_not_expanded_again(user: str, home: str) -> None:
    in_home, by_name = accounts.key_files((Path("~/k"), Path("/d/{user}.pub")), user=user, home=Path(home), own=False)
    assert in_home == Path(home, "k")
    assert str(by_name) == str(Path(f"/d/{user}.pub"))


def test_the_services_own_account_uses_every_file() -> None:
    own = accounts.own_account(PATTERNS)
    name, home = own.user, pwd.getpwuid(os.geteuid()).pw_dir
    assert own.uid == os.geteuid()
    assert own.key_files == (
        Path("/etc/farhand/authorized_keys.d", name),
        Path(home, ".config/farhand/authorized_keys"),
        Path("/c/keys"),
    )
    assert own.closed is None
    assert accounts.only_account(own)(name) == own
    assert accounts.only_account(own)(name + "x") is None


@pytest.mark.needs("root")
def test_the_systems_shadow_database_is_read() -> None:
    nobody = accounts.every_account(PATTERNS)("nobody")
    assert nobody is not None
    assert nobody.uid == pwd.getpwnam("nobody").pw_uid
    assert nobody.closed == f"its shell is {pwd.getpwnam('nobody').pw_shell}"


def test_without_descriptors_an_account_is_not_taken_for_one_that_does_not_exist(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = accounts.every_account((Path("~/.config/farhand/authorized_keys"),))
    real = os.open

    def fail(path: str, *rest: int) -> int:
        if path == "/dev/null":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, *rest)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError, match="Too many open files"):
        find("no-such-account")
    with pytest.raises(OSError, match="Too many open files"):
        accounts.shadow_entry("no-such-account")
    with pytest.raises(OSError, match="Too many open files"):
        accounts.peer_principal(os.getuid())
