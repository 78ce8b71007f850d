"""A program's environment consists of the account's variables, the service's, and those that a request may set."""

from __future__ import annotations

import os
import pwd

import pytest

from farhand_server.runs.environment import ROOT_PATH, USER_PATH, EnvironmentRefused, Home

HOME = Home(shell=b"/bin/zsh", directory=b"/home/ada", environment={b"HOME": b"/home/ada", b"LANG": b"C"})


def test_the_accounts_variables_come_from_the_password_database() -> None:
    entry = pwd.getpwuid(os.geteuid())
    home = Home.of(entry.pw_uid)
    assert home.environment[b"HOME"] == os.fsencode(entry.pw_dir)
    assert home.environment[b"USER"] == home.environment[b"LOGNAME"] == os.fsencode(entry.pw_name)
    assert home.environment[b"SHELL"] == home.shell == os.fsencode(entry.pw_shell)
    assert set(home.environment) == {b"HOME", b"USER", b"LOGNAME", b"SHELL", b"PATH", b"LANG"}


@pytest.mark.parametrize(("uid", "path"), [(0, ROOT_PATH), (65534, USER_PATH)])
def test_only_root_has_the_directories_of_system_programs(uid: int, path: str) -> None:
    assert Home.of(uid).environment[b"PATH"] == path.encode()


def test_an_account_without_an_entry_starts_in_the_root_directory() -> None:
    home = Home.of(3_999_999_999)
    assert (home.directory, home.shell, home.environment[b"USER"]) == (b"/", b"/bin/sh", b"3999999999")


def test_nobody_looks_at_a_home_before_something_starts_there(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = pwd.struct_passwd(("ada", "x", 1000, 1000, "", "/gone", "/bin/sh"))
    monkeypatch.setattr("pwd.getpwuid", lambda uid: entry)
    home = Home.of(1000)
    assert (home.directory, home.environment[b"HOME"]) == (b"/gone", b"/gone")
    assert [home.fallback(wanted) for wanted in (None, b"below", b"~/below", b"/tmp")] == [b"/gone"] * 3 + [b""]


@pytest.mark.parametrize(
    ("wanted", "directory"),
    [
        (None, b"/home/ada"),
        (b"", b"/home/ada"),
        (b"~", b"/home/ada"),
        (b"~/", b"/home/ada"),
        (b"~/notes", b"/home/ada/notes"),
        (b"notes", b"/home/ada/notes"),
        (b"./notes", b"/home/ada/notes"),
        (b"../bob", b"/home/ada/../bob"),
        (b"/tmp", b"/tmp"),
        (b"~bob", b"/home/ada/~bob"),
        (b"caf\xe9 \n", b"/home/ada/caf\xe9 \n"),
    ],
)
def test_a_directory_is_relative_to_the_home(wanted: bytes | None, directory: bytes) -> None:
    assert HOME.resolve(wanted) == directory


@pytest.mark.parametrize(
    ("name", "admitted", "accepted"),
    [
        (b"TZ", ("TZ",), True),
        (b"TZ", ("*",), True),
        (b"LC_ALL", ("LC_*",), True),
        (b"LC_ALL", ("lc_*",), False),
        (b"XLC_ALL", ("LC_*",), False),
        (b"A1", ("A[0-9]", "B"), True),
        (b"TZ", (), False),
        (b"\xff", ("*",), True),
    ],
)
def test_variables_are_allowed_by_pattern(name: bytes, admitted: tuple[str, ...], accepted: bool) -> None:
    if accepted:
        assert HOME.build(requested=[(name, b"v")], admitted=admitted, added={})[name] == b"v"
    else:
        with pytest.raises(EnvironmentRefused, match="may not set the environment variable"):
            HOME.build(requested=[(name, b"v")], admitted=admitted, added={})


def test_a_request_overrides_the_account_and_the_service_overrides_the_request() -> None:
    built = HOME.build(
        requested=[(b"LANG", b"de"), (b"ROLE", b"admin")], admitted=("*",), added={b"ROLE": b"guest", b"K": b"v"}
    )
    assert built == {b"HOME": b"/home/ada", b"LANG": b"de", b"ROLE": b"guest", b"K": b"v"}
    assert HOME.environment[b"LANG"] == b"C"
