"""`farhand helper` shows and stops the helper, and says when there is none. (A real one: tests/integration.)"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from farhand_client.cli import helper
from farhand_client.cli.helper import helper_command
from farhand_client.mux.request import STATUS, STOP

REPORT = {
    "pid": 7,
    "seconds": 90.0,
    "served": 2,
    "connections": [
        {"target": "web", "user": "ada", "seconds": 5, "callers": 1, "channels": 2, "sent": 10, "received": 20}
    ],
}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What a helper that answers was asked."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    kinds: list[int] = []

    def ask_for(place: object, kind: int) -> bytes:
        kinds.append(kind)
        return json.dumps(REPORT).encode() if kind == STATUS else b""

    monkeypatch.setattr(helper, "ask_for", ask_for)
    return kinds


@pytest.mark.usefixtures("asked")
def test_the_connections_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert helper_command(["status"]) == 0
    assert capsys.readouterr().out == (
        "helper: pid 7, running for 90 s, 2 connections lent\n"
        "ada on web: up for 5 s, 1 command, 2 channels, 10 bytes sent, 20 received\n"
    )
    assert helper_command(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"running": True} | REPORT


def test_the_helper_is_stopped(asked: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    assert helper_command(["stop"]) == 0
    assert capsys.readouterr().out == "stopped the helper, pid 7\n"
    assert asked == [STATUS, STOP]


def test_without_a_helper_there_is_nothing_to_show_or_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for action in ("status", "stop"):
        assert helper_command([action]) == 255
        assert capsys.readouterr().out == "no helper is running\n"
    assert helper_command(["status", "--json"]) == 255
    assert json.loads(capsys.readouterr().out) == {"running": False}
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert helper_command(["status"]) == 255
    assert capsys.readouterr().out == "no helper can run: XDG_RUNTIME_DIR is not set\n"


def test_a_helper_that_is_just_ending_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(helper, "ask_for", lambda place, kind: b"")
    assert helper_command(["status"]) == 255
    assert capsys.readouterr().out == "no helper is running\n"
