"""Whose search is next. One thread searches for all clients; the account that has used it least goes first.

This is fair queueing by time (start-time fair queueing): each account has a clock that its searches advance, and the
account whose clock is furthest behind is served. An account that searches seldom waits for the end of one search at
most, however many waits another account has. The searches of one account are served in the order of their requests; a
wait has one search at a time, so its waits alternate.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

from farhand_protocol.limits import MiB
from farhand_server.runtime import block_all_signals

MAX_PATTERNS_PER_ACCOUNT: Final = 32 * MiB
"""Bytes that all patterns of one account may use at once: 512 typical patterns, or 32 of the largest."""

Text = TypeVar("Text")
Found = TypeVar("Found")


class TooManyPatterns(Exception):
    """The account's patterns would use too much memory. The text is a sentence for the user."""


@dataclass(slots=True, eq=False)
class _Account:
    used: float = 0.0
    """The account's clock: seconds of searching, its own or those it has let pass."""
    memory: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Searches:
    """The searches of all clients on one event loop."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._now = 0.0
        """The clock of the account that was served last, when its turn began; a new account begins with it."""
        self._served: _Account | None = None
        """The account whose turn it is. It is remembered until its turn has ended, so that its time counts even if its
        client has left meanwhile."""

    def add_pattern(self, user: str, memory: int) -> None:
        """Count a pattern that may use `memory` bytes, until `remove_pattern`. Raises `TooManyPatterns`."""
        account = self._account(user)
        if account.memory + memory > MAX_PATTERNS_PER_ACCOUNT:
            raise TooManyPatterns(
                f"{user} waits for patterns that may use {account.memory // MiB} MiB in all, and at most "
                f"{MAX_PATTERNS_PER_ACCOUNT // MiB} MiB are allowed; end other waits, or use simpler patterns"
            )
        account.memory += memory

    def remove_pattern(self, user: str, memory: int) -> None:
        """Undo `add_pattern`."""
        self._accounts[user].memory -= memory
        self._forget_idle()

    async def search(self, user: str, read: Callable[[], Text], find: Callable[[Text], Found]) -> Found:
        """When it is the user's turn, call `read`, and then `find` with its result in a thread. Return what that
        returns.

        `read` is called that late so that texts of searches that wait take no memory. If the caller is cancelled while
        `find` runs, the turn ends when it has returned, and its time counts.
        """
        account = self._account(user)
        await self._turn(account)
        started = time.monotonic()
        ended = partial(self._end_turn, account, started)
        try:
            text = read()
        except BaseException:
            ended()
            raise
        finding = asyncio.get_running_loop().run_in_executor(_thread, find, text)
        finding.add_done_callback(ended)
        return await asyncio.shield(finding)

    def _account(self, user: str) -> _Account:
        if user not in self._accounts:
            self._accounts[user] = _Account(used=self._now)
        return self._accounts[user]

    async def _turn(self, account: _Account) -> None:
        if not account.waiting:
            account.used = max(account.used, self._now)  # time in which it wanted nothing is not saved up
        if self._served is None:
            self._served = account
            self._now = account.used
            return
        turn = asyncio.get_running_loop().create_future()
        account.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()  # it was this search's turn already
            raise

    def _end_turn(self, account: _Account, started: float, finding: asyncio.Future[Found] | None = None) -> None:
        if finding is not None and not finding.cancelled():
            finding.exception()  # whoever waits for it gets it; if nobody does, it is not worth a line in the log
        account.used += time.monotonic() - started
        self._next()

    def _next(self) -> None:
        for account in sorted(self._accounts.values(), key=lambda each: each.used):
            while account.waiting:
                turn = account.waiting.popleft()
                if not turn.done():
                    self._served = account
                    self._now = account.used
                    turn.set_result(None)
                    return
        self._served = None
        self._now = max(account.used for account in self._accounts.values())  # nobody waits: all are even again
        self._forget_idle()

    def _forget_idle(self) -> None:
        """Forget accounts without patterns, unless their clocks are ahead or it is their turn."""
        for user, account in tuple(self._accounts.items()):
            idle = not account.memory and not account.waiting and account is not self._served
            if idle and account.used <= self._now:
                del self._accounts[user]


def searches() -> Searches:
    """Return the searches of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _all:
        _all[loop] = Searches()
    return _all[loop]


_thread: Final = ThreadPoolExecutor(1, "patterns", initializer=block_all_signals)
"""RE2 releases the interpreter lock while it searches, so the loop continues. One thread is enough: the processors are
for the runs."""

_all: WeakKeyDictionary[asyncio.AbstractEventLoop, Searches] = WeakKeyDictionary()
