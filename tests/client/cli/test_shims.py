"""Programs called ssh, scp and sftp that go over Farhand, in a directory of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from farhand_client.cli.shims import MARK, farhand_program, is_shim, real_program, shim_texts, shims_command


def program(path: Path, text: str = '#!/bin/sh\necho real $0 "$@"\n') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def shims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for them, first in PATH, and the real programs after it."""
    for name in ("ssh", "scp", "sftp"):
        program(tmp_path / "real" / name)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'real'}:/usr/bin:/bin")
    return tmp_path / "shims"


def run(*words: str | Path) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_shims_run_farhand_and_the_real_programs(shims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shims_command([str(shims)]) == 0
    assert shims_command([str(shims)]) == 0, "a second time they are replaced, and find the real ones again"
    assert capsys.readouterr().out.splitlines() == [f"export PATH={shims}:$PATH"] * 2
    assert run("scp", "a b", "web:") == f"real {shims.parent}/real/scp -S {shims}/ssh a b web:\n"
    assert run("sftp", "web") == f"real {shims.parent}/real/sftp -S {shims}/ssh web\n"
    assert run("ssh", "-Q", "protocol-version") == "2\n"
    assert sorted(path.name for path in shims.iterdir()) == ["scp", "sftp", "ssh"]


def test_what_farhand_has_not_made_is_left_alone(shims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = program(shims / "scp")
    assert shims_command([str(shims)]) == 2
    assert "scp exists, and farhand has not made it; nothing was written" in capsys.readouterr().err
    assert [path.name for path in shims.iterdir()] == ["scp"]
    own.unlink()
    own.symlink_to("/nowhere")
    assert shims_command([str(shims)]) == 2
    assert shims_command(["--remove", str(shims)]) == 0
    assert own.is_symlink()


def test_shims_are_removed_with_their_directory(shims: Path) -> None:
    assert shims_command([str(shims)]) == 0
    (shims / "other").touch()
    assert shims_command(["--remove", str(shims)]) == 0
    assert [path.name for path in shims.iterdir()] == ["other"]
    (shims / "other").unlink()
    assert shims_command(["--remove", str(shims)]) == 0
    assert not shims.exists()
    assert shims_command(["--remove", str(shims)]) == 0


def test_without_the_real_programs_there_is_only_ssh(
    shims: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(shims))
    assert shims_command([str(shims)]) == 0
    assert [path.name for path in shims.iterdir()] == ["ssh"]
    assert "there is no scp in PATH" in capsys.readouterr().err


def test_shims_of_other_directories_are_no_real_programs(tmp_path: Path) -> None:
    program(tmp_path / "a" / "scp", f"#!/bin/sh\n{MARK}\n")
    real = program(tmp_path / "b" / "scp")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "scp").mkdir()
    assert is_shim(tmp_path / "a" / "scp")
    assert real_program("scp", os.pathsep.join(str(tmp_path / each) for each in "cab")) == real
    assert real_program("scp", str(tmp_path / "a")) is None


def test_names_with_blanks_are_quoted(tmp_path: Path) -> None:
    texts = shim_texts(tmp_path / "a b", ["/c d/farhand"], {"scp": Path("/e f/scp")})
    assert "exec '/c d/farhand' rsh \"$@\"" in texts["ssh"]
    assert f"exec '/e f/scp' -S '{tmp_path}/a b/ssh' \"$@\"" in texts["scp"]
    assert "sftp" not in texts


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert shims_command([str(tmp_path / "file" / "x")]) == 255
    assert "Not a directory" in capsys.readouterr().err


def test_farhand_is_found_without_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = program(tmp_path / "farhand")
    monkeypatch.setattr(sys, "argv", [str(beside)])
    assert farhand_program(tmp_path / "shims") == [str(beside)]
    monkeypatch.setattr(sys, "argv", ["-c"])
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert farhand_program(tmp_path / "shims") == ["/nowhere/python", "-m", "farhand_client"]


def test_a_directory_may_have_any_name(shims: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    directory = shims / os.fsdecode(b"d\xff")
    assert shims_command([str(directory)]) == 0
    assert run(directory / "ssh", "-Q", "protocol-version") == "2\n"
    assert b"d\xff" in (directory / "scp").read_bytes()
    assert b"d\xff" in capfdbinary.readouterr().out
