"""The client's end of one run, over one connection after the other: what the service says, and what is said to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from farhand_protocol import messages as m
from farhand_protocol.outcome import Lost, Outcome, SpawnFailed

from .completed import Result, describe
from .errors import ConnectionLost, FarhandError, OutputIncomplete, RequestRefused, RunGoesOn, SpawnError
from .output import Receiver
from .pieces import Gap
from .stdin import InputStream

if TYPE_CHECKING:
    from .line import Line
    from .session import Session

GIVE_UP: Final = 10.0
"""Seconds beyond a stop's own grace that are waited for its outcome: the service kills and reaps in far less, so
after them it is the service that hangs, or the connection that does not come back."""

DEFAULT_GRACE: Final = 5.0
"""Seconds of grace where the request leaves them to the service, whose own default this is."""


class _Stream:
    """One output stream: where it stands, and how much of it was not consumed here."""

    __slots__ = ("ended", "expected", "lost", "owed", "receiver", "waiting")

    def __init__(self, offset: int, receiver: Receiver) -> None:
        self.receiver = receiver
        self.expected = offset
        """The offset of the next byte to come."""
        self.waiting = 0
        """Bytes that came and are not consumed."""
        self.owed = 0
        """Those of them that came over a connection that is gone: no credit can be given back for them."""
        self.lost = 0
        """Bytes that a gap said are no longer kept."""
        self.ended = False


class Attachment:
    """Opened by a `run`, which is sent again until it is known to have arrived, or by an `attach`.

    `started` is the service's first answer (None where the run ended before it began), `ended` the result; either may
    be the error that came instead. With `tolerant` gaps in the output are not an error.
    """

    def __init__(self, line: Line, opening: m.Run | m.Attach, *, tolerant: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.opening: Final = opening
        self.id: Final = opening.id
        self.started: Final[asyncio.Future[m.Started | None]] = loop.create_future()
        self.ended: Final[asyncio.Future[Result]] = loop.create_future()
        self.exited: Outcome | None = None
        """How the program ended, known before the run is over where other processes still hold its output."""
        feeds = (0 if opening.stdin else None) if isinstance(opening, m.Run) else opening.stdin
        self.stdin: Final = None if feeds is None else InputStream(self, feeds)
        self.number = 0
        self.line: Final = line
        self._session: Session | None = None
        self._streams: dict[m.Stream, _Stream] = {}
        self._tolerant = tolerant
        self._known = isinstance(opening, m.Attach)
        self._signals: list[m.Signal] = []
        self._stop: m.Stop | None = None
        self._left = False
        self._discarding = False
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether what is said now leaves now."""
        return self._session is not None

    @property
    def owner(self) -> bool:
        """Whether the run is to be stopped when this attachment leaves it."""
        return isinstance(self.opening, m.Run) and self.opening.on_disconnect == "kill"

    # What is said to the service

    def begin(self) -> None:
        """Ask for the run, now or once there is a connection. Raises what `Line.add` does."""
        self.line.add(self)

    def take(self, stream: m.Stream, count: int) -> None:
        """`count` bytes of `stream` were consumed."""
        state = self._streams[stream]
        state.waiting -= count
        if state.owed:
            paid = min(state.owed, count)
            state.owed -= paid
            count -= paid
        if count and self._session is not None:
            self._session.take(self, stream, count)

    def receive(self, stream: m.Output, receiver: Receiver, offset: int = 0) -> None:
        """Say where the bytes of `stream` go, from `offset` on. Called before any can come."""
        self._streams[stream] = _Stream(offset, receiver)

    def signal(self, number: int) -> None:
        """Send a signal, at most once; where the connection is known to be lost, over the next one."""
        if self.ended.done():
            return
        message = m.Signal(number=number)
        if self._session is not None:
            self._session.tell(self, message)
        else:
            self._signals.append(message)

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
            self._tell_stop(m.Stop(kill_after=kill_after))
            own = self.opening.kill_after if isinstance(self.opening, m.Run) else None
            grace = next((g for g in (kill_after, own) if g is not None), DEFAULT_GRACE)
            try:
                await asyncio.wait([self.ended], timeout=grace + GIVE_UP)
            finally:
                self._go(self._nobody_waited("the service stops it"))

    async def part(self) -> None:
        """Stop the run and wait for that where it is not to outlive its client; else leave it."""
        if self.owner:
            await self.stop()
        else:
            self.detach()

    def abandon(self) -> None:
        """Leave at once; the service stops the run where it is not to outlive its client."""
        if self.owner:
            self._tell_stop(m.Stop())
        self._go(self._nobody_waited("the service stops it" if self.owner else "it goes on"))

    def detach(self) -> None:
        """Leave at once, and the run as it is."""
        self._go(self._nobody_waited("the service stops it after its grace" if self.owner else "it goes on"))

    def leave(self, error: FarhandError) -> None:
        """Resumable."""
        if self.ended.done():
            return
        if self.owner:
            self._tell_stop(m.Stop())
        what = "the service stops it" if self.owner else "it goes on"
        self._go(ConnectionLost(f"{error}; nobody waited for the end of the run {self.id}; {what}", run_id=self.id))

    # InputStream's outlet

    def room(self) -> int:
        """Outlet."""
        return self._session.room_for(self, "stdin") if self._session is not None else 0

    def send(self, data: bytes) -> None:
        """Outlet."""
        assert self._session is not None
        self._session.send_data(self, "stdin", data)

    def end(self) -> bool:
        """Outlet."""
        if self._session is None:
            return False
        self._session.tell(self, m.End(stream="stdin"))
        return True

    # Resumable

    def open(self, session: Session) -> None:
        """Resumable."""
        window = session.connection.limits.window
        for state in self._streams.values():
            # What waits here was never acknowledged, so it can come again; with every cut there would be more of it.
            dropped = 0 if state.ended else state.receiver.trim(window)
            state.expected -= dropped
            state.waiting -= dropped
            state.owed = state.waiting
        if self.stdin is not None:
            self.stdin.rewind()
        session.open(self, self._opening())
        if self._left:
            self.line.remove(self)
            session.tell(self, self._stop or m.Stop())
            session.close_channel(self)
            return
        self._session = session
        for message in (*self._signals, self._stop):
            if message is not None:
                session.tell(self, message)
        self._signals.clear()
        self.pump()

    def fail(self, error: Exception) -> None:
        """Resumable. The run's end will not be known."""
        if isinstance(error, ConnectionLost) and error.run_id is None and not self.ended.done():
            from .knowledge import unknown_end

            error = unknown_end(error, self.opening, self.line.name, started=self._known)
        self._session = None
        for state in self._streams.values():
            state.receiver.fail(error)
        if self.stdin is not None:
            self.stdin.finish(error)
        _settle(self.started, error)
        self._settle_end(error)

    # Endpoint

    def lost(self, why: FarhandError) -> None:
        """Endpoint. The line opens another channel, or says that there will be none."""
        self._session = None

    def received_data(self, stream: m.Stream, data: bytes) -> None:
        """Endpoint."""
        state = self._streams[stream]
        state.expected += len(data)
        state.waiting += len(data)
        state.receiver.feed(data)

    def received(self, message: m.AnyMessage) -> None:
        """Endpoint."""
        match message:
            case m.Credit():
                if self.stdin is not None:
                    self.stdin.acknowledge(message.bytes)
                    self.stdin.pump()
            case m.End():
                state = self._streams[message.stream]
                state.ended = True
                state.receiver.end()
            case m.Gap():
                self._gap(message)
            case m.Started():
                self._begun(message)
            case m.Exit():
                self.exited = message.outcome
            case m.Ended():
                # Whoever waits is woken before the close is sent: what they ask for next leaves together with it.
                session = self._session
                self._ended(message)
                self._close(session)
            case m.Done():
                session = self._session
                self.fail(RunGoesOn(f"run {self.id} goes on; this attachment did not follow it", run_id=self.id))
                self._close(session)
            case m.Error():
                self._close(self._session)
                self.fail(RequestRefused(message.code, message.message, run_id=self.id))

    def pump(self) -> None:
        """Endpoint."""
        if self.stdin is not None:
            self.stdin.pump()

    def _opening(self) -> m.Run | m.Attach:
        # A start that is not wanted any more is not sent again: it might never have arrived.
        if not self._known and self._stop is None:
            return self.opening
        attach = self.opening
        if isinstance(attach, m.Run):
            attach = m.Attach(id=self.id, attachment=attach.attachment, hold=True)
        if self._left:
            return m.Attach(id=self.id, attachment=attach.attachment)
        stdin = None if self.stdin is None or self.stdin.over else self.stdin.acknowledged
        return attach.model_copy(
            update={"stdout": self._wanted("stdout"), "stderr": self._wanted("stderr"), "stdin": stdin}
        )

    def _wanted(self, stream: m.Output) -> int | None:
        state = self._streams.get(stream)
        return None if state is None else state.expected

    def _begun(self, message: m.Started) -> None:
        self._known = True
        if self.stdin is not None and not message.new and not message.stdin:
            self.stdin.finish(None)
        if not self.started.done():
            self.started.set_result(message)

    def _gap(self, message: m.Gap) -> None:
        state = self._streams[message.stream]
        state.expected = message.offset + message.bytes
        state.lost += message.bytes
        state.receiver.gap(Gap(message.stream, message.offset, message.bytes))

    def _ended(self, message: m.Ended) -> None:
        outcome = message.outcome
        if isinstance(outcome, SpawnFailed):
            self.fail(SpawnError(outcome, run_id=self.id))
            return
        if isinstance(outcome, Lost):
            self.fail(ConnectionLost(f"the run {self.id} {describe(outcome)}", run_id=self.id))
            return
        missing = self._missing(message)
        if missing:
            text = f"run {self.id}: the command {describe(outcome)}, but {' and '.join(missing)}"
            self.fail(OutputIncomplete(text, run_id=self.id, outcome=outcome))
            return
        for state in self._streams.values():
            state.receiver.end()
        if self.stdin is not None:
            self.stdin.finish(None)
        if not self.started.done():
            self.started.set_result(None)
        self._settle_end(
            Result(
                outcome,
                self.id,
                message.duration,
                message.stdout,
                message.stderr,
                message.lingered,
                message.usage,
                message.applied,
            )
        )

    def _missing(self, message: m.Ended) -> list[str]:
        if self._discarding:
            return []
        missing = []
        totals: dict[m.Stream, int] = {"stdout": message.stdout, "stderr": message.stderr}
        for stream, state in self._streams.items():
            total = totals[stream]
            if state.expected != total:
                missing.append(f"only {state.expected - state.lost} of {total} bytes of {stream} arrived")
            elif state.lost and not self._tolerant:
                missing.append(f"{state.lost} of {total} bytes of {stream} were no longer kept")
        return missing

    def _tell_stop(self, message: m.Stop) -> None:
        self._stop = message
        if self._session is not None:
            self._session.tell(self, message)

    def _go(self, error: FarhandError) -> None:
        if self.ended.done():
            return
        # No credit goes back for what nobody has seen: whoever attaches next may want it.
        session, self._session = self._session, None
        self._discard()
        self._left = session is None and self._stop is not None
        self._close(session)
        self.fail(error)

    def _nobody_waited(self, what: str) -> ConnectionLost:
        return ConnectionLost(f"nobody waited for the end of the run {self.id}; {what}", run_id=self.id)

    def _settle_end(self, end: Result | Exception) -> None:
        if not self._left:
            self.line.remove(self)
        _settle(self.ended, end)
        for waiter in self._waiters:
            _settle(waiter, None)

    def _discard(self) -> None:
        self._discarding = True
        for state in self._streams.values():
            state.receiver.discard()

    def _close(self, session: Session | None) -> None:
        self._session = None
        if session is not None:
            session.close_channel(self)


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if future.done():
        return
    if isinstance(value, BaseException):
        future.set_exception(value)
        future.exception()  # whoever awaits it gets it; nobody has to
    else:
        future.set_result(value)
