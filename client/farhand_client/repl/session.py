"""What a REPL at a terminal holds from its first connection to its end: the hosts, the output, and the terminal."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from farhand_client.config import DEFAULT_PREDICT, PredictMode
from farhand_client.ui.exitcodes import EXIT_INTERRUPTED
from farhand_client.ui.text import truncate
from farhand_protocol.sentences import printable

from .host_connection import Connect
from .host_shell import Carrying
from .hosts import Hosts, ReplHost
from .output import LabelledOutput, Output, StandardOutput, terminal_columns
from .runner import InterruptGroup, InterruptLadder, InterruptSource, PipeRunner, run_interruptibly

if TYPE_CHECKING:
    from farhand_client.terminal.local import LocalTerminal

    from .interpreter import Interpreter
    from .terminal_runner import TerminalRunner
    from .transfer_words import ParseTransfer

T = TypeVar("T")


class ReplSession:
    """Makes what runs commands on the active hosts, and reports what happened on all hosts between commands.

    `opener` returns the function that connects to the host of a given name; `first` is the first active host. `escape`
    is the character that begins keys for the REPL while a program has the terminal, or None; `predict` says when
    characters typed there are shown before the program echoes them. `parse_transfer` parses what follows `:put`.
    """

    def __init__(
        self,
        first: str,
        opener: Callable[[str], Connect],
        signals: InterruptSource,
        escape: int | None,
        carrying: Carrying = "prompt",
        predict: PredictMode = DEFAULT_PREDICT,
        *,
        parse_transfer: ParseTransfer,
    ) -> None:
        self.hosts: Final = Hosts(opener, first, carrying)
        self.standard_output: Final = StandardOutput()
        self.parse_transfer: Final = parse_transfer
        self._terminal: LocalTerminal | None = None
        self._signals = signals
        self._escape = escape
        self._predict = predict
        self._interrupts = InterruptGroup()

    async def close(self) -> None:
        """Close all connections and restore the terminal."""
        try:
            await self.hosts.close()
        finally:
            if self._terminal is not None:
                self._terminal.__exit__(None, None, None)

    @property
    def escape(self) -> str:
        """The character that begins keys for the REPL while a program runs; empty if there are no such keys."""
        from farhand_client.terminal.escapes import caret_notation

        return "" if self._escape is None else caret_notation(self._escape)

    @property
    def several(self) -> bool:
        """Whether lines are sent to more than one host."""
        return len(self.hosts.active) > 1

    @property
    def exit_code(self) -> int:
        """The exit code of the last command: if it ran on several hosts, that of the first on which it failed."""
        return next((host.state.code for host in self.hosts.active if host.state.code), 0)

    @property
    def exit_traps(self) -> bool:
        """Whether the shell of an active host runs something when it is left, and can be reached for that now."""
        return any(host.state.exit_trap and not host.connection.lost for host in self.hosts.active)

    def interrupts_to_command(self) -> contextlib.AbstractContextManager[None]:
        """Deliver Ctrl-C to everything that the command in the block runs."""
        return self._signals.interrupts_to(self._interrupts)

    def set_interrupted(self) -> None:
        """Record that Ctrl-C came before the next command began."""
        for host in self.hosts.active:
            host.state.set_outcome(EXIT_INTERRUPTED, "SIGINT", duration=0.0)

    def refresh_branches(self) -> None:
        """Request in the background what the prompt shows of the active hosts."""
        for host in self.hosts.active:
            host.refresh_branch()

    def report_events(self) -> None:
        """Print what has happened since the last prompt: jobs that ended, services that are shutting down."""
        for host in self.hosts.known.values():
            host.connection.report_shutdown()
            self._report_ended(host)
            host.jobs.resume_waiting()

    def report_leaving(self) -> None:
        """Print what becomes of the jobs when the user leaves; makes no request, which could delay that."""
        for host in self.hosts.known.values():
            self._report_ended(host)
            kept = [job.name for job in host.jobs.running if job.kept]
            left = [job.name for job in host.jobs.running if not job.kept]
            if host.private:
                continue
            if host.connection.lost or host.connection.client is None:
                if names := kept + left:
                    self.print_message(f"running on {host.name} when the connection was lost: {', '.join(names)}")
                continue
            if kept:
                self.print_message(f"still running on {host.name}: {', '.join(kept)}")
            if left:
                self.print_message(
                    f"still running on {host.name}, for a day unless its service is configured otherwise: "
                    f"{', '.join(left)}; farhand attach {shlex.quote(host.name)} {left[0]} returns to it"
                )

    def _report_ended(self, host: ReplHost) -> None:
        if not (ended := host.jobs.take_ended()):
            return
        columns = terminal_columns()
        label = f"{host.name}: " if len(self.hosts.known) > 1 else ""
        for line in ended:
            self.print_message(truncate(printable(label + line), columns - len("farhand: ")))

    def print_message(self, text: str) -> None:
        """Show a message to the user, on stderr."""
        self.standard_output.print_message(text)

    def output(self, host: ReplHost) -> Output:
        """Return where the output of a host is written: labelled if there are several."""
        return LabelledOutput(self.standard_output, host.name) if self.several else self.standard_output

    def pipe_runner(self, host: ReplHost) -> PipeRunner:
        """Return a runner for commands of a host without a terminal."""
        return PipeRunner(host.connection, self.output(host), self._interrupts)

    def terminal_runner(self, host: ReplHost) -> TerminalRunner:
        """Return a runner for commands of a host on the user's terminal. Raises `TerminalUnavailable`."""
        from .terminal_runner import TerminalRunner

        terminal = self._open_terminal()
        return TerminalRunner(
            host, terminal, self._escape, self._predict, self.standard_output, self.pipe_runner(host), self._interrupts
        )

    def interpreter(self, host: ReplHost) -> Interpreter:
        """Return an interpreter of lines for a host; programs have a terminal if it is the only active host."""
        from .interpreter import Interpreter

        on_terminal = None if self.several else self.terminal_runner(host)
        return Interpreter(host, self.output(host), self.pipe_runner(host), on_terminal, jobs=True)

    async def request(self, request: Coroutine[Any, Any, T]) -> T:
        """Return the result of a request to a service; Ctrl-C cancels it.

        Raises `Interrupted`, and what `request` raises.
        """
        with contextlib.ExitStack() as stack:
            for host in self.hosts.active:
                stack.enter_context(host.connection.reporting_outages())
            return await run_interruptibly(self._interrupts, InterruptLadder(self.print_message), request)

    def _open_terminal(self) -> LocalTerminal:
        """Open the terminal when the first command runs: the prompt has set modes of its own before."""
        if self._terminal is None:
            from farhand_client.terminal.local import LocalTerminal
            from farhand_client.ui.terminal_request import UNKNOWN_TERMINAL, terminal_request

            self._terminal = LocalTerminal()
            try:
                terminal_request(None)
            except ValueError as error:
                self.print_message(f"{error}; programs get TERM={UNKNOWN_TERMINAL}")
        return self._terminal
