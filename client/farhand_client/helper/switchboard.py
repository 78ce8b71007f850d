"""Answers what commands ask the helper, and knows when it is no longer needed."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import Any, Final

from farhand_client.mux.request import (
    CONNECT,
    HELPER_REPORT,
    MAX_REQUEST,
    NOT_SERVED,
    NOTED,
    OFFER,
    SERVED,
    STATUS,
    STOP,
    ConnectionRequest,
    frame,
)
from farhand_protocol.limits import MiB

from .borrower import Borrower
from .pool import ConnectionPool, KeptConnection
from .proof import UnchangedFiles

MAX_IN_ALL: Final = 512
"""Callers at once: eight busy connections. Each has two descriptors at most, and the usual limit is 1024."""

MAX_QUEUED_IN_ALL: Final = 64 * MiB
"""Bytes that wait for all callers together: seven that do not read. Of more, the one with the most is cut off; it
connects by itself and goes on where it was."""


class HelperSwitchboard:
    """The helper's side of all its callers. `leave` is called with True to stop at once, and with False to stop when
    the callers have left: because nobody has come for `idle_time` seconds, or because `program` has changed."""

    def __init__(self, idle_time: float, program: UnchangedFiles, leave: Callable[[bool], None]) -> None:
        self.pool: Final = ConnectionPool(idle_time, self._check_idle)
        self.callers: Final[set[Borrower]] = set()
        self.began: Final = time.time()
        self.served = 0
        self.on_empty: Callable[[], None] = lambda: None
        """Called when there are no callers any more."""
        self._program = program
        self._leave = leave
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: asyncio.TimerHandle | None = None
        self._check_idle()

    def make_caller(self) -> Borrower:
        """Return the protocol for a connection that was accepted."""
        return Borrower(self, MAX_REQUEST)

    def stop(self) -> None:
        """Close all connections."""
        for task in self._tasks:
            task.cancel()
        if self._idle is not None:
            self._idle.cancel()
        self.pool.close()

    # Implements Switchboard.

    def joined(self, caller: Borrower) -> None:
        self.callers.add(caller)
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if len(self.callers) > MAX_IN_ALL:
            caller.abort()

    def parted(self, caller: Borrower) -> None:
        self.callers.discard(caller)
        self._check_idle()
        if not self.callers:
            self.on_empty()

    def command_begun(self) -> None:
        """A command has begun that asks for no connection: whoever comes again need not wait for another helper."""
        if not self._program:
            self._leave(False)
        elif self._idle is not None:
            self._idle.cancel()
            self._idle = None
            self._check_idle()

    def asked(self, caller: Borrower, kind: int, payload: bytes) -> None:
        current = bool(self._program)
        if not current:
            self._leave(False)
        if kind == STATUS:
            caller.answer(frame(HELPER_REPORT, json.dumps(self.report()).encode()))
        elif kind == STOP:
            self._leave(True)
        elif kind in (CONNECT, OFFER):
            try:
                request = ConnectionRequest.decode(payload)
            except (ValueError, TypeError):
                caller.abort()
                return
            if kind == OFFER:
                if current:
                    self.pool.offer(request)
                caller.answer(frame(NOTED))
            else:
                self._connect(caller, self.pool.find(request) if current else None)
        else:
            caller.abort()

    def much_queued(self) -> None:
        if sum(caller.queued for caller in self.callers) > MAX_QUEUED_IN_ALL:
            max(self.callers, key=lambda caller: caller.queued).abort()

    def _connect(self, caller: Borrower, kept: KeptConnection | None) -> None:
        if kept is None:
            caller.answer(frame(NOT_SERVED))
        elif kept.proof.agent is None:
            self._serve(caller, kept)
        else:
            task = asyncio.get_running_loop().create_task(self._serve_if_in_agent(caller, kept))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve_if_in_agent(self, caller: Borrower, kept: KeptConnection) -> None:
        if not await kept.proof.in_agent():
            self.pool.retire(kept)
        if kept.upstream.usable:
            self._serve(caller, kept)
        else:
            caller.answer(frame(NOT_SERVED))

    def _serve(self, caller: Borrower, kept: KeptConnection) -> None:
        self.served += 1
        caller.serve(kept.upstream, frame(SERVED) + kept.introduction)

    def report(self) -> dict[str, Any]:
        """Return what `farhand helper status` shows."""
        return {
            "pid": os.getpid(),
            "seconds": round(time.time() - self.began, 3),
            "served": self.served,
            "connections": [
                {
                    "target": kept.target,
                    "user": kept.user,
                    "seconds": round(time.time() - kept.since, 3),
                    "callers": len(kept.upstream.callers),
                    "channels": kept.upstream.open_channels,
                    "sent": kept.upstream.bytes_sent,
                    "received": kept.upstream.bytes_received,
                }
                for kept in self.pool
            ],
        }

    def _check_idle(self) -> None:
        if not self.callers and self._idle is None:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self.pool.idle_time, self._leave, False)
