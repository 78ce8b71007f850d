"""The REPL without a terminal: stdin is a script, whose commands run as soon as they are complete."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from farhand_client import caller
from farhand_client.stdin import read_chunks
from farhand_client.ui.exitcodes import EXIT_FAILURE, EXIT_INTERRUPTED
from farhand_client.ui.interrupts import SignalHandler
from farhand_client.ui.printing import print_message, require_stdout

from .commands import ExitRepl
from .host_connection import HostConnection, HostOpener
from .hosts import ReplHost
from .interpreter import Interpreter
from .lines import MAX_COMMAND, LineJoiner, decode
from .output import StandardOutput
from .runner import PipeRunner

EXIT_SYNTAX_ERROR: Final = 2
"""Exit code for a script that cannot be parsed, as in sh."""

T = TypeVar("T")


async def run_script(name: str, opener: HostOpener, signals: SignalHandler) -> int:
    """Run the script on stdin on the host `name`; return the exit code of its last command.

    Raises `ExitRepl`, and what connecting raises.
    """
    require_stdout("the output of the script would be lost")
    output = StandardOutput()
    host = ReplHost(name, HostConnection(name, opener(name, ask_directly), print_message), "script")
    try:
        with signals.interrupts_to(signals.end):
            await host.connection.connect()
            caller.commit()  # from here on stdin is read
            gc.enable()
            interpreter = Interpreter(host, output, PipeRunner(host.connection, output, signals))
            await run_lines(interpreter, read_chunks(0))
    finally:
        await host.close()
    return host.state.code


async def ask_directly(question: Callable[[], Awaitable[T]]) -> T:
    """Ask the user where no prompt has to be hidden. Implements `AskUser`."""
    return await question()


async def run_lines(interpreter: Interpreter, source: AsyncIterable[bytes]) -> None:
    """Run the commands of `source` one after another until it ends.

    As in sh, a command that fails does not end the script. A lost connection and Ctrl-C do, since later lines may rely
    on earlier ones. A line may end with CR LF. Raises `ExitRepl`.
    """
    joiner = LineJoiner()
    number = first = 0
    try:
        async for line in split_lines(source):
            number += 1
            first = first if joiner.unfinished else number
            command = joiner.feed(decode(line))
            if command is None:
                continue
            if not await interpreter.execute(command):
                raise ExitRepl(interpreter.state.code or EXIT_FAILURE)
            if interpreter.interrupted:
                raise ExitRepl(EXIT_INTERRUPTED)
    except ValueError as error:
        print_message(f"line {first}: {error}")
        raise ExitRepl(EXIT_SYNTAX_ERROR) from None
    if joiner.unfinished is not None:
        print_message(f"line {first}: the script ends inside {joiner.unfinished}")
        raise ExitRepl(EXIT_SYNTAX_ERROR)
    if interpreter.state.exit_trap:
        await interpreter.execute("exit")


async def split_lines(source: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield each line, without its LF or CR LF, as soon as it is complete.

    Raises ValueError for a line that is too long for a command, before all of it is in memory.
    """
    partial = bytearray()
    async for chunk in source:
        *complete, rest = chunk.split(b"\n")
        for line in complete:
            yield bytes(partial + line).removesuffix(b"\r")
            partial.clear()
        partial += rest
        if len(partial) > MAX_COMMAND:
            raise ValueError(f"longer than {MAX_COMMAND} bytes, which no program accepts as an argument")
    if partial:
        yield bytes(partial).removesuffix(b"\r")
