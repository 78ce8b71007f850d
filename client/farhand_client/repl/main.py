"""Runs the REPL that suits stdin and stdout: a prompt for a person, else a script."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from farhand_client.ui.exitcodes import EXIT_FAILURE
from farhand_client.ui.interrupts import SignalHandler
from farhand_client.ui.printing import print_message

from .commands import ExitRepl

if TYPE_CHECKING:
    from .host_connection import Opening

T = TypeVar("T")


class Aside(Protocol):
    """Asks the user something, who may have a prompt before them."""

    async def __call__(self, question: Callable[[], Awaitable[T]]) -> T:
        """Return what `question` comes to."""


class OpeningOf(Protocol):
    """Knows how to connect to hosts."""

    def __call__(self, name: str, aside: Aside) -> Opening:
        """Return what connects to the HOST of that name; where it has a question, that is put to `aside`."""


async def main(first: str, opening_of: OpeningOf, escape: int | None = None) -> int:
    """Run a REPL that begins at the HOST `first`; return the exit code of this process.

    Where stdin and stdout are a terminal, lines are prompted for; else stdin is a script. The code is the last line's,
    that of `exit`, or 128 and the signal that ended the REPL. `escape` is the character before keys for the REPL while
    a program has the terminal. Raises what connecting at the start raises.
    """
    # What is loaded now stays: to look for garbage in it is a tenth of the time until the prompt.
    gc.disable()
    with SignalHandler() as interrupts:
        try:
            if attended():
                from .attended import Attended

                await Attended(first, opening_of, interrupts, escape).run()
            return await _script(first, opening_of, interrupts)
        except ExitRepl as leave:
            return leave.code
        except OSError as error:
            print_message(f"cannot read stdin, or the terminal is gone: {error.strerror}")
            return EXIT_FAILURE
        except asyncio.CancelledError:
            if interrupts.ended_by is None:
                raise
            return 128 + interrupts.ended_by


def attended() -> bool:
    """Whether a person types here, and sees what comes."""
    return os.isatty(0) and os.isatty(1)


async def directly(question: Callable[[], Awaitable[T]]) -> T:
    """Ask, where there is no prompt (an `Aside`)."""
    return await question()


async def _script(first: str, opening_of: OpeningOf, interrupts: SignalHandler) -> int:
    from farhand_client.stdin import read_chunks

    from . import script
    from .host_connection import HostConnection
    from .hosts import Host
    from .interpreter import Interpreter
    from .output import Files
    from .runner import Runner

    files = Files()
    host = Host(first, HostConnection(first, opening_of(first, directly), print_message))
    try:
        with interrupts.interrupts_to(interrupts.end):
            await host.link.connect()
            gc.enable()
            interpreter = Interpreter(host, files, Runner(host.link, files, interrupts))
            await script.run(interpreter, read_chunks(0))
    finally:
        await host.close()
    return host.state.code
