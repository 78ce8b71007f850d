"""A terminal in tmux, usually with a REPL in it: types, and waits for screen content."""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import FARHAND
from tests.support.front_mode import typed_words
from tests.support.reference_terminals import FLAGS, cells

TIMEOUT = 45.0
"""Timeout, in seconds, for expected screen content."""

COLUMNS = 160
"""Wide enough for a prompt with the longest names of a user and a host (32 and 64 bytes on Linux) and a directory."""

SIGN = "# " if os.geteuid() == 0 else "$ "

WHO = f"{pwd.getpwuid(os.getuid()).pw_name}@{os.uname().nodename}"
"""user@host as the prompt shows it for a service on this machine."""

DURATION = re.compile(r" \[(?:([^]\n]*), )?\d[\dsmh.]*s\](?=(?: \(connection lost\))?[#$]( |$))", re.MULTILINE)
"""What a prompt says of a line that took long, after what it says of its failure."""


def at(directory: object = "~", more: str = "") -> str:
    """Return the prompt in a directory; `more` follows the directory."""
    return f"{WHO}:{directory}{more}{SIGN}"


class Screen:
    """A terminal of tmux."""

    def __init__(self, socket: Path) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]

    def tmux(self, *arguments: str) -> str:
        """Run a command of tmux."""
        return subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, text=True).stdout

    async def open(self, host: str, env: Mapping[str, str], prompt: str | None = None) -> None:
        """Start a REPL in a new terminal and wait for its prompt; when it has ended, its exit code is shown."""
        self.start(host, env)
        await self.shows(at() if prompt is None else prompt)

    def start(self, host: str, env: Mapping[str, str], *options: str, term: str | None = None) -> None:
        """Start a REPL in a new terminal; `term` is the value of TERM."""
        repl = self._repl(host, env, *options)
        if term is not None:
            repl = f"export TERM={term}; {repl}"
        self.tmux("new-session", "-d", "-x", str(COLUMNS), "-y", "30", repl)

    async def open_again(self, host: str, env: Mapping[str, str]) -> None:
        """Start another REPL in the same terminal, which is cleared first."""
        self.tmux("respawn-pane", "-k", self._repl(host, env))
        await self.shows(at())

    def _repl(self, host: str, env: Mapping[str, str], *options: str) -> str:
        farhand, env = typed_words(FARHAND, env)
        own = [f"{name}={value}" for name, value in env.items() if name.startswith(("XDG_", "FARHAND_"))]
        return f"{shlex.join(['env', *own, *farhand, 'repl', *options, host])}; echo left with $?; exec cat"

    def run(self, *command: str, env: Mapping[str, str]) -> None:
        """Run another command in a new terminal."""
        own = [f"{name}={value}" for name, value in env.items() if name.startswith(("XDG_", "FARHAND_"))]
        self.tmux(
            "new-session", "-d", "-x", str(COLUMNS), "-y", "30", shlex.join(["env", "-u", "TMUX", *own, *command])
        )
        self.tmux("set", "-g", "status", "off")

    def type(self, text: str, *keys: str) -> None:
        """Type literal text, then keys by their tmux names."""
        if text:
            self.tmux("send-keys", "-l", text)
        if keys:
            self.tmux("send-keys", *keys)

    @property
    def process(self) -> int:
        """The pid of the REPL."""
        shell = self.tmux("display-message", "-p", "#{pane_pid}").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    @property
    def text(self) -> str:
        """The screen's text without empty lines, and without the durations in prompts: a busy machine needs a second,
        from which on they are shown, for any line."""
        return DURATION.sub(lambda found: f" [{found[1]}]" if found[1] else "", self.timed_text)

    @property
    def timed_text(self) -> str:
        """The screen's text without empty lines."""
        lines = self.tmux("capture-pane", "-p", "-J").split("\n")
        return "\n".join(line.rstrip() for line in lines if line.strip())

    @property
    def rows(self) -> list[list[tuple[str, Any]]]:
        """The screen's rows with colours."""
        return cells(self.tmux("capture-pane", "-e", "-p"))[:-1]

    @property
    def flags(self) -> str:
        """Cursor position and terminal modes."""
        return self.tmux("display-message", "-p", FLAGS)

    @property
    def picture(self) -> tuple[list[list[tuple[str, Any]]], str]:
        """Rows and flags together."""
        return self.rows, self.flags

    async def shows(self, text: str) -> None:
        """Wait until the screen ends with `text`."""
        await self._until(lambda screen: screen.endswith(text.rstrip()), f"at the end: {text!r}")

    async def interrupted(self, pattern: str) -> None:
        """Press Ctrl-C until `pattern` matches: while the terminal changes modes, it may arrive as an ordinary key."""
        try:
            async with asyncio.timeout(TIMEOUT):
                while not re.search(pattern, self.text, re.MULTILINE):
                    self.type("", "C-c")
                    await asyncio.sleep(0.5)
        except TimeoutError:
            pytest.fail(f"expected {pattern} after Ctrl-C; the screen:\n{self.text}")

    async def recalls(self, text: str) -> None:
        """Press Up until the screen ends with `text`: a new prompt accepts keys before it has loaded the history, and
        ignores Up until then. If it was only slow, Down takes back what was too much."""
        before = self.text
        try:
            async with asyncio.timeout(TIMEOUT):
                for again in itertools.count(1):
                    now = self.text
                    if now.endswith(text.rstrip()):
                        return
                    if again % 50 == 1:
                        self.type("", "Up" if now == before else "Down")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"expected at the end: {text!r} after Up; the screen:\n{self.text}")

    async def matches(self, pattern: str) -> re.Match[str]:
        """Wait until the screen matches `pattern`; `^` and `$` match at line boundaries."""
        compiled = re.compile(pattern, re.MULTILINE)
        await self._until(lambda screen: compiled.search(screen) is not None, pattern)
        found = compiled.search(self.text)
        assert found is not None, "the expected text has disappeared again"
        return found

    async def answers(self, line: str, output: str, prompt: str) -> None:
        """Type a line; wait for its output and the next prompt."""
        self.type(line, "Enter")
        await self.shows(f"{line}\n{output}{prompt}")

    async def _until(self, condition: Callable[[str], bool], what: str) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                while not condition(self.text):  # noqa: ASYNC110  # tmux sends no notification
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"expected {what}; the screen:\n{self.text}")
