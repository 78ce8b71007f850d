"""`Transfer`: what `Client.put`, `Client.get` and `Client.sync` return, and attempt after attempt to do it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Self, TypeAlias

from farhand_client.connection.reconnecting import Backoff
from farhand_client.errors import TransferIncomplete, TransferInterrupted, TransferRefused
from farhand_client.home_loop import not_picklable
from farhand_client.transferred import Transferred
from farhand_files.events import Event, Totals
from farhand_files.options import TransferOptions

from .attempt import AttemptFailed, AttemptLost, MakeMover, Moving, attempt
from .handshake import OptionsRefused
from .reports import Reports

if TYPE_CHECKING:
    from farhand_client.connection.reconnecting import ReconnectingConnection

MAX_FRUITLESS: Final = 3
"""Attempts in a row that do nothing. A run that is lost three times before it has sent a byte is lost because of what
it transfers, or the service is not fit to run anything."""

MAX_ATTEMPTS: Final = 1000
"""Attempts in all: a service that lets each of them send a byte and then ends it would otherwise keep the client for
ever. A service that works is not restarted so often while one transfer goes on."""

OnEvent: TypeAlias = Callable[[Event], None]
"""Called with each event of a transfer, in the event loop. What it raises ends the transfer."""


class TransferPlan(NamedTuple):
    """What is to be transferred, checked."""

    options: TransferOptions
    make: MakeMover
    """Makes our side of the transfer."""
    repeatable: bool = True
    """Whether another attempt can follow: what was read from or written to an open file cannot be taken back."""


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
        self._iterated = False
        self._kinds: Collection[type[Event]] | None = None
        self._task: asyncio.Task[Transferred] | None = None
        self._reports: Reports | None = None
        self._more: asyncio.Event | None = None
        self._progress_error: Exception | None = None
        self._unused: Coroutine[Any, Any, Transferred] | None = self._outcome()
        self._driven: Coroutine[Any, Any, Transferred] | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._task is not None and self._task.done()

    def only(self, *kinds: type[Event]) -> None:
        """Leave out all events of other kinds, also in `progress`: of a large tree that is up to date, those cost more
        time than all the rest. Call this before the transfer is awaited or iterated."""
        self._kinds = frozenset(kinds)

    async def _outcome(self) -> Transferred:
        task = self._begin()
        self._stop_iterating()
        return await self._result(task)

    async def _result(self, task: asyncio.Task[Transferred]) -> Transferred:
        try:
            return await task
        except asyncio.CancelledError:
            if self._progress_error is not None and not _is_cancelled():
                raise self._progress_error from None
            raise

    def _begin(self) -> asyncio.Task[Transferred]:
        if self._task is None:
            self._connection.check_home()
            loop = asyncio.get_running_loop()
            self._more = asyncio.Event()
            self._reports = Reports(loop.call_soon_threadsafe, self._deliver)
            self._reports.follow(on=self._iterated or self._progress is not None, kinds=self._kinds)
            self._task = asyncio.ensure_future(self._transfer(self._reports))
            self._task.add_done_callback(self._ended)
        return self._task

    def _ended(self, task: asyncio.Task[Transferred]) -> None:
        if not task.cancelled():
            task.exception()  # marks it as retrieved: who has left the context does not await it
        assert self._more is not None
        self._more.set()

    # Attempts

    async def _transfer(self, reports: Reports) -> Transferred:
        began = time.monotonic()
        try:
            totals = await self._attempts(reports, began)
            if not self._iterated:
                self._deliver()
        finally:
            if not self._iterated:
                reports.follow(on=False)
        done = reports.result(totals, time.monotonic() - began)
        if done.failed and self._check:
            raise TransferIncomplete(_what_failed(done), transferred=done)
        return done

    async def _attempts(self, reports: Reports, began: float) -> Totals:
        loop = asyncio.get_running_loop()
        moving = Moving(self._plan.options, self._plan.make, reports.report, reports.release)
        attempts, fruitless, backoff = 0, 0, None
        while True:
            attempts += 1
            try:
                return await attempt(self._connection, moving)
            except OptionsRefused as error:
                raise TransferRefused(
                    f"{self._connection.name} does not do this transfer: {error}",
                    transferred=reports.result(None, time.monotonic() - began),
                ) from None
            except AttemptFailed as error:
                reason = str(error)
            except AttemptLost as error:
                reason = str(error)
                fruitless += 1
                if reports.attempt_failed(error.unsent):
                    fruitless, backoff = 0, None
                if self._plan.repeatable and fruitless < MAX_FRUITLESS and attempts < MAX_ATTEMPTS:
                    backoff = backoff or Backoff(loop.time(), self._connection.reconnect_timeout)
                    delay = backoff.delay(loop.time())
                    if delay is not None:
                        await asyncio.sleep(delay)
                        await self._connection.connected_session()
                        continue
            done = reports.result(None, time.monotonic() - began)
            advice = "; the same call again continues it" if self._plan.repeatable else ""
            raise TransferInterrupted(f"the transfer was interrupted: {reason}{advice}", transferred=done)

    # Events

    def _deliver(self) -> None:
        """Deliver the events that are queued. Called in the event loop."""
        assert self._reports is not None
        assert self._more is not None
        if self._iterated:
            self._more.set()
            return
        while (event := self._reports.take()) is not None:
            self._pass_on(event)

    def _pass_on(self, event: Event) -> None:
        if self._progress is None or self._progress_error is not None:
            return
        try:
            self._progress(event)
        except Exception as error:  # noqa: BLE001  # raised to who awaits the transfer
            self._progress_error = error
            assert self._task is not None
            self._task.cancel()

    def _stop_iterating(self) -> None:
        """Let nobody wait for a reader of events, because there is none any longer."""
        if self._iterated:
            assert self._reports is not None
            self._iterated = False
            self._deliver()
            self._reports.follow(on=self._progress is not None and not self.done, kinds=self._kinds)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._task is None:
            self._iterated = True
            self._close_unused()
        task = self._begin()
        assert self._reports is not None
        assert self._more is not None
        while True:
            self._more.clear()
            if (event := self._reports.take()) is not None:
                self._pass_on(event)
                return event
            if task.done():
                await self._result(task)
                raise StopAsyncIteration
            try:
                await self._more.wait()
            except asyncio.CancelledError:
                await self._stop(task)
                raise

    async def _stop(self, task: asyncio.Task[Transferred]) -> None:
        self._stop_iterating()
        task.cancel()
        await asyncio.wait([task])

    async def __aenter__(self) -> Self:
        self._iterated = self._task is None or self._iterated
        self._close_unused()
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None and not self._task.done():
            await self._stop(self._task)

    def __repr__(self) -> str:
        options = self._plan.options
        state = "not begun" if self._task is None else "ended" if self._task.done() else "under way"
        paths = ", ".join(os.fsdecode(path) for path in options.paths[:3])
        preposition = "to" if options.operation == "put" else "of"
        return f"<Transfer: {options.operation} {preposition} {self._connection.name}:{paths}, {state}>"

    def __reduce__(self) -> NoReturn:
        raise not_picklable("a transfer")

    # Implements Coroutine, so that asyncio.create_task accepts it.

    def __await__(self) -> Generator[Any, Any, Transferred]:
        return self._take_unused().__await__()

    def send(self, value: Any) -> Any:
        self._driven = self._driven or self._take_unused()
        return self._driven.send(value)

    def throw(self, *args: Any) -> Any:
        self._driven = self._driven or self._take_unused()
        return self._driven.throw(*args)

    def close(self) -> None:
        self._close_unused()
        if self._driven is not None:
            self._driven.close()

    def _take_unused(self) -> Coroutine[Any, Any, Transferred]:
        coroutine, self._unused = self._unused, None
        return coroutine or self._outcome()

    def _close_unused(self) -> None:
        if self._unused is not None:
            self._unused.close()
            self._unused = None


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _what_failed(done: Transferred) -> str:
    text = f"{done.failed} of {done.failed + done.files + done.skipped + done.others} could not be transferred"
    if done.errors:
        first = done.errors[0]
        text += f": {os.fsdecode(first.path)}: {first.sentence}"
        if done.failed > 1:
            text += f", and {done.failed - 1} more"
    return text
