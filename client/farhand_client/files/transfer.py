"""`Transfer`: what `Client.put`, `Client.get` and `Client.sync` return."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self, TypeAlias

from farhand_client.home_loop import not_picklable
from farhand_client.transferred import Transferred
from farhand_files.events import Event
from farhand_files.options import TransferOptions

from .places import OpenFile

if TYPE_CHECKING:
    from farhand_client.connection.reconnecting import ReconnectingConnection

OnEvent: TypeAlias = Callable[[Event], None]
"""Called with each event of a transfer, in the event loop. What it raises ends the transfer."""


class TransferPlan(NamedTuple):
    """What is to be transferred, checked. `base` is the directory where relative paths of this machine begin."""

    options: TransferOptions
    sources: Sequence[bytes | OpenFile]
    destination: bytes | OpenFile
    base: bytes


class Transfer(Coroutine[Any, Any, Transferred]):
    """A transfer: `transferred = await transfer` does it and returns what was done.

    Or follow it: `async with transfer: async for event in transfer: …`, and then `await transfer`. The events are those
    of `farhand_files.events`; a slow reader slows the transfer down. Leaving the context, or cancelling what awaits the
    transfer, stops it: files that are in place stay, those under way are as they were before, and the same call again
    continues. It begins when it is awaited, entered or iterated over for the first time.

    Awaiting and iterating raise `TransferIncomplete` (unless `check` is False), `TransferRefused`,
    `TransferInterrupted`, `RequestRefused`, `ConnectionLost`, OSError, and what `progress` raises.
    """

    def __init__(
        self, connection: ReconnectingConnection, plan: TransferPlan, progress: OnEvent | None, *, check: bool
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._progress = progress
        self._check = check
        self._coroutine = self._outcome()

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        raise NotImplementedError

    async def _outcome(self) -> Transferred:
        await asyncio.sleep(0)
        raise NotImplementedError

    def __aiter__(self) -> AsyncIterator[Event]:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<Transfer: {self._plan.options.operation}>"

    def __reduce__(self) -> NoReturn:
        raise not_picklable("a transfer")

    # Implements Coroutine, so that asyncio.create_task accepts it.

    def __await__(self) -> Generator[Any, Any, Transferred]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, *args: Any) -> Any:
        return self._coroutine.throw(*args)

    def close(self) -> None:
        self._coroutine.close()
