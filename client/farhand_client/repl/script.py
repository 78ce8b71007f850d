"""The REPL without a terminal: its stdin is a script, which is read as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Final

from farhand_client.ui.exitcodes import EXIT_FAILURE, EXIT_INTERRUPTED
from farhand_client.ui.printing import print_message

from .commands import ExitRepl
from .interpreter import Interpreter
from .lines import MAX_COMMAND, Assembler, decode

SYNTAX: Final = 2
"""Exit code for a script that cannot be understood: as sh's."""


async def run(interpreter: Interpreter, source: AsyncIterable[bytes]) -> None:
    """Run the lines of `source` one after another; return at its end, or after a line that could not be seen through.

    A command that fails does not end the script, as in sh; a lost connection does, and so does Ctrl-C: what follows
    may rely on what came before. A line may end with CR LF. Raises `ExitRepl`.
    """
    assembler = Assembler()
    number = began = 0
    try:
        async for line in lines(source):
            number += 1
            began = began if assembler.unfinished else number
            command = assembler.feed(decode(line))
            if command is None:
                continue
            if not await interpreter.execute(command):
                raise ExitRepl(interpreter.state.code or EXIT_FAILURE)
            if interpreter.interrupted:
                raise ExitRepl(EXIT_INTERRUPTED)
    except ValueError as error:
        print_message(f"line {began}: {error}")
        raise ExitRepl(SYNTAX) from None
    if assembler.unfinished is not None:
        print_message(f"line {began}: the script ends inside {assembler.unfinished}")
        raise ExitRepl(SYNTAX)


async def lines(source: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Give lines without their ends, as soon as they are whole. Raises ValueError for one that no command could be."""
    partial = bytearray()
    async for chunk in source:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield bytes(partial + line).removesuffix(b"\r")
            partial.clear()
        partial += rest
        if len(partial) > MAX_COMMAND:
            raise ValueError(f"longer than {MAX_COMMAND} bytes, which no program takes as an argument")
    if partial:
        yield bytes(partial).removesuffix(b"\r")
