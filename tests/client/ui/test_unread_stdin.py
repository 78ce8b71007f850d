"""Data on stdin counts if it was put there for this process, and not if it is the list of a loop or a script's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_client.ui.unread_stdin import UnreadStdin, has_data_for_us

ASK = "from farhand_client.ui.unread_stdin import has_data_for_us; print(has_data_for_us())"

ASK_LATER = f"import select; select.select([0], [], [], 60); {ASK}"
"""The writer of a pipe may be slower than the program that reads from it."""

SCRIPTS = {
    "echo hi | ask": "True",
    "ask < list": "True",
    "cat list | ask": "True",
    "while read name; do ask; done < list": "False False False",
    "cat list | while read name; do ask; done": "False False False",
    "cat list | { read name; ask; :; }": "False",
    """printf '"$1" -c "$2"; :' > script; echo hi | sh ./script "$1" "$2\"""": "False",
    "ask < /dev/null": "False",
    "ask <&-": "False",
    ": | ask": "False",
    "ask < empty": "False",
}
"""What is asked in a shell, and the answers."""


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("shell", [path for name in ("sh", "bash", "zsh", "ksh") if (path := shutil.which(name))])
def test_only_data_for_this_process_counts(tmp_path: Path, shell: str, script: str) -> None:
    (tmp_path / "list").write_text("a\nb\nc\n")
    (tmp_path / "empty").touch()
    text = script.replace("ask", '"$1" -c "$2"') + "\n:"  # the last command might replace the shell
    command = [shell, "-c", text, "sh", sys.executable, ASK if "False" in SCRIPTS[script] else ASK_LATER]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (SCRIPTS[script].split(), "")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_data_may_come_late(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    assert not has_data_for_us(reading)
    os.write(writing, b"x")
    assert has_data_for_us(reading)
    assert os.read(reading, 2) == b"x"  # nothing was taken


def test_a_pipe_from_which_the_parent_reads_is_its_own(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.write(writing, b"x")
    command = [sys.executable, "-c", ASK_LATER]
    # Not this process, which may have more descriptors than are looked at.
    parent = ["sh", "-c", 'exec 5<&0 </dev/null; "$@" <&5; exit', "sh", *command]
    asked = subprocess.run(parent, stdin=reading, capture_output=True, check=True, text=True, timeout=60)
    assert asked.stdout == "False\n"
    given = subprocess.run(command, input="x", capture_output=True, check=True, text=True, timeout=60)
    assert given.stdout == "True\n"


def test_a_socket_is_like_a_pipe() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert not has_data_for_us(here.fileno())
        there.send(b"x")
        assert has_data_for_us(here.fileno())


def test_a_device_and_a_closed_descriptor_have_no_data() -> None:
    with Path("/dev/zero").open("rb") as zero:
        assert not has_data_for_us(zero.fileno())
    assert not has_data_for_us(9999)


def test_the_sentence_is_printed_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter([False, True, True])
    monkeypatch.setattr("farhand_client.ui.unread_stdin.has_data_for_us", lambda: next(answers))
    unread = UnreadStdin("it was not read")
    unread.report()
    assert capsys.readouterr().err == ""
    unread.report()
    unread.report()
    UnreadStdin(None).report()
    assert capsys.readouterr().err == "farhand: it was not read\n"
