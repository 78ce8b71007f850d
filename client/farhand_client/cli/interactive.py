"""A run on the terminal in front of the user: what shell, run -t and attach share."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, NamedTuple

from farhand_client.client import Client
from farhand_client.errors import FarhandError
from farhand_client.output import Gap
from farhand_client.results import Result, describe
from farhand_client.run import Run
from farhand_client.terminal.interaction import Interaction, InteractionResult
from farhand_client.terminal.local import LocalTerminal
from farhand_client.terminal.screen import MAX_TAIL
from farhand_client.ui.exitcodes import EXIT_FAILURE, EXIT_HUNG_UP, outcome_exit_code
from farhand_client.ui.interrupts import LEAVE_TIMEOUT, TerminalSignalHandler
from farhand_client.ui.outages import OutageNotice
from farhand_client.ui.printing import print_message
from farhand_client.ui.text import format_span
from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited

ANSWER: Final = 0.3
"""Seconds in which the service may say that it has heard that we leave, of those of `PARTING`: what it takes around the
world and back."""


class Left(NamedTuple):
    """How it ended: what this process exits with, and the run's `result` where that is over."""

    run: Run
    code: int
    result: Result | None = None


class View:
    """Where a run is shown, and how its user leaves. `host` is what the user calls the service.

    A signal of `stops` to this process stops the run; any other leaves it going.
    """

    def __init__(
        self,
        terminal: LocalTerminal,
        host: str,
        word: OutageNotice,
        escape: int | None,
        stops: frozenset[int] = frozenset(),
    ) -> None:
        self.terminal: Final = terminal
        self._host = host
        self._word = word
        self._escape = escape
        self._stops = stops
        self._interaction: Interaction | None = None
        self._departures: TerminalSignalHandler | None = None

    def signals(self) -> TerminalSignalHandler:
        """Return what signals to this process do meanwhile."""
        self._departures = TerminalSignalHandler(self._stops)
        return self._departures

    def gap(self, gap: Gap) -> None:
        """For `on_gap`."""
        if self._interaction is not None:
            self._interaction.output_lost(gap)

    async def attach(self, client: Client, info: m.RunInfo, *, read_only: bool = False, share: bool = False) -> Left:
        """Show a run that is there, from what its terminal shows now. Raises what `Run.wait` does."""
        behind = min(info.stdout, MAX_TAIL)
        size = self.terminal.size
        async with client.attach(
            info.id,
            offset=(info.stdout - behind, None),
            stdin=not read_only and info.outcome is None,
            read_only=read_only,
            size=size,
            share=share and not read_only and info.outcome is None,
            on_gap=self.gap,
        ) as run:
            note = None
            if run.stdin is not None and run.stdin.over and run.result is None:
                note = "another client types here; this terminal only watches (--share lets both type)"
            return await self.show(client, run, _until(info), behind=behind, before=info.terminal, note=note)

    async def show(
        self,
        client: Client,
        run: Run,
        until: str,
        *,
        behind: int = 0,
        before: m.WindowSize | None = None,
        note: str | None = None,
    ) -> Left:
        """Show `run` until it ends or the user leaves, and say what has become of it. Raises what `Run.wait` does.

        `behind` and `before` are `backlog` and `backlog_size` of `Interaction`; `until` says how long a run
        that is left goes on.
        """
        if self._departures is not None:
            self._departures.run = run
        interaction = self._interaction = Interaction(
            run, self.terminal, escape=self._escape, backlog=behind, backlog_size=before, ping=client.ping
        )
        if note is not None:
            interaction.add_notice(note)
        try:
            with self._word.through(interaction.set_notice):
                parting = await interaction.run()
        except asyncio.CancelledError:
            if self._departures is not None and self._departures.left:
                self._say_left(run, until)
            raise
        finally:
            self._interaction = None
        if parting is InteractionResult.RUN_ENDED:
            return await self._ended(run)
        stopped = parting is InteractionResult.LEFT and not run.kept
        if not stopped:
            self._say_left(run, until)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT):
                if stopped:
                    await self._say_stopped(client, run, until)
                await client.close()
        return Left(run, EXIT_HUNG_UP if parting is InteractionResult.TERMINAL_GONE else EXIT_FAILURE if stopped else 0)

    async def _ended(self, run: Run) -> Left:
        try:
            result = await run.wait()
        except FarhandError:
            self._newline()
            raise
        if not isinstance(result.outcome, Exited):
            self._say(f"the command {describe(result.outcome)}")
        return Left(run, outcome_exit_code(result.outcome), result)

    async def _say_stopped(self, client: Client, run: Run, until: str) -> None:
        words = "the service cannot be told;"
        if client.connected:
            try:
                async with asyncio.timeout(ANSWER):
                    await client.ping()
            except (TimeoutError, FarhandError):
                words = "the service has not answered; unless it hears of that,"
            else:
                self._say(f"left; the service stops run {run.id}")
                return
        self._say(f"left, and {words} run {run.id} {until}; {self._ways(run)}")

    def _say_left(self, run: Run, until: str) -> None:
        self._say(f"left run {run.id}, which {until}; {self._ways(run)}")

    def _ways(self, run: Run) -> str:
        return f"to come back: farhand attach {self._host} {run.id}"

    def _say(self, text: str) -> None:
        self._newline()
        print_message(text)

    def _newline(self) -> None:
        with contextlib.suppress(OSError):  # gone
            self.terminal.write(b"\n")


def lasting(on_disconnect: str, grace: float | None) -> str:
    """Return how long a run goes on that is left, as its request has it."""
    if on_disconnect == "keep":
        return "goes on"
    if grace is None:
        return "goes on for as long as the service keeps a terminal (a day unless it is configured otherwise)"
    return f"goes on for {format_span(grace)}"


def _until(info: m.RunInfo) -> str:
    if info.on_disconnect == "keep":
        return "goes on"
    return "goes on, until some time after the last client has left"
