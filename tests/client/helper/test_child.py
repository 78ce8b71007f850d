"""Which commands a child serves. What it becomes is tested with the fronts, in `test_front`."""

from __future__ import annotations

import os
import pty
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_client import cli
from farhand_client.helper.child import is_served, replace_environment, run_child
from tests.support.fronts import KINDS, Installation


@pytest.fixture
def terminal() -> Iterator[int]:
    leader, follower = pty.openpty()
    yield follower
    os.close(leader)
    os.close(follower)


@pytest.mark.parametrize(
    "command",
    [
        "run web -- true",
        "run -n --cwd it web -- ls -lit /proc/1",
        "run -e TERM --timeout 1s web sort -t, -i",
        "ps web",
        "logs -f web 01",
        "wait web 01 --timeout 5",
        "put web a b",
        "get web a -",
        "sync a web:b",
        "rsh -n web true",
        "rsh -nonsense",
    ],
)
def test_what_does_not_read_keys_is_served_at_a_terminal(command: str, terminal: int) -> None:
    assert is_served(command.split(), {0: terminal, 1: terminal, 2: terminal})


@pytest.mark.parametrize(
    "command",
    [
        "run -i web -- cat",
        "run --stdin web cat",
        "run -it web top",
        "run -nt web top",
        "shell web",
        "attach web 01",
        "replay web 01",
        "put web - b",
        "cp - web:b",
        "rsh web true",
        "rsh -tt -n web top",
    ],
)
def test_what_reads_keys_is_served_only_without_a_terminal(command: str, terminal: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    try:
        assert not is_served(command.split(), {0: terminal, 1: null, 2: null})
        assert not is_served(command.split(), {0: null, 1: terminal})
        assert is_served(command.split(), {0: null, 1: null, 2: terminal})
        assert is_served(command.split(), {})
    finally:
        os.close(null)


@pytest.mark.parametrize(
    "command",
    ["run --status-json /dev/fd/3 web true", "run -I /proc/self/fd/5 web true", "export -o /dev/tty web 01"],
)
def test_files_that_only_the_front_has_are_left_to_it(command: str) -> None:
    assert not is_served(command.split(), {})


def test_an_environment_is_replaced_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in (("KEPT", "1"), ("CHANGED", "old"), ("GONE", "x")):
        monkeypatch.setenv(name, value)
    wanted = {b"NEW": b"\xff", b"CHANGED": b"new", b"KEPT": b"1", b"EMPTY": b""}

    for added in (b"PREVIOUS_COMMAND", b"GONE"):
        replace_environment(wanted)
        assert dict(os.environb) == wanted
        os.environb[added] = b"1"
    replace_environment(dict(wanted))
    assert dict(os.environb) == wanted
    del os.environb[b"NEW"], os.environb[b"EMPTY"]  # monkeypatch knows only the others


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_goes_on_though_the_zygote_is_killed_as_it_begins(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = Installation.make(kind, tmp_path)
    installation.socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(installation.socket))
        installation.socket.chmod(0o600)
        listener.listen()
        reports, reporting = os.pipe()
        os.close(reports)
        parent, pid = os.getpid(), os.fork()
        if not pid:
            try:
                monkeypatch.setattr(cli, "main", lambda: os.write(1, b"done") + 1)
                run_child(listener, reporting, parent)
            finally:
                os._exit(1)
        os.close(reporting)
        try:
            assert installation.run("ps", "web") == (5, "done", "")
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
