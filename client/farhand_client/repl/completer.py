"""Completion by the remote machine, for prompt_toolkit: never in the way of typing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable
from typing import Final

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from farhand_client.cli.printable import printable
from farhand_client.errors import CommandTimeout, FarhandError
from farhand_protocol.limits import KiB

from .completion import Question, arguments, question
from .lines import encode
from .link import Link
from .state import State

DEADLINE: Final = 3.0
"""Seconds after which nobody waits for a completion any more, here nor there."""

MAX_ANSWER: Final = 256 * KiB
"""Bytes of names: twice what 500 names can have (NAME_MAX is 255)."""


class RemoteCompleter(Completer):
    """Asks over the connection that is there; without one there are no completions."""

    def __init__(self, link: Link, state: State) -> None:
        self._link = link
        self._state = state
        self._tasks: set[asyncio.Task[bytes]] = set()

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Completer. There are none without waiting."""
        return ()

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """Completer."""
        asked = question(document.text_before_cursor)
        if asked is None:
            return
        self.cancel()
        task = asyncio.ensure_future(self._ask(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.wait([task], timeout=DEADLINE)
        finally:
            # It is not waited for: stopping it takes a round trip.
            task.cancel()
        if task.done() and not task.cancelled():
            for answer in asked.answers(task.result()):
                yield Completion(answer.text, -asked.typed, display=printable(answer.shown))

    def cancel(self) -> None:
        """Take back what is being asked."""
        for task in self._tasks:
            task.cancel()

    async def _ask(self, asked: Question) -> bytes:
        client = self._link.client
        if client is None:
            return b""
        argv = [encode(argument) for argument in arguments(asked)]
        with contextlib.suppress(FarhandError, ValueError):
            try:
                done = await client.run(
                    argv,
                    cwd=self._state.directory,
                    env=self._state.environment,
                    timeout=DEADLINE,
                    kill_after=0,
                    max_output=MAX_ANSWER,
                )
            except CommandTimeout as error:
                return bytes(error.completed.stdout)
            return bytes(done.stdout)
        return b""
