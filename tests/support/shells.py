"""`farhand shell` and what else shows a run, on terminals of the test's own: what a person types and waits for."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping

from .command import FARHAND
from .ptys import Pty

PROMPT = b"there> "

_PLAIN = b"exec env -u ENV -u PROMPT_COMMAND PS1='th''ere> ' PS2= %s\r"


def new_run_id() -> str:
    """An id that no other test has."""
    return f"01890000-0000-7000-8000-{os.urandom(6).hex()}"


class Shell:
    """Somebody's shell there, shown on `pty` by `process`."""

    def __init__(self, pty: Pty, process: asyncio.subprocess.Process, run_id: str) -> None:
        self.pty = pty
        self.process = process
        self.id = run_id

    async def does(self, line: str) -> str:
        """Type a line; return what was shown for it up to the next prompt."""
        self.pty.type(line.encode() + b"\r")
        await self.pty.shows(line.encode() + b"\r\n")
        return (await self.pty.shows(PROMPT)).decode(errors="replace")

    async def begins(self, line: str) -> None:
        """Type a line that does not end by itself."""
        self.pty.type(line.encode() + b"\r")
        await self.pty.shows(line.encode() + b"\r\n")

    def say(self, line: str) -> None:
        """Type a line, whatever is there to take it."""
        self.pty.type(line.encode() + b"\r")


@contextlib.asynccontextmanager
async def shell(
    pty: Pty, host: str, env: Mapping[str, str], *options: str, program: str = "sh -i"
) -> AsyncIterator[Shell]:
    """A shell at its prompt, as plain as it can be, whatever the account's is."""
    run_id = new_run_id()
    async with pty.running(*FARHAND, "shell", "--id", run_id, *options, host, env=env) as process:
        await pty.until_raw()
        pty.type(_PLAIN % program.encode())
        await pty.shows(PROMPT)
        yield Shell(pty, process, run_id)


@contextlib.asynccontextmanager
async def attached(
    pty: Pty, host: str, env: Mapping[str, str], run_id: str, *options: str, shows: bytes = PROMPT.rstrip()
) -> AsyncIterator[Shell]:
    """A run that is there, shown from `shows` on."""
    async with pty.running(*FARHAND, "attach", *options, host, run_id, env=env) as process:
        await pty.shows(shows)
        await pty.until_raw()
        yield Shell(pty, process, run_id)
