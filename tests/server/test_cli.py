"""`farhandd` as a program: what it prints, where, and its exit codes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.service import environment


def farhandd(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end with all of its files below `directory`."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    done = warm.run([*warm.FARHANDD, *arguments], env=environment(directory), **pipes)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_check_prints_the_configuration_that_holds(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[runs]\nmax_runs = 7\n")
    done = farhandd(tmp_path, "check", "--config", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert "max_runs = 7" in done.stdout
    assert str(tmp_path / "run/farhand/farhandd.sock") in done.stdout


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_fault_in_the_configuration_is_a_sentence_and_no_traceback(tmp_path: Path, command: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[runs]\nmax_runz = 7\n")
    done = farhandd(tmp_path, command, "--config", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("farhandd: ")
    assert "max_runz" in done.stderr
    assert "max_runs" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_configuration_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = farhandd(tmp_path, "check", "--config", str(tmp_path / "gone.toml"))
    assert done.returncode == 1
    assert str(tmp_path / "gone.toml") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [(), ("sing",), ("serve", "--sing"), ("authorize",), ("serve", "--listen", "nowhere")]
)
def test_a_wrong_call_is_said(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = farhandd(tmp_path, *arguments)
    assert done.returncode == (1 if "nowhere" in arguments else 2)
    assert done.stdout == ""
    assert "farhandd" in done.stderr
    assert "Traceback" not in done.stderr


def test_its_version_is_the_package_s(tmp_path: Path) -> None:
    from farhand_server import __version__

    assert farhandd(tmp_path, "--version").stdout == f"farhandd {__version__}\n"


@pytest.mark.needs("ssh-keygen")
def test_the_host_key_is_made_once_and_shown_as_ssh_does(tmp_path: Path) -> None:
    first, second = farhandd(tmp_path, "host-key"), farhandd(tmp_path, "host-key")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == second.stdout
    line, fingerprint = first.stdout.splitlines()
    public = tmp_path / "key.pub"
    public.write_text(line + "\n")
    shown = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True, check=True).stdout
    assert shown.split()[1] == fingerprint


@pytest.mark.needs("ssh-keygen")
def test_authorize_adds_each_key_once(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "id"], check=True)
    line = (tmp_path / "id.pub").read_text()
    (tmp_path / "id.pub").write_text(line * 2)
    for _ in range(2):
        done = farhandd(tmp_path, "authorize", str(tmp_path / "id.pub"))
        assert (done.returncode, done.stderr) == (0, "")
    file = tmp_path / "config/farhand/authorized_keys"
    assert file.read_text() == line
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.needs("ssh-keygen")
def test_authorize_says_where_it_cannot_write(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "id"], check=True)
    file = tmp_path / "config/farhand/authorized_keys"
    file.parent.mkdir(parents=True)
    file.symlink_to(tmp_path / "gone/authorized_keys")
    done = farhandd(tmp_path, "authorize", str(tmp_path / "id.pub"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"farhandd: {file}: cannot be written: No such file or directory; nothing was added\n"


def test_authorize_refuses_what_is_not_a_key(tmp_path: Path) -> None:
    (tmp_path / "not-a-key").write_text("hello\n")
    done = farhandd(tmp_path, "authorize", str(tmp_path / "not-a-key"))
    assert done.returncode == 1
    assert done.stderr.startswith("farhandd: ")
    assert not (tmp_path / "config/farhand/authorized_keys").exists()
