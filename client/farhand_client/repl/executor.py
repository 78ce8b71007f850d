"""Executes what is typed at the prompt: a command of the REPL's own, or lines for the shells of the active hosts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from farhand_client.errors import ConnectionLost, FarhandError
from farhand_client.ui.exitcodes import EXIT_BROKEN_PIPE, EXIT_FAILURE, EXIT_INTERRUPTED

from .actions import perform
from .commands import ExitRepl, is_repl_command, parse_command
from .jobs import JOB_NAME_LENGTH, SHARED_JOB_NAME_LENGTH
from .runner import Interrupted
from .session import ReplSession

if TYPE_CHECKING:
    from .interpreter import Interpreter


EXIT_REPL_COMMAND_FAILED: Final = 1
"""The code shown after a command of the REPL's own that failed."""


class LineExecutor:
    """Executes commands one after another on the active hosts of `session`, and records their outcome there."""

    def __init__(self, session: ReplSession) -> None:
        self.interrupted = False
        """Whether Ctrl-C came during the last command."""
        self._session = session

    async def execute(self, text: str) -> bool:
        """Execute `text`: a command of the REPL's own, or one or more commands for the remote shell.

        Return False if not all of it ran, or if that is unknown; the user has been told why. Raises
        `ExitRepl`.
        """
        with self._session.interrupts_to_command():
            if is_repl_command(text):
                return await self._execute_repl_command(text)
            return await self._execute_on_hosts(text)

    async def _execute_on_hosts(self, text: str) -> bool:
        session = self._session
        for host in session.hosts.active:
            host.jobs.name_length = SHARED_JOB_NAME_LENGTH if session.several else JOB_NAME_LENGTH
        interpreters = [session.interpreter(host) for host in session.hosts.active]
        if session.several:
            complete = await _execute_on_each(interpreters, text)
            self._print_failures()
        else:
            complete = await interpreters[0].execute(text)
        self.interrupted = any(interpreter.interrupted for interpreter in interpreters)
        return complete

    async def _execute_repl_command(self, text: str) -> bool:
        session = self._session
        code: int | None = EXIT_REPL_COMMAND_FAILED
        self.interrupted = False
        try:
            code = await perform(session, parse_command(text))
        except Interrupted:
            code, self.interrupted = EXIT_INTERRUPTED, True
        except (FarhandError, ValueError) as error:
            session.print_message(str(error))
            if isinstance(error, ConnectionLost):
                await session.hosts.close_lost_connections()
        except BrokenPipeError:
            raise ExitRepl(EXIT_BROKEN_PIPE) from None
        except OSError as error:
            session.print_message(f"cannot write the output: {error.strerror}")
            raise ExitRepl(EXIT_FAILURE) from None
        if code is not None:
            for host in session.hosts.active:
                host.state.set_outcome(code, "SIGINT" if self.interrupted else "", duration=0.0)
        return not self.interrupted

    def _print_failures(self) -> None:
        for host in self._session.hosts.active:
            if host.state.code:
                self._session.print_message(f"{host.name}: {host.state.outcome or f'exit {host.state.code}'}")


async def _execute_on_each(interpreters: list[Interpreter], text: str) -> bool:
    """Execute `text` on all hosts at once. If several raise, `ExitRepl` comes last: a real error must not be lost."""
    done = await asyncio.gather(*(each.execute(text) for each in interpreters), return_exceptions=True)
    errors = [each for each in done if isinstance(each, BaseException)]
    for error in sorted(errors, key=lambda error: isinstance(error, ExitRepl)):
        raise error
    return all(done)
