"""Keeps the core's sockets reachable: if a socket's file is removed or replaced, the core listens again.

logind removes `/run/user/UID` when the user has logged out, and cleaners of temporary files remove what looks old. The
kernel keeps such a socket open, but nobody can connect to it any more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from ..filewatch import FileWatch
from ..logs import Logger
from .unix import ListenError, PathTaken, UnixListener

RESTORE_RETRY_DELAY: Final = 5.0
"""Seconds until another attempt if a socket could not be made again for a cause that no event tells the end of: a full
disk, a lack of descriptors, a directory that belongs to somebody else. A client waits about that long anyway."""


class SocketKeeper:
    """Restores the files of listeners. `changed` is called when a socket was lost or restored.

    Call `start` once the listeners are open and `stop` before they are closed.
    """

    def __init__(self, listeners: Sequence[UnixListener], log: Logger, changed: Callable[[], None]) -> None:
        self._listeners = listeners
        self._log = log
        self._changed = changed
        self._faults: dict[UnixListener, ListenError] = {}
        self._reported: dict[UnixListener, str] = {}
        self._due = asyncio.Event()
        self._checking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def faults(self) -> tuple[str, ...]:
        """A sentence for each socket that could not be restored."""
        return tuple(map(str, self._faults.values()))

    def start(self) -> None:
        """Watch the files from now on."""
        self._task = asyncio.create_task(self._keep(), name="sockets")

    async def stop(self) -> None:
        """Stop watching. Repeated calls do nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def check_soon(self) -> None:
        """Check all files soon, and report what cannot be restored even if that was reported before."""
        self._reported.clear()
        self._due.set()

    async def check(self) -> None:
        """Check all files, and restore those that were removed or replaced."""
        async with self._checking:
            before = self.faults
            for listener in self._listeners:
                await self._check(listener)
            if before != self.faults:
                self._changed()

    async def _check(self, listener: UnixListener) -> None:
        lost = not listener.intact
        if lost:
            try:
                await listener.restore()
            except ListenError as error:
                self._faults[listener] = error
                if self._reported.get(listener) != str(error):
                    self._reported[listener] = str(error)
                    self._log.error("socket was removed or replaced; no client can connect", reason=str(error))
                return
        self._reported.pop(listener, None)
        if self._faults.pop(listener, None) is not None or lost:
            self._log.warning("socket was removed or replaced; listening again", socket=listener.path)

    async def _keep(self) -> None:
        watch = FileWatch([listener.path for listener in self._listeners], self._due.set, self._log)
        try:
            while True:
                await self.check()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._retry_delay()):
                        await self._due.wait()
                self._due.clear()
        finally:
            watch.close()

    def _retry_delay(self) -> float | None:
        # An attempt connects to the service that has taken the path, which should not be disturbed again and again.
        again = any(not isinstance(error, PathTaken) for error in self._faults.values())
        return RESTORE_RETRY_DELAY if again else None
