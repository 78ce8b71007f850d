"""The helper's files are private to the user and to the installation; without a place for them there is no helper."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from farhand_client.mux.place import DEFAULT_MUX, HelperPlace, helper_place, is_private, mux_allowed, program_directory


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_each_installation_has_files_of_its_own() -> None:
    place = HelperPlace(b"/run/user/7/farhand", b"a")
    assert place.connections == b"/run/user/7/farhand/mux-af63dc4c8601ec8c.sock"
    assert place.fronts == b"/run/user/7/farhand/helper-af63dc4c8601ec8c.sock"
    assert place.lock == b"/run/user/7/farhand/helper-af63dc4c8601ec8c.lock"
    assert HelperPlace(b"/r", b"a").lock != HelperPlace(b"/r", b"b").lock


def test_the_directory_is_that_of_the_real_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/farhand").touch()
    (tmp_path / "farhand").symlink_to("venv/farhand")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "farhand")])
    assert program_directory() == bytes(tmp_path.resolve() / "venv")
    monkeypatch.setattr(sys, "argv", ["/elsewhere/pytest"])
    assert program_directory() == bytes(Path(sys.executable).parent.resolve())


def test_the_place_is_in_the_runtime_directory(runtime: Path) -> None:
    place = helper_place(b"/usr/bin")
    assert place is not None
    assert place.directory == bytes(runtime / "farhand")
    assert place.program == b"/usr/bin"
    (runtime / "farhand").mkdir(0o700)
    assert helper_place() is not None


def test_there_is_no_place_without_a_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "run", "/nowhere/at/all"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
        assert helper_place() is None
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert helper_place() is None


def test_there_is_no_place_where_others_have_access(runtime: Path) -> None:
    (runtime / "farhand").mkdir()
    (runtime / "farhand").chmod(0o750)
    assert helper_place() is None
    (runtime / "farhand").rmdir()
    (runtime / "private").mkdir(0o700)
    (runtime / "farhand").symlink_to("private")
    assert helper_place() is None, "a link may lead anywhere tomorrow"


@pytest.mark.usefixtures("runtime")
def test_there_is_no_place_in_another_users_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    assert helper_place() is None


def test_there_is_no_place_for_a_socket_whose_path_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    assert helper_place() is None


def test_a_file_is_no_private_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o600)
    assert not is_private(bytes(tmp_path / "file"))


@pytest.mark.parametrize(
    ("variable", "configured", "allowed"),
    [
        ("", None, mux_allowed(DEFAULT_MUX)),
        ("", "auto", True),
        ("", "off", False),
        ("off", "auto", False),
        ("auto", "off", True),
    ],
)
def test_the_environment_decides_about_the_helper_before_the_file(
    variable: str, configured: str | None, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARHAND_MUX", variable)
    assert mux_allowed(configured) is allowed
