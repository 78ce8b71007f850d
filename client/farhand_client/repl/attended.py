"""The REPL at a terminal: its prompt comes first, and what it takes to connect is loaded while that is looked at."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from farhand_client.config import state_directory
from farhand_client.ui.interrupts import SignalHandler
from farhand_client.ui.printing import print_message

from .commands import ExitRepl
from .prompt import Prompt, commands

if TYPE_CHECKING:
    from .host_connection import Opening
    from .main import OpeningOf
    from .session import ReplSession


class Attended:
    """Prompts, runs, and so on. `first` is the host to begin with, `escape` the character before keys that are ours."""

    def __init__(self, first: str, opening_of: OpeningOf, interrupts: SignalHandler, escape: int | None) -> None:
        self._first: Final = first
        self._opening_of = opening_of
        self._interrupts = interrupts
        self._escape = escape
        self._prompt = Prompt(first, state_directory(), self._accepted)
        self._prompted = asyncio.Event()
        self._session: ReplSession | None = None
        self._preparing: asyncio.Future[None] | None = None
        self._pressed = False
        """Whether Ctrl-C came since a text was accepted, and nothing else took it."""

    async def run(self) -> None:
        """Return never. Raises `ExitRepl`, and what connecting raises."""
        async with AsyncExitStack() as stack:
            with self._interrupts.interrupts_to(self._interrupts.end):
                reaching = asyncio.ensure_future(self._reach(stack))
                try:
                    text = await self._first_command(reaching)
                    session = await reaching
                finally:
                    reaching.cancel()
                    await asyncio.wait([reaching])
            with self._interrupts.interrupts_to(self._press):
                assert self._preparing is not None
                await self._preparing
                while True:
                    await self._execute(session, text)
                    text = await self._command(session)

    async def _reach(self, stack: AsyncExitStack) -> ReplSession:
        await self._prompted.wait()
        # In threads, so that keys that are typed meanwhile are seen.
        await asyncio.to_thread(_load)
        from .session import ReplSession, prepare

        session = ReplSession(self._first, self._opening, self._interrupts, self._escape)
        stack.push_async_callback(session.close)
        await session.hosts.switch(self._first)
        self._session = session
        self._prompt.of(session.hosts)
        session.ask()
        self._preparing = asyncio.ensure_future(asyncio.to_thread(prepare))
        self._preparing.add_done_callback(lambda _: gc.enable())
        return session

    def _opening(self, name: str) -> Opening:
        return self._opening_of(name, self._prompt.aside)

    async def _first_command(self, reaching: asyncio.Task[ReplSession]) -> str:
        reaching.add_done_callback(self._reached)
        while True:
            try:
                text = await self._read()
            except EOFError:
                if reaching.done():
                    reaching.result()
                raise ExitRepl(0) from None
            if text.strip():
                return text

    def _reached(self, reaching: asyncio.Task[ReplSession]) -> None:
        if reaching.cancelled() or reaching.exception() is not None:
            self._prompt.leave()

    async def _command(self, session: ReplSession) -> str:
        session.news()
        try:
            return await self._read()
        except EOFError:
            session.going()
            raise ExitRepl(session.code) from None

    async def _read(self) -> str:
        """Return what is typed, nothing where that is given up."""
        for problem in self._prompt.problems():
            print_message(problem)
        try:
            return await self._prompt.read(self._shown)
        except KeyboardInterrupt:
            return ""

    def _shown(self) -> None:
        self._prompted.set()
        if self._session is not None:
            self._session.ask()

    def _accepted(self) -> None:
        self._pressed = False

    def _press(self) -> None:
        self._pressed = True

    async def _execute(self, session: ReplSession, text: str) -> None:
        try:
            for command in commands(text):
                if self._pressed:
                    session.give_up()
                    break
                if not await session.execute(command) or session.interrupted:
                    break
        except ValueError as error:
            print_message(str(error))
        await session.files.to_line_start()


def _load() -> None:
    from farhand_client import connector  # noqa: F401

    from . import session  # noqa: F401
