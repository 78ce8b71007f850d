"""Writes everything that happens in one turn of the event loop in one commit, and does the history's housekeeping."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from typing import Final

from .records import HistoryError
from .store import History

FLUSH_RETRY_DELAY: Final = 5.0
"""Seconds until changes that could not be written are retried: a full disk may have space again."""

FLUSH_DELAY: Final = 0.05
"""Seconds for which the pid of a started program may wait for another commit. After a crash the program can also be
found by its environment, and a short run needs one commit less."""


class GroupCommit:
    """Flushes a history once per turn for all callers. Belongs to one event loop.

    `also` is called at each flush (to flush the audit log). It must not raise exceptions.
    """

    def __init__(self, history: History, *, also: Callable[[], object] = lambda: None) -> None:
        self._history = history
        self._also = also
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Future[Mapping[str, str]] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._checkpoint: asyncio.Future[None] | None = None

    @property
    def due(self) -> bool:
        """Whether a flush at the end of this turn of the event loop was requested."""
        return self._next is not None

    def flush_soon(self) -> asyncio.Future[Mapping[str, str]]:
        """Flush at the end of this turn of the event loop.

        The future's result maps the id of each run whose start could not be written to a sentence with the reason.
        Callers share the future: shield it from their own cancellation.
        """
        if self._next is None:
            self._next = self._loop.create_future()
            self._loop.call_soon(self._flush)
        return self._next

    def flush_later(self) -> None:
        """Flush within `FLUSH_DELAY` seconds, for changes that nobody is waiting for."""
        if self._later is None and self._next is None:
            self._later = self._loop.call_later(FLUSH_DELAY, self._flush)

    async def close(self) -> None:
        """Flush now. After this, the caller must call the history's `close` or `hand_over`."""
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
            # A bug in our code must not leave a caller waiting.
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
            pass  # the next checkpoint may succeed; if none does, a commit moves the log (`CHECKPOINT_SIZE`)
        finally:
            self._checkpoint = None
