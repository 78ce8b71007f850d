"""One commit for everything that happens in one turn of the event loop, and what the history needs in between."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from typing import Final

from .records import HistoryError
from .store import History

FLUSH_RETRY_DELAY: Final = 5.0
"""Seconds until ends that could not be written are tried again: a disk that was full may have room."""

FLUSH_DELAY: Final = 0.05
"""Seconds for which the pid of a started program may wait for another commit: after a crash the program can be found
by its environment as well, and a short run needs one commit less."""


class GroupCommit:
    """Flushes a history once per turn for all callers; belongs to one event loop.

    `also` is called at each flush (to flush the audit log). It must not raise.
    """

    def __init__(self, history: History, *, also: Callable[[], object] = lambda: None) -> None:
        self._history = history
        self._also = also
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Future[Mapping[str, str]] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._checkpoint: asyncio.Future[None] | None = None

    def flush_soon(self) -> asyncio.Future[Mapping[str, str]]:
        """Flush at the end of this turn.

        The future's result has the starts that could not be written, by run id, each with the reason as a sentence.
        Callers share the future: shield it from their own cancellation.
        """
        if self._next is None:
            self._next = self._loop.create_future()
            self._loop.call_soon(self._flush)
        return self._next

    def flush_later(self) -> None:
        """Flush within `FLUSH_DELAY` seconds, for changes that nobody waits for."""
        if self._later is None and self._next is None:
            self._later = self._loop.call_later(FLUSH_DELAY, self._flush)

    async def close(self) -> None:
        """Flush now; then call the history's `close` or `hand_over`."""
        await asyncio.shield(self.flush_soon())
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
            # A defect in our code: no caller may be left waiting because of it.
            if flushed is not None:
                flushed.set_exception(error)
            raise
        self._also()
        if flushed is not None:
            flushed.set_result(refused)
        if self._history.dirty and self._retry is None:
            self._retry = self._loop.call_later(FLUSH_RETRY_DELAY, self._flush_again)
        if self._history.checkpoint_due and self._checkpoint is None:
            self._checkpoint = self._loop.create_task(self._move_log())

    def _flush_again(self) -> None:
        self._retry = None
        self._flush()

    async def _move_log(self) -> None:
        try:
            await asyncio.to_thread(self._history.checkpoint)
        except sqlite3.Error:
            pass  # the next one may succeed; if none does, a commit moves the log itself (`CHECKPOINT_PAGES`)
        finally:
            self._checkpoint = None
