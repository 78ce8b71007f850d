"""The REPL at a terminal. Its prompt comes first; what a connection needs is loaded while the user looks at it."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from farhand_client.config import DEFAULT_PREDICT, PredictMode, state_directory
from farhand_client.ui.interrupts import SignalHandler
from farhand_client.ui.printing import print_message

from .commands import ExitRepl
from .prompt import Prompt, split_commands

if TYPE_CHECKING:
    from .executor import LineExecutor
    from .host_connection import Connect, HostOpener
    from .session import ReplSession
    from .transfer_words import ParseTransfer


class AttendedRepl:
    """Reads commands with a prompt and executes them, beginning on the host `first`.

    `escape` is the character that begins keys for the REPL while a program has the terminal, or None; `predict` says
    when characters typed there are shown before the program echoes them. With `private`, the service of the first host
    ends with the REPL, and the caller reports which runs end with it. `parse_transfer` parses what follows `:put`.
    """

    def __init__(
        self,
        first: str,
        opener: HostOpener,
        signals: SignalHandler,
        escape: int | None,
        predict: PredictMode = DEFAULT_PREDICT,
        *,
        private: bool = False,
        parse_transfer: ParseTransfer,
    ) -> None:
        self._parse_transfer = parse_transfer
        self._first: Final = first
        self._private = private
        self._opener = opener
        self._signals = signals
        self._escape = escape
        self._predict = predict
        self._first_use = not any((state_directory() / name).exists() for name in ("histories", "history"))
        self._prompt = Prompt(first, state_directory(), self._text_accepted)
        self._prompt_shown = asyncio.Event()
        self._session: ReplSession | None = None
        self._loading: asyncio.Future[None] | None = None
        self._interrupted = False
        """Whether Ctrl-C came since a text was accepted, and no command received it."""
        self._leaving = False
        """Whether Ctrl-D has run the traps for the exit; a second one leaves whatever they have done."""

    async def run(self) -> NoReturn:
        """Read and execute commands until `ExitRepl` is raised. Also raises what the first connection raises."""
        async with AsyncExitStack() as stack:
            with self._signals.interrupts_to(self._interrupt_first):
                connecting = asyncio.ensure_future(self._connect(stack))
                try:
                    text = await self._read_first(connecting)
                    session = await connecting
                finally:
                    connecting.cancel()
                    await asyncio.wait([connecting])
            with self._signals.interrupts_to(self._interrupt):
                executor = await self._executor(session)
                try:
                    while True:
                        await self._execute(session, executor, text)
                        text = await self._read_next(session)
                except (ExitRepl, asyncio.CancelledError):
                    session.report_leaving()
                    raise

    async def _connect(self, stack: AsyncExitStack) -> ReplSession:
        await self._prompt_shown.wait()
        # Load in threads, so that keys typed meanwhile are shown.
        await asyncio.to_thread(_load_connecting)
        from .session import ReplSession

        session = ReplSession(
            self._first,
            self._connect_to,
            self._signals,
            self._escape,
            predict=self._predict,
            parse_transfer=self._parse_transfer,
        )
        session.hosts.active[0].private = self._private
        stack.push_async_callback(session.close)
        await session.hosts.switch(self._first)
        self._session = session
        self._prompt.show_hosts(session.hosts)
        if self._first_use:
            await self._prompt.ask_user(partial(self._introduce, session))
        session.refresh_branches()
        self._loading = asyncio.ensure_future(asyncio.to_thread(_load_executing))
        self._loading.add_done_callback(lambda _: gc.enable())
        return session

    async def _introduce(self, session: ReplSession) -> None:
        connection = session.hosts.active[0].connection
        session.print_message(
            f"what you type runs on {self._first}, as {connection.user}@{connection.host}; help says more, exit leaves"
        )

    def _connect_to(self, name: str) -> Connect:
        return self._opener(name, self._prompt.ask_user)

    async def _read_first(self, connecting: asyncio.Task[ReplSession]) -> str:
        """Return the first text, which the user may type before there is a connection."""
        connecting.add_done_callback(self._connecting_done)
        while True:
            try:
                text = await self._read()
            except EOFError:
                if connecting.done():
                    connecting.result()
                raise ExitRepl(0) from None
            if text.strip():
                return text

    def _connecting_done(self, connecting: asyncio.Task[ReplSession]) -> None:
        if connecting.cancelled() or connecting.exception() is not None:
            self._prompt.abort()

    async def _executor(self, session: ReplSession) -> LineExecutor:
        assert self._loading is not None
        await self._loading
        from .executor import LineExecutor

        return LineExecutor(session)

    async def _read_next(self, session: ReplSession) -> str:
        session.report_events()
        try:
            return await self._read()
        except EOFError:
            if session.exit_traps and not self._leaving:
                self._leaving = True
                return "exit"
            raise ExitRepl(session.exit_code) from None

    async def _read(self) -> str:
        """Return the text that is typed; an empty one if Ctrl-C discards it. Raises EOFError for Ctrl-D."""
        for problem in self._prompt.take_problems():
            print_message(problem)
        try:
            return await self._prompt.read(self._prompt_rendered)
        except KeyboardInterrupt:
            return ""

    def _prompt_rendered(self) -> None:
        self._prompt_shown.set()
        if self._session is not None:
            self._session.refresh_branches()

    def _text_accepted(self) -> None:
        self._interrupted = False

    def _interrupt_first(self) -> None:
        """Handle a Ctrl-C before the first command is executed: without a connection there is nothing else to end."""
        if self._session is None:
            self._signals.end()
        else:
            self._interrupt()

    def _interrupt(self) -> None:
        self._interrupted = True

    async def _execute(self, session: ReplSession, executor: LineExecutor, text: str) -> None:
        """Execute the commands of `text` up to one that Ctrl-C interrupts or that does not complete."""
        try:
            for command in split_commands(text):
                if self._interrupted:
                    session.set_interrupted()
                    break
                if not await executor.execute(command) or executor.interrupted:
                    break
        except ValueError as error:
            print_message(str(error))
        await session.standard_output.to_line_start()


def _load_connecting() -> None:
    """Import what connecting needs."""
    from farhand_client import connector  # noqa: F401

    from . import session  # noqa: F401


def _load_executing() -> None:
    """Import what the first command needs, so that it starts without delay."""
    from farhand_client.ui import terminal_request  # noqa: F401

    from . import executor, interpreter, terminal_runner  # noqa: F401
