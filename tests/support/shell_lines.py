"""Lines that run one after another in real shells, with the state of each in the next, as at a prompt."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from farhand_client.repl import shell_code
from farhand_client.repl.state_keeper import KEEPER_ARGV, StateReport


@dataclass(frozen=True)
class Line:
    """How a line ended."""

    code: int
    out: bytes
    err: bytes
    word: str
    """What the keeper said: `saved`, `same`, or `sync` if the shell did not report."""
    report: StateReport | None


class ShellLines:
    """A shell of this machine and its keeper; a context manager."""

    def __init__(self, shell: Path, home: Path, *, interactive: bool = False) -> None:
        self.name = shell.name
        self.home = home
        self.code = 0
        self.directory: bytes = bytes(home)
        self.number = 1
        self.previous: list[bytes] = []
        self.environment = {"HOME": str(home), "SHELL": str(shell), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        script = shell_code.keeper_script(interactive=interactive)
        argv = [*KEEPER_ARGV, str(len(script))]
        pipe = subprocess.PIPE
        environment = self.environment | {"TMPDIR": str(home)}
        self.keeper = subprocess.Popen(argv, stdin=pipe, stdout=pipe, env=environment, cwd=home)
        self._pending = b""
        self._request(script)
        self.kind, path = (part.decode() for part in self._answer()[1].split(b"\0"))
        self.path = Path(path)
        word, data = self._answer()
        assert word.startswith("started"), word
        self.base = int(word.split()[1])
        self.first = StateReport.parse(data)
        self.directory = self.first.physical

    def __enter__(self) -> ShellLines:
        return self

    def __exit__(self, *error: object) -> None:
        assert self.keeper.stdin is not None
        self.keeper.stdin.close()
        assert self.keeper.wait(timeout=60) == 0
        assert self.keeper.stdout is not None
        self.keeper.stdout.close()

    def __call__(self, text: str | bytes) -> Line:
        """Run a line."""
        line = text.encode() if isinstance(text, str) else text
        self.number += 1
        where = os.fsencode(self.path)
        prelude = shell_code.prelude(self.kind, where, self.base, self.number, self.code, line, previous=self.previous)
        extra = shell_code.startup_environment(self.kind, where)
        started = {os.fsdecode(name): os.fsdecode(value) for name, value in extra.items()}
        done = subprocess.run(
            [self.environment["SHELL"].encode(), b"-c", prelude, self.name.encode(), line],
            cwd=self.directory,
            env=self.environment | {"TERM": "xterm"} | started,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )
        self.code = done.returncode if done.returncode >= 0 else 128 - done.returncode
        self._request(f"sync {self.number}\n".encode())
        word, data = self._answer()
        if not word.startswith("sync"):
            assert self._answer()[0].startswith("sync")
        report = None
        self.previous = shell_code.plain_lines(self.previous, line) if word.startswith("same") else []
        if word.startswith("saved"):
            self.base = self.number
            report = StateReport.parse(data)
            self.directory = report.physical
        return Line(done.returncode, done.stdout, done.stderr, word.split()[0], report)

    def _request(self, data: bytes) -> None:
        assert self.keeper.stdin is not None
        self.keeper.stdin.write(data)
        self.keeper.stdin.flush()

    def _answer(self) -> tuple[str, bytes]:
        assert self.keeper.stdout is not None
        while b"\0\0" not in self._pending:
            data = os.read(self.keeper.stdout.fileno(), 65536)
            assert data, "the keeper has ended"
            self._pending += data
        answer, _, self._pending = self._pending.partition(b"\0\0")
        head, _, rest = answer.partition(b"\0")
        return head.decode(), rest


def lines_of(name: str, home: Path, *, interactive: bool = False) -> ShellLines:
    """Return the lines of the shell with this name, which must be installed."""
    found = shutil.which(name)
    assert found is not None
    return ShellLines(Path(found), home, interactive=interactive)
