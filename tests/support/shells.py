"""`farhand shell` and `farhand attach` on pseudoterminals, driven as a person would."""

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
    """Return a run id that no other test uses."""
    return f"01890000-0000-4000-8000-{os.urandom(6).hex()}"


class Shell:
    """A remote shell shown on `pty` by `process`."""

    def __init__(self, pty: Pty, process: asyncio.subprocess.Process, run_id: str) -> None:
        self.pty = pty
        self.process = process
        self.id = run_id

    async def does(self, line: str) -> str:
        """Type a line; return its output up to the next prompt."""
        self.pty.type(line.encode() + b"\r")
        await self.pty.shows(line.encode() + b"\r\n")
        return (await self.pty.shows(PROMPT)).decode(errors="replace")

    async def begins(self, line: str) -> None:
        """Type a line whose command keeps running."""
        self.pty.type(line.encode() + b"\r")
        await self.pty.shows(line.encode() + b"\r\n")

    def type_line(self, line: str) -> None:
        """Type a line without waiting for its echo."""
        self.pty.type(line.encode() + b"\r")


@contextlib.asynccontextmanager
async def shell(
    pty: Pty, host: str, env: Mapping[str, str], *options: str, program: str = "sh -i"
) -> AsyncIterator[Shell]:
    """Open a remote shell with a plain prompt, whatever the account's login shell is."""
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
    """Attach to an existing run; wait until `shows` appears."""
    async with pty.running(*FARHAND, "attach", *options, host, run_id, env=env) as process:
        await pty.shows(shows)
        await pty.until_raw()
        yield Shell(pty, process, run_id)
