"""Lines that run on the user's terminal, and runs that are shown there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from farhand_client.client import Client
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

from .hosts import Host
from .output import Files
from .runner import Interrupted, Interruptible, Ladder, Runner, laddered

REFUSED: Final = (ErrorCode.DENIED, ErrorCode.NO_TERMINAL)
"""What a service says that gives no terminal; where it gives nothing at all, it says so again."""


class Foreground:
    """Runs the lines of one host on `terminal`, and without one where the service gives none."""

    def __init__(
        self,
        host: Host,
        terminal: LocalTerminal,
        escape: int | None,
        files: Files,
        runner: Runner,
        interrupts: Interruptible,
    ) -> None:
        self._host = host
        self._terminal = terminal
        self._escape = escape
        self._files = files
        self._runner = runner
        self._interrupts = interrupts
        self._interaction: Interaction | None = None

    async def run(self, args: Args, text: str, options: RunOptions) -> Result | None:
        """Screen. Raises `Interrupted`, and what `HostConnection.start` and `Run.wait` do."""
        if self._host.terminals:
            options = options.changed(env={**locale_variables(), **options.env})
            on_terminal = options.changed(terminal=self._wanted())

            async def begin() -> Run:
                return await self._host.link.start(args, on_terminal, self._gap)

            try:
                return await self._laddered(begin, text)
            except RequestRefused as error:
                if error.code not in REFUSED:
                    raise
                refused = error
        result, _ = await self._runner.run(args, options)
        if self._host.terminals:
            self._host.terminals = False
            self._files.say(f"lines run without a terminal here: {refused}")
        return result

    async def attach(self, client: Client, info: m.RunInfo) -> Result | None:
        """Show a run that has a terminal, from what is on it now, and type to it. Returns and raises as `run`."""
        behind = min(info.stdout, MAX_TAIL)
        types = info.outcome is None
        size = self._terminal.size
        at = (info.stdout - behind, None)

        async def begin() -> Run:
            return await client.attach(
                info.id, offset=at, stdin=types, read_only=not types, size=size, on_gap=self._gap
            )

        return await self._laddered(begin, info.command, backlog=behind, backlog_size=info.terminal)

    async def _laddered(self, begin: Callable[[], Awaitable[Run]], text: str, **before: Any) -> Result | None:
        ladder = Ladder(self._files.say)
        return await laddered(self._interrupts, ladder, self._show(ladder, begin, text, **before))

    async def _show(
        self, ladder: Ladder, begin: Callable[[], Awaitable[Run]], text: str, **before: Any
    ) -> Result | None:
        link = self._host.link
        with link.spoken_of():
            started = await begin()
        async with started as run:
            ladder.run = run
            interaction = self._interaction = Interaction(run, self._terminal, escape=self._escape, **before)
            if run.stdin is not None and run.stdin.over and run.result is None:
                interaction.add_notice("another client types here; this terminal only watches")
            try:
                with link.spoken_of(interaction.set_notice):
                    parting = await interaction.run()
            except asyncio.CancelledError:
                # This process ends, and perhaps its terminal: the user comes back to what runs.
                run.detach()
                self._files.say(f"left run {run.id} going")
                raise
            finally:
                self._interaction = None
            outcome = run.outcome
            self._files.passed_by(interrupted=outcome is None or isinstance(outcome, Signaled))
            await self._files.to_line_start()
            return await self._parted(parting, run, text)

    async def _parted(self, parting: InteractionResult, run: Run, text: str) -> Result | None:
        if parting is InteractionResult.RUN_ENDED:
            return await run.wait()
        if parting is InteractionResult.LEFT:
            self._files.say(f"left run {run.id}; {'it goes on' if run.kept else 'the service stops it'}")
            raise Interrupted
        job = self._host.jobs.add(run.id, text)
        self._files.say(f"[{job.name}] goes on; :attach {job.name} comes back to it")
        return None

    def _gap(self, gap: Gap) -> None:
        if self._interaction is not None:
            self._interaction.output_lost(gap)

    def _wanted(self) -> m.TerminalRequest:
        try:
            return terminal_request(self._terminal)
        except ValueError:  # said at the start
            return m.TerminalRequest(name=UNKNOWN_TERMINAL, size=self._terminal.size, modes=self._terminal.modes)
