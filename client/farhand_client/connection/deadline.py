"""The one time limit of a `connect`: from reading the configuration to the end of the login.

`connect_deadline` cancels what is under way when the time is up, and its error names the step that took too long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from farhand_client.errors import ConnectError

from .steps import ConnectSteps

T = TypeVar("T")


class ConnectDeadline(ConnectSteps):
    """The time limit that `scope` enforces, and the step that is under way."""

    def __init__(self, scope: asyncio.Timeout, seconds: float) -> None:
        super().__init__(seconds)
        self.questions = 0
        """How many questions persons have answered."""
        self._scope = scope

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        when = self._scope.when()
        return self.seconds if when is None else max(0.0, when - asyncio.get_running_loop().time())

    async def person(self, question: Awaitable[T]) -> T:
        """Return the answer of a person to `question`. The clock stands still meanwhile."""
        left = self.left
        self.questions += 1
        self._scope.reschedule(None)
        try:
            return await question
        finally:
            self._scope.reschedule(asyncio.get_running_loop().time() + left)


@contextlib.asynccontextmanager
async def connect_deadline(seconds: float) -> AsyncIterator[ConnectDeadline]:
    """Raise `ConnectError` if the block takes longer than `seconds`, not counting the time of persons."""
    scope = asyncio.timeout(seconds)
    deadline = ConnectDeadline(scope, seconds)
    try:
        async with scope:
            yield deadline
    except TimeoutError:
        if not scope.expired():
            raise
        raise ConnectError(deadline.message) from None
