"""Runs lines on the user's terminal, and attaches it to runs that have a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from farhand_client.client import Client
from farhand_client.config import PredictMode
from farhand_client.errors import RequestRefused
from farhand_client.options import Args, RunOptions
from farhand_client.output import Gap
from farhand_client.results import Result
from farhand_client.run import Run
from farhand_client.terminal.interaction import Interaction, InteractionResult
from farhand_client.terminal.local import LocalTerminal
from farhand_client.terminal.screen import MAX_TAIL
from farhand_client.ui.terminal_request import UNKNOWN_TERMINAL, locale_variables, terminal_request
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Signaled

from .hosts import ReplHost
from .output import StandardOutput
from .runner import Interrupted, InterruptLadder, InterruptSource, PipeRunner, run_interruptibly

TERMINAL_REFUSED: Final = (ErrorCode.DENIED, ErrorCode.NO_TERMINAL)
"""Errors of a service that gives no terminal. One that denies everything denies the run without a terminal as well."""


class TerminalRunner:
    """Runs the lines of one host on `terminal`, or with `runner` if the service gives no terminals.

    `escape` is the character that begins keys for the REPL, or None; `predict` says when characters typed are shown
    before the program echoes them.
    """

    def __init__(
        self,
        host: ReplHost,
        terminal: LocalTerminal,
        escape: int | None,
        predict: PredictMode,
        output: StandardOutput,
        runner: PipeRunner,
        interrupts: InterruptSource,
    ) -> None:
        self._host = host
        self._terminal = terminal
        self._escape = escape
        self._predict = predict
        self._output = output
        self._runner = runner
        self._interrupts = interrupts
        self._interaction: Interaction | None = None

    async def run(self, args: Args, text: str, options: RunOptions) -> Result | None:
        """Run the line `text` to its end; return None if the user left it running, which makes it a job.

        Raises `Interrupted`, and what `HostConnection.start` and `Run.wait` raise.
        """
        if self._host.gives_terminals:
            options = options.changed(env={**locale_variables(), **options.env})
            on_terminal = options.changed(terminal=self._terminal_request())

            async def start() -> Run:
                return await self._host.connection.start(args, on_terminal, self._report_gap)

            try:
                return await self._interruptibly(start, text)
            except RequestRefused as error:
                if error.code not in TERMINAL_REFUSED:
                    raise
                refused = error
        result, _ = await self._runner.run(args, options)
        if self._host.gives_terminals:
            self._host.gives_terminals = False
            self._output.print_message(f"lines run without a terminal here: {refused}")
        return result

    async def attach(self, client: Client, info: m.RunInfo) -> Result | None:
        """Show a run that has a terminal, beginning with its current screen, and send it what is typed.

        Returns and raises what `run` does.
        """
        backlog = min(info.stdout, MAX_TAIL)
        running = info.outcome is None
        size = self._terminal.size
        offset = (info.stdout - backlog, None)

        async def attach() -> Run:
            return await client.attach(
                info.id, offset=offset, stdin=running, read_only=not running, size=size, on_gap=self._report_gap
            )

        return await self._interruptibly(attach, info.command, backlog=backlog, backlog_size=info.terminal)

    async def _interruptibly(self, start: Callable[[], Awaitable[Run]], text: str, **backlog: Any) -> Result | None:
        ladder = InterruptLadder(self._output.print_message)
        return await run_interruptibly(self._interrupts, ladder, self._show(ladder, start, text, **backlog))

    async def _show(
        self, ladder: InterruptLadder, start: Callable[[], Awaitable[Run]], text: str, **backlog: Any
    ) -> Result | None:
        connection = self._host.connection
        with connection.reporting_outages():
            started = await start()
        async with started as run:
            ladder.run = run
            interaction = self._interaction = Interaction(
                run,
                self._terminal,
                escape=self._escape,
                ping=connection.ping,
                predict=self._predict,
                explain_suspend=True,
                **backlog,
            )
            if run.stdin is not None and run.stdin.over and run.result is None:
                interaction.add_notice("another client has the input; this terminal only watches")
            try:
                with connection.reporting_outages(interaction.set_notice):
                    parting = await interaction.run()
            except asyncio.CancelledError:
                # This process is ending, perhaps with its terminal. Leave the run for the user to return to.
                run.detach()
                if not self._host.private:
                    self._output.print_message(f"left run {run.id} running")
                raise
            finally:
                self._interaction = None
            outcome = run.outcome
            self._output.terminal_written(interrupted=outcome is None or isinstance(outcome, Signaled))
            await self._output.to_line_start()
            return await self._parted(parting, run, text)

    async def _parted(self, parting: InteractionResult, run: Run, text: str) -> Result | None:
        if parting is InteractionResult.RUN_ENDED:
            return await run.wait()
        if parting is InteractionResult.LEFT:
            kept = "it keeps running" if run.kept else "the service stops it"
            self._output.print_message(f"left run {run.id}; {kept}")
            raise Interrupted
        job = self._host.jobs.add(run.id, text, kept=run.kept)
        self._output.print_message(f"[{job.name}] still running; :attach {job.name} returns to it")
        return None

    def _report_gap(self, gap: Gap) -> None:
        if self._interaction is not None:
            self._interaction.output_lost(gap)

    def _terminal_request(self) -> m.TerminalRequest:
        try:
            return terminal_request(self._terminal)
        except ValueError:  # was reported when the terminal was opened
            return m.TerminalRequest(name=UNKNOWN_TERMINAL, size=self._terminal.size, modes=self._terminal.modes)
