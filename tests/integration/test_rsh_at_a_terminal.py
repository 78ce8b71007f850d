"""`farhand rsh` at a real terminal is what ssh is there: size, keys, full-screen programs, job control, escapes."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.support.command import FARHAND
from tests.support.tmux import Screen

pytestmark = pytest.mark.needs("tmux", "vim")

PROMPT = "at>"


async def test_a_login_shell_with_vim_and_job_control_and_a_new_size(
    screen: Screen, own: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "poem"
    rsh = shlex.join([*FARHAND, "rsh", "web"])
    screen.run("sh", "-c", f"{rsh}; echo left with $?; exec cat", env=own)
    await screen.matches(r"[#$] $|[#$]$")
    screen.type('exec env -i PATH="$PATH" TERM="$TERM" LANG=C.UTF-8 PS1="at> " bash --norc -i', "Enter")
    await screen.matches(f"^{PROMPT}$")
    screen.type("clear; tty; stty size; stty -a | grep -o 'intr = ^C'", "Enter")
    await screen.matches(rf"^/dev/pts/\d+\n30 160\nintr = \^C\n{PROMPT}$")

    screen.tmux("resize-window", "-x", "100", "-y", "25")
    screen.type('while [ "$(stty size)" != "25 100" ]; do sleep 0.05; done; clear; stty size', "Enter")
    await screen.matches(rf"^25 100\n{PROMPT}$")

    screen.type("clear; sleep 1000", "Enter")
    await screen.interrupted(rf"\^C\n{PROMPT}$")
    screen.type("echo code $?", "Enter")
    await screen.matches(rf"^code 130\n{PROMPT}$")

    screen.type(f"vim -u NONE -N {file}", "Enter")
    await screen.matches(r"^~\n~\n~")
    screen.type("ihello", "Escape")
    screen.type(":set columns? lines?", "Enter")
    await screen.matches(r"columns=100\s+lines=25")
    screen.type("", "Enter")
    screen.type("", "C-z")
    await screen.matches(r"Stopped +vim")
    screen.type("fg", "Enter")
    await screen.matches(r"^hello$")
    screen.type(":wq", "Enter")
    await screen.matches(rf"^{PROMPT}$")
    assert file.read_text() == "hello\n"

    screen.type("clear", "Enter")
    screen.type("", "Enter")
    screen.type("~?")
    await screen.matches(r"^~\. leaves")
    screen.type("", "Enter")
    screen.type("~.")
    await screen.matches(r"^left with 255$")


async def test_with_e_none_the_tilde_is_a_character_as_any_other(screen: Screen, own: dict[str, str]) -> None:
    rsh = shlex.join([*FARHAND, "rsh", "-e", "none", "-t", "web", "echo ready; exec cat -A"])
    screen.run("sh", "-c", f"{rsh}; echo left with $?; exec cat", env=own)
    await screen.matches("^ready$")
    screen.type("", "Enter")
    screen.type("~.", "Enter")
    await screen.matches(r"^~\.\$$")
    screen.type("", "C-d")
    await screen.matches(r"^Connection to \S+ closed\.\nleft with 0$")
