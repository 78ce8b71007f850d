"""Connects, and runs the REPL that suits stdin and stdout: a prompt for a person, else a script."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from farhand_client.cli.interrupts import Interrupts
from farhand_client.cli.main import OURS
from farhand_client.feed import chunks
from farhand_client.paths import state_directory

from .interpreter import Interpreter, Leave
from .link import Link, Opening
from .output import Output, say
from .runner import Runner
from .state import State


async def main(opening: Opening) -> int:
    """Run a REPL over what `opening` connects to; return the exit code of this process.

    Where stdin and stdout are a terminal, lines are prompted for; else stdin is a script. The code is the last line's,
    that of `exit`, or 128 and the signal that ended the REPL. Raises what connecting at the start raises.
    """
    attended = os.isatty(0) and os.isatty(1)
    link = Link(opening)
    with Interrupts() as interrupts:
        try:
            async with _connected(link, interrupts, attended):
                return await _repl(link, interrupts, attended)
        except asyncio.CancelledError:
            if interrupts.ended_by is None:
                raise
            return 128 + interrupts.ended_by


@contextlib.asynccontextmanager
async def _connected(link: Link, interrupts: Interrupts, attended: bool) -> AsyncIterator[None]:
    # prompt_toolkit takes as long to load as a connection takes to be made.
    loading = asyncio.create_task(asyncio.to_thread(_load)) if attended else None
    try:
        with interrupts.to(interrupts.end):
            await link.connect()
        if loading is not None:
            await loading
        yield
    finally:
        await link.drop()


def _load() -> None:
    from . import prompt  # noqa: F401


async def _repl(link: Link, interrupts: Interrupts, attended: bool) -> int:
    output = Output()
    interpreter = Interpreter(link, output, Runner(link, output, interrupts), State())
    try:
        if attended:
            from .prompt import Prompt

            await Prompt(link, interpreter, output, state_directory() / "history").run()
        else:
            from . import script

            with interrupts.to(interrupts.end):
                await script.run(interpreter, chunks(0))
    except Leave as leave:
        return leave.code
    except OSError as error:
        say(f"cannot read stdin, or the terminal is gone: {error.strerror}")
        return OURS
    return interpreter.state.code
