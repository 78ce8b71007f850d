"""Programs on a terminal of a fake service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited

from .command import FARHAND
from .fake_service import FakeRun, FakeService
from .ptys import Pty

FULL_SCREEN = b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?1000h"
"""The modes that an editor sets when it starts."""


async def echo(run: FakeRun) -> None:
    """A program that prints that it is ready and echoes what is typed in brackets, until it reads a `q`."""
    await begin(run)
    await run.write("stdout", b"ready ")
    done = 0
    while not run.client.closed.is_set():
        if typed := bytes(run.stdin[done:]):
            done += len(typed)
            await run.write("stdout", b"<" + typed + b">")
            if b"q" in typed:
                run.ended(Exited(code=3))
                return
        run.changed.clear()
        if len(run.stdin) == done:
            await run.changed.wait()


async def editor(run: FakeRun) -> None:
    """A program that has changed many terminal modes; it runs until its client detaches."""
    await begin(run)
    await run.write("stdout", FULL_SCREEN + b"editing")
    await run.until(m.Close)


async def begin(run: FakeRun) -> None:
    """Start, and print the size of the terminal."""
    run.started()
    wanted = run.request.terminal
    size = run.attach.size if run.attach is not None else wanted.size if wanted is not None else None
    if size is not None:
        run.send(m.Resize(columns=size.columns, rows=size.rows))


@contextlib.asynccontextmanager
async def running_shell(
    pty: Pty, service: FakeService, env: dict[str, str], *options: str, host: str | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `farhand shell` at the terminal `pty`; unless it behaves otherwise, the service runs `echo`."""
    service.behave = echo if service.behave.__name__ == "succeed" else service.behave
    hosts = [service.host if host is None else host] if host != "" else []
    async with pty.running(*FARHAND, "shell", *options, *hosts, env=env) as process:
        yield process
