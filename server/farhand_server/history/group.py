"""One commit for all that happens in one turn of the event loop, and what the history needs between them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from typing import Final

from .records import HistoryError
from .store import History

RETRY: Final = 5.0
"""Seconds after which ends that could not be written are tried again: a disk that was full may have room."""


SOON_ENOUGH: Final = 0.05
"""Seconds for which the pid of a started program may wait for another commit: after a crash the program is known by its
environment as well, and a short run has one commit less."""


class GroupCommit:
    """Flushes a history once a turn, for everybody who waits; belongs to one loop.

    `also` is called with each flush (the audit log's). It must not raise.
    """

    def __init__(self, history: History, *, also: Callable[[], object] = lambda: None) -> None:
        self._history = history
        self._also = also
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Future[Mapping[str, str]] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._checkpoint: asyncio.Future[None] | None = None

    async def start_is_durable(self, id: str) -> None:
        """Wait until the start given to `History.starting` is written; then the program may be started.

        Raises `HistoryError` where it cannot be: the run must not be started.
        """
        refused = await asyncio.shield(self.soon())
        if id in refused:
            raise HistoryError(refused[id], frozenset({id}))

    async def is_durable(self) -> None:
        """Wait until what was written down has been written, or will have to be tried again; then it may be told."""
        await asyncio.shield(self.soon())

    def soon(self) -> asyncio.Future[Mapping[str, str]]:
        """Flush at the end of this turn; the future has the starts that could not be written, each with the reason."""
        if self._next is None:
            self._next = self._loop.create_future()
            self._loop.call_soon(self._flush)
        return self._next

    def later(self) -> None:
        """Flush before long: what is waited for by nobody."""
        if self._later is None and self._next is None:
            self._later = self._loop.call_later(SOON_ENOUGH, self._flush)

    async def close(self) -> None:
        """Flush now, and leave the history to its `close` or `hand_over`."""
        await self.is_durable()
        if self._retry is not None:
            self._retry.cancel()
        if self._checkpoint is not None:
            await self._checkpoint

    def _flush(self) -> None:
        flushed, self._next = self._next, None
        if self._later is not None:
            self._later.cancel()
            self._later = None
        refused: dict[str, str] = {}
        try:
            self._history.flush()
        except HistoryError as error:
            refused = dict.fromkeys(error.ids, str(error))
        except Exception as error:
            # A fault of ours: nobody may be left waiting for it.
            if flushed is not None:
                flushed.set_exception(error)
            raise
        self._also()
        if flushed is not None:
            flushed.set_result(refused)
        if self._history.dirty and self._retry is None:
            self._retry = self._loop.call_later(RETRY, self._try_again)
        if self._history.checkpoint_due and self._checkpoint is None:
            self._checkpoint = self._loop.create_task(self._move())

    def _try_again(self) -> None:
        self._retry = None
        self._flush()

    async def _move(self) -> None:
        try:
            await asyncio.to_thread(self._history.checkpoint)
        except sqlite3.Error:
            pass  # the next will do; and the database moves its log by itself where none does
        finally:
            self._checkpoint = None
