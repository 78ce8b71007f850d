"""Terminals of tmux, with a REPL in them or something else: what a user sees there, and types."""

from __future__ import annotations

import asyncio
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
from tests.support.reference_terminals import FLAGS, cells

PATIENCE = 20.0
"""Seconds after which something expected on the screen counts as never coming."""

COLUMNS = 160
"""Wide enough for a prompt with the longest names of a user and a host (32 and 64 bytes on Linux) and a directory."""

SIGN = "# " if os.geteuid() == 0 else "$ "

WHO = f"{pwd.getpwuid(os.getuid()).pw_name}@{os.uname().nodename}"
"""Who one is at a service of the test's own."""


def at(directory: object = "~", more: str = "") -> str:
    """The prompt in a directory; `more` is what stands behind that."""
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
        """Start a REPL in a new terminal, which is said to be a `term`."""
        repl = self._repl(host, env, *options)
        if term is not None:
            repl = f"export TERM={term}; {repl}"
        self.tmux("new-session", "-d", "-x", str(COLUMNS), "-y", "30", repl)

    async def open_again(self, host: str, env: Mapping[str, str]) -> None:
        """Start another in the same terminal, which is empty again."""
        self.tmux("respawn-pane", "-k", self._repl(host, env))
        await self.shows(at())

    def _repl(self, host: str, env: Mapping[str, str], *options: str) -> str:
        own = [f"{name}={value}" for name, value in env.items() if name.startswith("XDG_")]
        return f"{shlex.join(['env', *own, *FARHAND, 'repl', *options, host])}; echo left with $?; exec cat"

    def run(self, *command: str, env: Mapping[str, str]) -> None:
        """Run something else in a new terminal."""
        own = [f"{name}={value}" for name, value in env.items() if name.startswith("XDG_")]
        self.tmux(
            "new-session", "-d", "-x", str(COLUMNS), "-y", "30", shlex.join(["env", "-u", "TMUX", *own, *command])
        )
        self.tmux("set", "-g", "status", "off")

    def type(self, text: str, *keys: str) -> None:
        """Type text as it is, then keys by tmux's names."""
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
        """What is on the screen, without empty lines."""
        lines = self.tmux("capture-pane", "-p", "-J").split("\n")
        return "\n".join(line.rstrip() for line in lines if line.strip())

    @property
    def rows(self) -> list[list[tuple[str, Any]]]:
        """What is on the screen, row by row, with its colours."""
        return cells(self.tmux("capture-pane", "-e", "-p"))[:-1]

    @property
    def flags(self) -> str:
        """Where the cursor is, and what a program has set in the terminal."""
        return self.tmux("display-message", "-p", FLAGS)

    @property
    def picture(self) -> tuple[list[list[tuple[str, Any]]], str]:
        """All of this."""
        return self.rows, self.flags

    async def shows(self, text: str) -> None:
        """Wait until the screen ends with `text`."""
        await self._until(lambda screen: screen.endswith(text.rstrip()), f"at the end: {text!r}")

    async def interrupted(self, pattern: str) -> None:
        """Press Ctrl-C until something matches: what is typed while the terminal changes its modes is only a key."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not re.search(pattern, self.text, re.MULTILINE):
                    self.type("", "C-c")
                    await asyncio.sleep(0.5)
        except TimeoutError:
            pytest.fail(f"expected {pattern} after Ctrl-C; the screen:\n{self.text}")

    async def matches(self, pattern: str) -> re.Match[str]:
        """Wait until something on the screen matches `pattern`, in which `^` and `$` are the ends of lines."""
        compiled = re.compile(pattern, re.MULTILINE)
        await self._until(lambda screen: compiled.search(screen) is not None, pattern)
        found = compiled.search(self.text)
        assert found is not None, "it is gone again"
        return found

    async def answers(self, line: str, output: str, prompt: str) -> None:
        """Type a line and wait for what it prints and the next prompt."""
        self.type(line, "Enter")
        await self.shows(f"{line}\n{output}{prompt}")

    async def _until(self, condition: Callable[[str], bool], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition(self.text):  # noqa: ASYNC110  # tmux tells nobody
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"expected {what}; the screen:\n{self.text}")
