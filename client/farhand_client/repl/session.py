"""What is typed at a terminal, and the hosts it is for."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from farhand_client.errors import ConnectionLost, FarhandError
from farhand_client.ui.exitcodes import EXIT_BROKEN_PIPE, EXIT_FAILURE, EXIT_INTERRUPTED
from farhand_client.ui.interrupts import SignalHandler
from farhand_client.ui.text import printable, truncate

from .commands import ExitRepl, is_own, parse
from .hosts import Host, Hosts, OpeningOf
from .jobs import SHOWN, SHOWN_OF_SEVERAL
from .output import Files, OfHost, Output
from .runner import Everyone, Interrupted, Ladder, Runner, laddered

if TYPE_CHECKING:
    from farhand_client.terminal.local import LocalTerminal

    from .interpreter import Interpreter
    from .terminal_runner import Foreground

T = TypeVar("T")


def prepare() -> None:
    """Load what the first command takes, so that it finds it."""
    from farhand_client.ui import terminal_request  # noqa: F401

    from . import actions, interpreter, terminal_runner  # noqa: F401


class ReplSession:
    """Runs commands, one after another, on the hosts that are active."""

    def __init__(self, first: str, opening_of: OpeningOf, interrupts: SignalHandler, escape: int | None) -> None:
        self.hosts: Final = Hosts(opening_of, first)
        self.files: Final = Files()
        self.interrupted = False
        """Whether Ctrl-C came during the last command."""
        self._opened: LocalTerminal | None = None
        self._interrupts = interrupts
        self._escape = escape
        self._everyone = Everyone()

    async def close(self) -> None:
        """Leave all hosts, and the terminal as it was."""
        try:
            await self.hosts.close()
        finally:
            if self._opened is not None:
                self._opened.__exit__(None, None, None)

    @property
    def _terminal(self) -> LocalTerminal:
        """The user's terminal; raises `TerminalUnavailable`. Opened once no prompt, with modes of its own, is shown."""
        if self._opened is None:
            from farhand_client.terminal.local import LocalTerminal
            from farhand_client.ui.terminal_request import UNKNOWN_TERMINAL, terminal_request

            self._opened = LocalTerminal()
            try:
                terminal_request(None)
            except ValueError as error:
                self.files.say(f"{error}; programs are told {UNKNOWN_TERMINAL}")
        return self._opened

    def ask(self) -> None:
        """Ask for what the prompt has to say and nobody waits for."""
        for host in self.hosts.active:
            host.ask_branch()

    @property
    def code(self) -> int:
        """The exit code of the last command: where it ran on several hosts, the first that is not 0."""
        return next((host.state.code for host in self.hosts.active if host.state.code), 0)

    async def execute(self, text: str) -> bool:
        """Run `text`, which is a command of ours, or a remote shell's; several of those may stand in it.

        Returns False where it is not known whether all was run, or known that it was not; the user was told why.
        Raises `ExitRepl`.
        """
        with self._interrupts.interrupts_to(self._everyone):
            if is_own(text):
                return await self._own(text)
            for host in self.hosts.active:
                host.jobs.shown = SHOWN_OF_SEVERAL if self.several else SHOWN
            interpreters = [self.interpreter(host) for host in self.hosts.active]
            if not self.several:
                whole = await interpreters[0].execute(text)
            else:
                whole = await _each(interpreters, text)
                self._say_outcomes()
            self.interrupted = any(interpreter.interrupted for interpreter in interpreters)
            return whole

    def give_up(self) -> None:
        """Ctrl-C came before a command had begun."""
        for host in self.hosts.active:
            host.state.code, host.state.ended, host.state.took = EXIT_INTERRUPTED, "SIGINT", 0.0

    def news(self) -> None:
        """Say what has happened since the last prompt: jobs that have ended, services that go away."""
        columns = os.get_terminal_size(1).columns or 80
        for host in self.hosts.known.values():
            host.link.check()
            whose = f"{host.name}: " if len(self.hosts.known) > 1 else ""
            for line in host.jobs.news():
                self.files.say(truncate(printable(whose + line), columns - len("farhand: ")))
            host.jobs.look_again()

    def going(self) -> None:
        """Say which jobs go on when the user leaves."""
        for host in self.hosts.known.values():
            if going := [job.name for job in host.jobs.going]:
                self.files.say(f"going on at {host.name}: {', '.join(going)}")

    @property
    def several(self) -> bool:
        """Whether lines go to more than one host."""
        return len(self.hosts.active) > 1

    def output(self, host: Host) -> Output:
        """Return where the output of a host goes."""
        return OfHost(self.files, host.name) if self.several else self.files

    def runner(self, host: Host) -> Runner:
        """Return what runs commands of a host that have no terminal."""
        return Runner(host.link, self.output(host), self._everyone)

    def foreground(self, host: Host) -> Foreground:
        """Return what runs commands of a host on the user's terminal."""
        from .terminal_runner import Foreground

        return Foreground(host, self._terminal, self._escape, self.files, self.runner(host), self._everyone)

    def interpreter(self, host: Host) -> Interpreter:
        """Return what understands lines for a host; programs have a terminal where it is the only one."""
        from .interpreter import Interpreter

        screen = None if self.several else self.foreground(host)
        return Interpreter(host, self.output(host), self.runner(host), screen, jobs=True)

    async def asked(self, job: Coroutine[Any, Any, T]) -> T:
        """Return what `job`, which asks a service for something, comes to; Ctrl-C gives it up.

        Raises `Interrupted`, and what `job` raises.
        """
        with contextlib.ExitStack() as stack:
            for host in self.hosts.active:
                stack.enter_context(host.link.spoken_of())
            return await laddered(self._everyone, Ladder(self.files.say), job)

    async def _own(self, text: str) -> bool:
        from .actions import act

        code: int | None = 1
        self.interrupted = False
        try:
            code = await act(self, parse(text))
        except Interrupted:
            code, self.interrupted = EXIT_INTERRUPTED, True
        except (FarhandError, ValueError) as error:
            self.files.say(str(error))
            if isinstance(error, ConnectionLost):
                await self.hosts.drop_dead()
        except BrokenPipeError:
            raise ExitRepl(EXIT_BROKEN_PIPE) from None
        except OSError as error:
            self.files.say(f"cannot write the output: {error.strerror}")
            raise ExitRepl(EXIT_FAILURE) from None
        for host in self.hosts.active:
            if code is not None:
                host.state.code, host.state.took = code, 0.0
                host.state.ended = "SIGINT" if self.interrupted else ""
        return not self.interrupted

    def _say_outcomes(self) -> None:
        for host in self.hosts.active:
            if host.state.code:
                self.files.say(f"{host.name}: {host.state.ended or f'exit {host.state.code}'}")


async def _each(interpreters: list[Interpreter], text: str) -> bool:
    done = await asyncio.gather(*(one.execute(text) for one in interpreters), return_exceptions=True)
    errors = [one for one in done if isinstance(one, BaseException)]
    for error in sorted(errors, key=lambda error: isinstance(error, ExitRepl)):
        raise error
    return all(done)
