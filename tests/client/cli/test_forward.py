"""What cannot be meant by `farhand forward` is refused before anything happens, with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client.cli.forward import forward_command
from farhand_client.errors import FarhandError


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("web", "no forward is given; write -L, -R, -D or -W"),
        ("-f web", "no forward is given; write -L, -R or -D"),
        ("--add web", "no forward is given"),
        ("-f --list", "--list and -f cannot be combined"),
        ("--add --cancel web -L 1:a:2", "--add and --cancel cannot be combined"),
        ("--all web -L 1:a:2", "--all is for --cancel"),
        ("--cancel web", "--cancel needs the forwards to end"),
        ("--cancel --all web -L 1:a:2", "--cancel needs the forwards to end"),
        ("--list -L 1:a:2", "--list shows all forwards"),
        ("web -W a:1 -L 1:a:2", "-W joins stdin and stdout to one connection"),
        ("web -W a:1 --json", "stdout is the connection"),
        ("-f web -L 1:a:2 --json", "farhand forward --list --json"),
        ("web -W a", "argument -W: a: host and port are needed; write -W a:PORT"),
        ("web -L 8080", "argument -L: 8080: it says where to listen, but not where to connect"),
        ("web -L 8080:80", "write -L 8080:localhost:80"),
        ("-N web -L 1:a:2", "farhand forward runs no command, with or without it"),
        ("-g web -L 1:a:2", "write *:PORT"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        forward_command(words.split())
    assert ended.value.code == 2
    assert says in " ".join(capsys.readouterr().err.split())


def test_kept_forwards_need_a_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    for words in ("-f web -L 0:a:2", "--list", "--add web -L 0:a:2", "--cancel web --all"):
        with pytest.raises(FarhandError, match="XDG_RUNTIME_DIR names none; run farhand forward without -f"):
            forward_command(words.split())


def test_what_is_not_kept_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for words in ("--add web -L 0:a:2", "--cancel web --all", "--list web"):
        with pytest.raises(FarhandError, match=r"no forwards of web are kept; farhand forward -f web"):
            forward_command(words.split())
    assert forward_command(["--list"]) == 0
