"""The client's end of one run: what the service says about it, and what is said to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from farhand_protocol import messages as m
from farhand_protocol.outcome import Lost, SpawnFailed

from .completed import Result, describe
from .errors import ConnectionLost, FarhandError, OutputIncomplete, RequestRefused, SpawnError
from .output import Receiver
from .stdin import InputStream

if TYPE_CHECKING:
    from .session import Session

GIVE_UP: Final = 10.0
"""Seconds beyond a stop's own grace that are waited for its outcome: the service kills and reaps in far less, so
after them it is the service that hangs; it stops the run once the channel closes."""

DEFAULT_GRACE: Final = 5.0
"""Seconds of grace where the request leaves them to the service, whose own default this is."""


class RunChannel:
    """Made by `Session.open`. `started` is the pid, `ended` the result; either may be the error that came instead."""

    def __init__(self, session: Session, request: m.Run) -> None:
        loop = asyncio.get_running_loop()
        self.request: Final = request
        self.started: Final[asyncio.Future[int | None]] = loop.create_future()
        self.ended: Final[asyncio.Future[Result]] = loop.create_future()
        self.stdin: Final = InputStream(self) if request.stdin else None
        self.number = 0
        self._session = session
        self._receivers: dict[m.Stream, Receiver] = {}
        self._received: dict[m.Stream, int] = {"stdout": 0, "stderr": 0}
        self._discarding = False
        self._waiters: set[asyncio.Future[None]] = set()

    # What is said to the service

    def take(self, stream: m.Stream, count: int) -> None:
        """Give the credit of `count` bytes of `stream` back."""
        self._session.connection.take(self.number, stream, count)
        self._session.flush_soon()

    def receive(self, stream: m.Stream, receiver: Receiver) -> None:
        """Say where the bytes of `stream` go. Called before any can come."""
        self._receivers[stream] = receiver

    def tell(self, message: m.Signal | m.Stop) -> None:
        """Send a message about the run, unless it is over."""
        if not self.ended.done():
            self._session.connection.send(self.number, message)
            self._session.flush_soon()

    async def result(self) -> Result:
        """Wait for `ended`, and leave it alone when cancelled; raises the error that came instead.

        asyncio.shield does the same one turn of the loop later: too late for the next request to leave together with
        the close of this channel.
        """
        if not self.ended.done():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        return self.ended.result()

    async def stop(self, kill_after: float | None = None) -> None:
        """Stop the run and wait for its outcome, but not for ever; its output is thrown away.

        A cancellation meanwhile gives up the waiting, not the stopping. Never raises anything else: what came of the
        run is in `ended`.
        """
        self._discard()
        if not self.ended.done():
            self.tell(m.Stop(kill_after=kill_after))
            grace = next((g for g in (kill_after, self.request.kill_after) if g is not None), DEFAULT_GRACE)
            try:
                await asyncio.wait([self.ended], timeout=grace + GIVE_UP)
            finally:
                self.leave()

    def leave(self) -> None:
        """Close the channel; a run that still goes on is stopped by the service."""
        if not self.ended.done():
            self._discard()
            self._close()
            self.fail(
                ConnectionLost(
                    f"nobody waited for the end of the run {self.request.id}; the service stops it",
                    run_id=self.request.id,
                )
            )

    # InputStream's outlet

    def room(self) -> int:
        """Outlet."""
        return self._session.room_for(self, "stdin")

    def send(self, data: bytes) -> None:
        """Outlet."""
        self._session.connection.send_data(self.number, "stdin", data)
        self._session.flush_soon()

    def end(self) -> None:
        """Outlet."""
        self._session.connection.send(self.number, m.End(stream="stdin"))
        self._session.flush_soon()

    # What the service says

    def received_data(self, stream: m.Stream, data: bytes) -> None:
        """Bytes of an output stream came."""
        self._received[stream] += len(data)
        self._receivers[stream].feed(data)

    def received(self, message: m.AnyMessage) -> None:
        """Act on a message that the state tables allow on this channel."""
        match message:
            case m.Credit():
                self.pump()
            case m.End():
                self._receivers[message.stream].end()
            case m.Started():
                if not self.started.done():
                    self.started.set_result(message.pid)
            case m.Ended():
                # Whoever waits is woken before the close is sent: what they ask for next leaves together with it.
                self._ended(message)
                self._close()
            case m.Error():
                self._close()
                self.fail(RequestRefused(message.code, message.message, run_id=self.request.id))

    def pump(self) -> None:
        """There is room for stdin again."""
        if self.stdin is not None:
            self.stdin.pump()

    def fail(self, error: FarhandError) -> None:
        """The run's end will not be known."""
        for receiver in self._receivers.values():
            receiver.fail(error)
        if self.stdin is not None:
            self.stdin.finish(error)
        _settle(self.started, error)
        self._settle_end(error)

    def _ended(self, message: m.Ended) -> None:
        outcome = message.outcome
        run_id = self.request.id
        if isinstance(outcome, SpawnFailed):
            self.fail(SpawnError(outcome, run_id=run_id))
            return
        if isinstance(outcome, Lost):
            self.fail(ConnectionLost(f"the run {run_id} {describe(outcome)}", run_id=run_id))
            return
        totals: dict[m.Stream, int] = {"stdout": message.stdout, "stderr": message.stderr}
        missing = [
            f"{self._received[stream]} of {total} bytes of {stream} arrived"
            for stream, total in totals.items()
            if self._received[stream] != total
        ]
        if missing and not self._discarding:
            text = f"run {run_id}: the command {describe(outcome)}, but only {' and '.join(missing)}"
            self.fail(OutputIncomplete(text, run_id=run_id, outcome=outcome))
            return
        for receiver in self._receivers.values():
            receiver.end()
        if self.stdin is not None:
            self.stdin.finish(None)
        if not self.started.done():
            self.started.set_result(None)
        result = Result(outcome, run_id, message.duration, message.stdout, message.stderr, message.lingered)
        self._settle_end(result)

    def _settle_end(self, end: Result | FarhandError) -> None:
        _settle(self.ended, end)
        for waiter in self._waiters:
            _settle(waiter, None)

    def _discard(self) -> None:
        self._discarding = True
        for receiver in self._receivers.values():
            receiver.discard()

    def _close(self) -> None:
        self._session.close_channel(self)


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if future.done():
        return
    if isinstance(value, BaseException):
        future.set_exception(value)
        future.exception()  # whoever awaits it gets it; nobody has to
    else:
        future.set_result(value)
