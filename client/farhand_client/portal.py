"""A loop in a thread of its own, for code that has none."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

T = TypeVar("T")

CANCEL_TIMEOUT: Final = 20.0
"""Seconds an interrupted call may take to end what it had begun: a stop's default grace and its margin are 15."""


class Portal:
    """Runs coroutines for other threads. The thread is a daemon: a script's end does not wait for it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="farhand", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what `coroutine` does, or raise it.

        Where the waiting is interrupted, as by Ctrl-C, the coroutine is cancelled and may end what it had begun before
        the interrupt is raised; a second one is raised at once.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("this would wait for itself: use the asyncio API inside of coroutines")
        future: Future[T] = Future()
        tasks: list[asyncio.Task[None]] = []

        def begin() -> None:
            tasks.append(self._loop.create_task(_into(future, coroutine)))

        self._loop.call_soon_threadsafe(begin)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
                _wait(future)
            raise


async def _into(future: Future[T], coroutine: Coroutine[Any, Any, T]) -> None:
    try:
        future.set_result(await coroutine)
    except BaseException as error:
        future.set_exception(error)
        if not isinstance(error, Exception | asyncio.CancelledError):
            raise


def _wait(future: Future[Any]) -> None:
    try:
        future.exception(timeout=CANCEL_TIMEOUT)
    except TimeoutError:
        return


_portals: Final[dict[int, Portal]] = {}
_lock: Final = threading.Lock()


def portal() -> Portal:
    """Return this process's portal; a forked child gets one of its own, for threads do not survive a fork."""
    with _lock:
        found = _portals.get(os.getpid())
        if found is None:
            found = _portals[os.getpid()] = Portal()
        return found
