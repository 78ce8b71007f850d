"""Commands of `farhand rsh` that need no more than a command take the direct path, with ssh's meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farhand_client.direct.deadline import NotDirectError
from farhand_client.direct.ssh_words import plain_session


@pytest.fixture(autouse=True)
def _config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh").write_text("Host web\nHostName web.example.net\nSendEnv FAR_*\nPort 22\n")
    monkeypatch.setenv("FARHAND_SSH_CONFIG", str(tmp_path / "ssh"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("FAR_X", "1")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr("os.isatty", lambda fd: False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["web", "ls", "-l"], {"shell": b"ls -l", "stdin": True}),
        (["-n", "web", "ls"], {"shell": b"ls"}),
        (["-T", "web"], {"login": True, "stdin": True}),
        (["-oSetEnv=FAR_X=2", "web", "ls"], {"env": ((b"FAR_X", b"2"),)}),
    ],
)
def test_the_request_is_what_ssh_would_run(words: list[str], expected: dict[str, Any]) -> None:
    command, route = plain_session(words)
    assert expected.items() <= ({"env": ((b"FAR_X", b"1"),)} | command.request).items()
    assert ("stdin" in command.request) == ("stdin" in expected or words[0].startswith("-o"))
    assert command.request["leave_processes"]
    assert command.as_ssh
    assert (route.host, route.port) == ("web.example.net", 7022)


def test_sftp_is_the_servers_program() -> None:
    command, _ = plain_session(["-x", "-oForwardX11=no", "web", "-s", "sftp"])
    assert command.request["argv"][:2] == (b"/bin/sh", b"-c")


def test_users_ports_and_keys_of_the_command_line_count(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    command, route = plain_session(["-p", "7044", "-i", str(tmp_path / "key"), "ann@web", "ls"])
    assert (route.user, route.port, route.preferred) == ("ann", 7044, (str(tmp_path / "key"),))
    command, route = plain_session(["-oIdentitiesOnly=yes", "-i", str(tmp_path / "key"), "web", "ls"])
    assert command.identities == [str(tmp_path / "key")]


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["web"],
        ["-tt", "web", "ls"],
        ["-L", "1:a:2", "web", "ls"],
        ["-oForwardAgent=/x", "web", "ls"],
        ["-f", "web", "ls"],
        ["-N", "web"],
        ["-v", "web", "ls"],
        ["-q", "web", "ls"],
        ["-E", "log", "web", "ls"],
        ["-G", "web"],
        ["-V"],
        ["-b", "x", "web", "ls"],
        ["-J", "a", "web", "ls"],
        ["-oProxyCommand=nc", "web", "ls"],
        ["-oNonsense=1", "web", "ls"],
        ["-i", "/no/such/key", "web", "ls"],
        ["::1", "ls"],
        [],
    ],
)
def test_everything_else_is_left_to_the_command(words: list[str]) -> None:
    with pytest.raises(NotDirectError):
        plain_session(words)
