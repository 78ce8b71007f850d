"""Shows a run on the terminal in front of the user: for `shell`, `run -t` and `attach`."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, NamedTuple

from farhand_client.client import Client
from farhand_client.config import DEFAULT_PREDICT, PredictMode
from farhand_client.errors import FarhandError
from farhand_client.output import Gap
from farhand_client.results import Result, describe
from farhand_client.run import Run
from farhand_client.terminal.interaction import Interaction, InteractionResult
from farhand_client.terminal.local import LocalTerminal
from farhand_client.terminal.screen import MAX_TAIL
from farhand_client.ui.exitcodes import EXIT_FAILURE, EXIT_HUNG_UP, outcome_exit_code, ssh_exit_code
from farhand_client.ui.interrupts import LEAVE_TIMEOUT, TerminalSignalHandler
from farhand_client.ui.left import OPTION_ON_TERMINAL, stopped_sentence
from farhand_client.ui.outages import OutageNotice
from farhand_client.ui.printing import print_message
from farhand_client.ui.text import format_span
from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited

CONFIRM_TIMEOUT: Final = 0.3
"""Seconds, out of `LEAVE_TIMEOUT`, for the service to confirm that the user has left: enough for a round trip around
the world."""


class ViewResult(NamedTuple):
    """How a view ended: the exit code of this process, and the run's `result` if it is over."""

    run: Run
    code: int
    result: Result | None = None


class TerminalView:
    """Shows a run on `terminal`, and lets the user leave it. `host` is the user's name for the service.

    A signal in `stops` to this process stops the run; any other leaves it running. `predict` says when typed characters
    are shown before the program echoes them. With `as_ssh` the exit codes are those of ssh(1).
    """

    def __init__(
        self,
        terminal: LocalTerminal,
        host: str,
        outage: OutageNotice,
        escape: int | None,
        stops: frozenset[int] = frozenset(),
        predict: PredictMode = DEFAULT_PREDICT,
        *,
        as_ssh: bool = False,
    ) -> None:
        self.terminal: Final = terminal
        self._host = host
        self._outage = outage
        self._escape = escape
        self._stops = stops
        self._predict = predict
        self._exit_code = ssh_exit_code if as_ssh else outcome_exit_code
        self._interaction: Interaction | None = None
        self._signals: TerminalSignalHandler | None = None

    def signal_handler(self) -> TerminalSignalHandler:
        """Return the signal handler to enter while a run is shown."""
        self._signals = TerminalSignalHandler(self._stops)
        return self._signals

    def on_gap(self, gap: Gap) -> None:
        """Show that output is missing; for `on_gap` of the run."""
        if self._interaction is not None:
            self._interaction.output_lost(gap)

    async def attach(
        self, client: Client, info: m.RunInfo, *, read_only: bool = False, share: bool = False
    ) -> ViewResult:
        """Show an existing run, beginning with its current screen. Raises what `Run.wait` raises."""
        backlog = min(info.stdout, MAX_TAIL)
        size = self.terminal.size
        async with client.attach(
            info.id,
            offset=(info.stdout - backlog, None),
            stdin=not read_only and info.outcome is None,
            read_only=read_only,
            size=size,
            share=share and not read_only and info.outcome is None,
            on_gap=self.on_gap,
        ) as run:
            notice = None
            if run.stdin is not None and run.stdin.over and run.result is None:
                notice = "another client types here; this terminal is read-only (use --share to type as well)"
            return await self.show(
                client, run, _lifetime_of(info), backlog=backlog, backlog_size=info.terminal, notice=notice
            )

    async def show(
        self,
        client: Client,
        run: Run,
        afterwards: str,
        *,
        backlog: int = 0,
        backlog_size: m.WindowSize | None = None,
        notice: str | None = None,
    ) -> ViewResult:
        """Show `run` until it ends or the user leaves, and print what happens to it. Raises what `Run.wait` raises.

        `backlog` and `backlog_size` are as for `Interaction`; `afterwards` says how long the run lives without this
        client (see `lifetime`).
        """
        if self._signals is not None:
            self._signals.run = run
        interaction = self._interaction = Interaction(
            run,
            self.terminal,
            escape=self._escape,
            backlog=backlog,
            backlog_size=backlog_size,
            ping=client.ping,
            predict=self._predict,
        )
        if notice is not None:
            interaction.add_notice(notice)
        try:
            with self._outage.through(interaction.set_notice):
                ended = await interaction.run()
        except asyncio.CancelledError:
            if self._signals is not None and self._signals.left:
                self._print_left(run, afterwards)
            raise
        finally:
            self._interaction = None
        if ended is InteractionResult.RUN_ENDED:
            return await self._run_ended(run)
        stopped = ended is InteractionResult.LEFT and not run.kept
        if not stopped:
            self._print_left(run, afterwards)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT):
                if stopped:
                    await self._print_stopped(client, run, afterwards)
                await client.close()
        gone = ended is InteractionResult.TERMINAL_GONE
        return ViewResult(run, EXIT_HUNG_UP if gone else EXIT_FAILURE if stopped else 0)

    async def _run_ended(self, run: Run) -> ViewResult:
        try:
            result = await run.wait()
        except FarhandError:
            self._newline()
            raise
        if not isinstance(result.outcome, Exited):
            self._print(f"the command {describe(result.outcome)}")
        elif (sentence := stopped_sentence(result, OPTION_ON_TERMINAL)) is not None:
            print_message(sentence)
        return ViewResult(run, self._exit_code(result.outcome), result)

    async def _print_stopped(self, client: Client, run: Run, afterwards: str) -> None:
        problem = "the service cannot be notified:"
        if client.connected:
            try:
                async with asyncio.timeout(CONFIRM_TIMEOUT):
                    await client.ping()
            except (TimeoutError, FarhandError):
                problem = "the service has not confirmed it; unless it was notified,"
            else:
                self._print(f"left; the service stops run {run.id}")
                return
        self._print(f"left, but {problem} run {run.id} {afterwards}; {self._how_to_return(run)}")

    def _print_left(self, run: Run, afterwards: str) -> None:
        self._print(f"left run {run.id}, which {afterwards}; {self._how_to_return(run)}")

    def _how_to_return(self, run: Run) -> str:
        return f"to return: farhand attach {self._host} {run.id}"

    def _print(self, text: str) -> None:
        self._newline()
        print_message(text)

    def _newline(self) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            self.terminal.write(b"\n")


def lifetime(on_disconnect: str, grace: float | None) -> str:
    """Return, as the predicate of a sentence, how long a run with these options keeps running without its client."""
    if on_disconnect == "keep":
        return "keeps running"
    if grace is None:
        return "keeps running for as long as the service keeps a terminal (one day unless configured otherwise)"
    return f"keeps running for {format_span(grace)}"


def _lifetime_of(info: m.RunInfo) -> str:
    if info.on_disconnect == "keep":
        return "keeps running"
    return "keeps running until some time after its last client has left"
