"""Programs on a terminal, as a service shows them."""

from __future__ import annotations

from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited

from .fake_service import FakeRun

FULL_SCREEN = b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?1000h"
"""What an editor sets before it begins."""


async def echo(run: FakeRun) -> None:
    """A program that says it is ready and writes what is typed, in brackets, until there is a `q` in it."""
    await begin(run)
    await run.write("stdout", b"ready ")
    done = 0
    while not run.client.over.is_set():
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
    """A program that has set a lot in the terminal, until its client goes."""
    await begin(run)
    await run.write("stdout", FULL_SCREEN + b"editing")
    await run.until(m.Close)


async def begin(run: FakeRun) -> None:
    """Start, and say the size of the terminal."""
    run.started()
    wanted = run.request.terminal
    size = run.attach.size if run.attach is not None else wanted.size if wanted is not None else None
    if size is not None:
        run.say(m.Resize(columns=size.columns, rows=size.rows))
