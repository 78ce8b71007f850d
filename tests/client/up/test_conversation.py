"""One ssh process carries all requests; whatever else is printed or goes wrong is told from answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from farhand_client.errors import ConnectError
from farhand_client.up import conversation as module
from farhand_client.up.conversation import FarConversation, UpFailed, facts_text
from farhand_client.up.ssh import SshDestination

TARGET = SshDestination("ann@web", "web", "ann", direct=True)


def fake_ssh(directory: Path, script: str) -> str:
    """Return a program instead of ssh; `$command` is what the other machine's shell gets."""
    program = directory / "ssh"
    program.write_text(f"#!/bin/sh\nfor command; do :; done\n{script}\n")
    program.chmod(0o755)
    return str(program)


def conversation(ssh: str) -> FarConversation:
    far = FarConversation(ssh, TARGET, python=sys.executable)
    far.begin()
    return far


def test_a_greeting_on_stdout_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ssh = fake_ssh(tmp_path, 'echo "touch your key" >&2; echo welcome; printf "no newline: "; exec sh -c "$command"')
    with conversation(ssh) as far:
        facts = far.ask("look")
        assert facts["python"] == list(sys.version_info[:3])
        assert facts["host"] in facts_text(facts)
        with pytest.raises(UpFailed, match=r"^on web: "):
            far.ask("install", name="1/../../x", wheels=[["a.whl", 3, "0"]], unpacked=1 << 60, files=[b"abc"])
        assert far.ask("look")["host"] == facts["host"]
    assert capfd.readouterr().err == "touch your key\n"


@pytest.mark.parametrize(
    ("script", "kind", "reason"),
    [
        ("exit 255", ConnectError, r"^ssh to ann@web has failed$"),
        ("kill -9 $$", ConnectError, "ssh to ann@web has failed"),
        ("echo this account is closed; exit 1", UpFailed, "ended with code 1 .*: this account is closed"),
        ("exec head -c 2000000 /dev/zero", ConnectError, "prints without end"),
        ("head -c 1000 | grep -ao 'farhand-[0-9a-f]\\{16\\} {' | head -n 1; exit 255", ConnectError, "has failed$"),
    ],
)
def test_a_connection_that_ends_says_what_was_printed(
    tmp_path: Path, script: str, kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind, match=reason), conversation(fake_ssh(tmp_path, script)) as far:
        far.ask("look")


def test_what_breaks_afterwards_is_quoted_from_stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ssh = fake_ssh(tmp_path, 'sh -c "$command" 2>/dev/null; echo "broken pipe" >&2; exit 255')
    with conversation(ssh) as far:
        far.ask("look")
        with pytest.raises(ConnectError, match="ssh to ann@web has failed: broken pipe"):
            far.ask("no such request")


def test_a_machine_without_python_or_sudo_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = fake_ssh(tmp_path, 'exec sh -c "$command"')
    far = FarConversation(ssh, TARGET, python="/no/python")
    far.begin()
    with pytest.raises(UpFailed, match="web: /no/python there is not a Python"), far:
        far.ask("look")
    (tmp_path / "bin").mkdir()
    for name, script in (("id", "echo 1000"), ("sudo", "exit 1")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    far = FarConversation(ssh, TARGET, system=True)
    far.begin()
    with pytest.raises(UpFailed, match="sudo asks for a password"), far:
        far.ask("look")


def test_an_ssh_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SSH_END_TIMEOUT", 0.1)
    with conversation(fake_ssh(tmp_path, "trap '' TERM; exec >&- 2>&-; while :; do read x; done")):
        pass


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ConnectError, match="cannot run /no/ssh"):
        FarConversation("/no/ssh", TARGET)
