"""The one time limit of a `connect`: from reading the configuration to the end of the login.

`connect_deadline` cancels what is under way when the time is up, and its error names the step that took too long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Final, TypeVar

from farhand_client.errors import ConnectError

T = TypeVar("T")


class ConnectDeadline:
    """The time limit that `scope` enforces, and the step that is under way."""

    def __init__(self, scope: asyncio.Timeout, seconds: float) -> None:
        self.seconds: Final = seconds
        self.questions = 0
        """How many questions persons have answered."""
        self._scope = scope
        self._what = "the connection was not ready"
        self._where = ""

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        when = self._scope.when()
        return self.seconds if when is None else max(0.0, when - asyncio.get_running_loop().time())

    @property
    def message(self) -> str:
        """What an error about the deadline says."""
        unit = "second" if self.seconds == 1 else "seconds"
        return f"{self._what} within {self.seconds:g} {unit}{self._where}"

    def step(self, what: str, where: str = "") -> None:
        """Note the step that begins: the error is `what`, "within … seconds", and `where`."""
        self._what = what
        self._where = where

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
