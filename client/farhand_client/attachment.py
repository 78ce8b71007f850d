"""The client's end of one run: the messages to and from the service about it, across outages.

A `ClientAttachment` is registered with the reconnecting connection. On each session it opens one channel: at first with
the request to run or to attach, and once the run is known to have started always by attaching to it, at the offsets
that its streams have reached. So nothing is lost, nothing arrives twice, and a command starts once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from farhand_protocol import messages as m
from farhand_protocol.features import FILES, FORWARDS, LEFT_PROCESSES, PRELUDE
from farhand_protocol.outcome import Lost, Outcome, SpawnFailed

from .arguments import as_window_size
from .attach_request import shown_size
from .errors import ConnectionLost, FarhandError, OutputIncomplete, RequestRefused, RunGoesOn, SpawnError
from .home_loop import call_back
from .results import Result, describe, lost_run_error, reported_result
from .stdin import InputStream
from .streams import AttachmentStreams
from .times import STOP_MARGIN

if TYPE_CHECKING:
    from .connection.reconnecting import ReconnectingConnection
    from .connection.session import ClientSession
    from .output import OutputReceiver


class ClientAttachment:
    """One run as this client sees it, opened by a `RunRequest` or an `Attach`.

    `started` resolves to the service's first answer (None if the run ended before it started), and `ended` to the
    result; either may fail with an error instead. With `tolerant`, gaps in the output are not an error.
    """

    def __init__(
        self,
        connection: ReconnectingConnection,
        opening: m.RunRequest | m.Attach,
        *,
        tolerant: bool = False,
        stdin_offset: int = 0,
    ) -> None:
        connection.check_home()
        loop = asyncio.get_running_loop()
        self.opening: Final = opening
        self.id: Final = opening.id
        self.started: Final[asyncio.Future[m.Started | None]] = loop.create_future()
        self.ended: Final[asyncio.Future[Result]] = loop.create_future()
        self.exited: Outcome | None = None
        """How the program ended: known before the run ends if other processes still hold its output."""
        at = (stdin_offset if opening.stdin else None) if isinstance(opening, m.RunRequest) else opening.stdin
        self.stdin: Final = None if at is None else InputStream(self, at)
        self.number = 0
        """The number of the current channel."""
        self.size: m.WindowSize | None = None
        """The size of the run's terminal, as last reported by the service."""
        self.on_resize: Callable[[m.WindowSize], None] | None = None
        self.connection: Final = connection
        self._session: ClientSession | None = None
        self._streams = AttachmentStreams(tolerant=tolerant)
        self._start_known = isinstance(opening, m.Attach)
        self._unsent_signals: list[m.Signal] = []
        self._stop: m.Stop | None = None
        self._shown_size = shown_size(opening)
        self._left_with_stop = False
        """Whether the run was left during an outage before its stop was sent. The next session only sends the stop."""
        self._end_settled = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether messages to the run are sent at once."""
        return self._session is not None

    @property
    def stops_with_client(self) -> bool:
        """Whether the run is to be stopped when this attachment leaves it."""
        return isinstance(self.opening, m.RunRequest) and self.opening.on_disconnect == "kill"

    # For the API

    def begin(self) -> None:
        """Send the request now, or once there is a connection. Raises as `ReconnectingConnection.register`."""
        self.connection.register(self)

    def resume(self, started: m.Started | None, final: m.AnyMessage | None) -> None:
        """Go on with a run that was requested before, over another connection: `started` has arrived if it is given,
        and with `final` nothing else will."""
        if started is not None:
            self._run_started(started)
        if final is not None:
            self.received(final)
            return
        try:
            self.begin()
        except FarhandError as error:
            self.fail(error)

    def deliver_to(self, stream: m.Output, receiver: OutputReceiver, offset: int = 0) -> None:
        """Deliver the bytes of `stream` from `offset` on to `receiver`. Call this before `begin`."""
        self._streams.add(stream, receiver, offset)

    def consumed(self, stream: m.Stream, count: int) -> None:
        """Note that `count` bytes of `stream` were consumed, and return their credit to the service."""
        credit = self._streams.consumed(stream, count)
        if credit and self._session is not None:
            self._session.consumed(self, stream, credit)

    def signal(self, number: int) -> None:
        """Send a signal, at most once. During an outage it is kept and sent after reconnecting."""
        self.connection.check_home()
        if self.ended.done():
            return
        message = m.Signal(number=number)
        if self._session is not None:
            self._session.send_on(self, message)
        else:
            self._unsent_signals.append(message)

    def resize(self, columns: int, rows: int) -> None:
        """Report the size at which the terminal is displayed here. Raises ValueError."""
        self.connection.check_home()
        if self._shown_size is None:
            raise ValueError("this run was not requested with a terminal, so it has no size")
        self._shown_size = as_window_size(columns, rows)
        watches = isinstance(self.opening, m.Attach) and self.opening.read_only
        if self._session is not None and not watches and not self.ended.done():
            self._session.send_on(self, m.Resize(columns=self._shown_size.columns, rows=self._shown_size.rows))

    async def result(self) -> Result:
        """Wait for `ended` without cancelling it when this call is cancelled. Raises the error with which it failed.

        asyncio.shield would resume the caller one turn of the event loop later: too late for its next request to
        be sent together with the close of this channel.
        """
        self.connection.check_home()
        await self._end_settled.wait()
        return self.ended.result()

    def request_stop(self, kill_after: float | None = None) -> None:
        """Request a stop of the run with `kill_after` seconds of grace (default: the run's own), without waiting."""
        self.connection.check_home()
        if self.ended.done():
            return
        self._stop = m.Stop(kill_after=kill_after)
        if self._session is not None:
            self._session.send_on(self, self._stop)

    async def stop(self, kill_after: float | None = None) -> None:
        """Stop the run, throw its output away, and wait for its outcome.

        Waits at most `STOP_MARGIN` beyond the grace. If the grace is unknown here, because the service's configuration
        or another client's request sets it, only the permanent loss of the connection ends the wait. A cancellation
        gives up the waiting, not the stopping. Raises no other error: `ended` tells how the run ended.
        """
        self.connection.check_home()
        self._streams.discard()
        if not self.ended.done():
            self.request_stop(kill_after)
            own = self.opening.kill_after if isinstance(self.opening, m.RunRequest) else None
            grace = own if kill_after is None else kill_after
            try:
                await asyncio.wait([self.ended], timeout=None if grace is None else grace + STOP_MARGIN)
            finally:
                self._leave(self._left_early("the service stops it"))

    async def stop_or_detach(self) -> None:
        """Stop the run and wait for its end if it must not outlive its client; otherwise leave it.

        A forked child leaves the run to its parent.
        """
        if self.stops_with_client and not self.connection.home.in_child:
            await self.stop()
        else:
            self.detach()

    def abandon(self) -> None:
        """Leave at once; the service stops the run if it must not outlive its client. A forked child does nothing."""
        if self.connection.home.in_child:
            return
        self.connection.check_home()
        if self.stops_with_client:
            self.request_stop()
        self._leave(self._left_early("the service stops it" if self.stops_with_client else "it keeps running"))

    def detach(self) -> None:
        """Leave at once, and leave the run as it is. Does nothing in a forked child."""
        if self.connection.home.in_child:
            return
        self.connection.check_home()
        then = "the service stops it after its grace period" if self.stops_with_client else "it keeps running"
        self._leave(self._left_early(then))

    # Implements StdinChannel.

    def room(self) -> int:
        """Return how many bytes of stdin may be sent now."""
        return 0 if self._session is None else self._session.room_for(self, "stdin")

    def send(self, data: bytes | memoryview) -> None:
        """Send bytes of stdin."""
        assert self._session is not None
        self._session.send_data(self, "stdin", data)

    def flush(self) -> None:
        """Send what is queued."""
        if self._session is not None:
            self._session.flush()

    def end(self) -> bool:
        """Send the end of stdin; return False during an outage."""
        if self._session is None:
            return False
        self._session.send_on(self, m.End(stream="stdin"))
        return True

    # Implements Resumable.

    def open(self, session: ClientSession) -> None:
        """Open a channel on `session` and continue where the last one ended."""
        window = session.connection.limits.window
        self._streams.reopened(min(window, self.opening.window or window))
        if self.stdin is not None:
            self.stdin.rewind()
        opening = self._next_opening()
        if isinstance(opening, m.RunRequest) and opening.leave_processes:
            session.require_feature(LEFT_PROCESSES, "leave the processes of a run running")
        if isinstance(opening, m.RunRequest) and opening.prelude is not None:
            session.require_feature(PRELUDE, "run a prelude in the shell")
        if isinstance(opening, m.RunRequest) and opening.transfer is not None:
            session.require_feature(FILES, "transfer files")
        if isinstance(opening, m.RunRequest) and opening.forward is not None:
            session.require_feature(FORWARDS, "forward connections")
        session.open_channel(self, opening)
        if self._left_with_stop:
            self.connection.unregister(self)
            session.send_on(self, self._stop or m.Stop())
            session.close_channel(self)
            return
        self._session = session
        if self._shown_size is not None and self._shown_size != shown_size(opening):
            session.send_on(self, m.Resize(columns=self._shown_size.columns, rows=self._shown_size.rows))
        for message in (*self._unsent_signals, self._stop):
            if message is not None:
                session.send_on(self, message)
        self._unsent_signals.clear()
        self.pump()

    def fail(self, error: Exception) -> None:
        """Give up on the run: its outcome will not be known."""
        if isinstance(error, ConnectionLost) and error.run_id is None and not self.ended.done():
            error = lost_run_error(error, self.opening, self.connection.name, started=self._start_known)
        self._session = None
        self._streams.fail(error)
        if self.stdin is not None:
            self.stdin.finish(error)
        _settle(self.started, error)
        self._settle_end(error)

    def client_closed(self, error: FarhandError) -> None:
        """Leave as `abandon` does, with `error` as the cause."""
        if self.ended.done():
            return
        if self.stops_with_client:
            self.request_stop()
        then = "the service stops it" if self.stops_with_client else "it keeps running"
        self._leave(ConnectionLost(f"{error} before run {self.id} ended; {then}", run_id=self.id))

    # Implements ChannelEndpoint.

    def lost(self, why: FarhandError) -> None:
        """Note the outage; the reconnecting connection calls `open` or `fail` later."""
        self._session = None

    def received_data(self, stream: m.Stream, data: bytes) -> None:
        """Deliver output."""
        self._streams.feed(stream, data)

    def received(self, message: m.AnyMessage) -> None:
        """Handle a message from the service about the run."""
        match message:
            case m.Credit():
                if self.stdin is not None:
                    self.stdin.acknowledge(message.bytes)
                    self.stdin.pump()
            case m.End():
                self._streams.end(message.stream)
            case m.GapNotice():
                self._streams.gap(message)
            case m.Started():
                self._run_started(message)
            case m.Resize():
                self.size = m.WindowSize(columns=message.columns, rows=message.rows)
                if self.on_resize is not None:
                    call_back(self.on_resize, self.size)
            case m.Exit():
                self.exited = message.outcome
            case m.Ended():
                # Wake the caller before sending the close, so that its next request is sent together with the close.
                session = self._session
                self._run_ended(message)
                self._close(session)
            case m.Done():
                session = self._session
                self.fail(RunGoesOn(f"run {self.id} has not ended; this attachment does not follow it", run_id=self.id))
                self._close(session)
            case m.Error():
                self._close(self._session)
                self.fail(RequestRefused(message.code, message.message, run_id=self.id))

    def pump(self) -> None:
        """Send waiting stdin."""
        if self.stdin is not None:
            self.stdin.pump()

    def _next_opening(self) -> m.RunRequest | m.Attach:
        # Do not repeat the request of a run that is to be stopped: if the first one was lost, the run would start.
        if not self._start_known and self._stop is None:
            return self.opening
        attach = self.opening
        if isinstance(attach, m.RunRequest):
            attach = m.Attach(id=self.id, attachment=attach.attachment, hold=True, window=attach.window)
        if self._left_with_stop:
            return m.Attach(id=self.id, attachment=attach.attachment)
        stdin = None if self.stdin is None or self.stdin.over else self.stdin.acknowledged
        stdout, stderr = self._streams.expected("stdout"), self._streams.expected("stderr")
        share = attach.share and stdin is not None
        update = {"stdout": stdout, "stderr": stderr, "stdin": stdin, "size": self._shown_size, "share": share}
        return attach.model_copy(update=update)

    def _run_started(self, message: m.Started) -> None:
        self._start_known = True
        if self.stdin is not None and not message.new and not message.stdin:
            self.stdin.finish(None)
        if not self.started.done():
            self.started.set_result(message)

    def _run_ended(self, message: m.Ended) -> None:
        outcome = message.outcome
        if isinstance(outcome, SpawnFailed):
            from .advice import keyword_advice

            argv = self.opening.argv if isinstance(self.opening, m.RunRequest) else None
            self.fail(SpawnError(outcome, run_id=self.id, advice=keyword_advice(argv, outcome)))
            return
        if isinstance(outcome, Lost):
            self.fail(ConnectionLost(f"run {self.id} {describe(outcome)}", run_id=self.id))
            return
        missing = self._streams.missing(message)
        if missing:
            text = f"run {self.id}: the command {describe(outcome)}, but {' and '.join(missing)}"
            self.fail(OutputIncomplete(text, run_id=self.id, outcome=outcome))
            return
        self._streams.finish()
        if self.stdin is not None:
            self.stdin.finish(None)
        if not self.started.done():
            self.started.set_result(None)
        self._settle_end(reported_result(self.id, message))

    def _leave(self, error: FarhandError) -> None:
        """Close the channel and settle everything with `error`."""
        if self.ended.done():
            return
        # Return no credit for unread output: the next client that attaches may want it.
        session, self._session = self._session, None
        self._streams.discard()
        self._left_with_stop = session is None and self._stop is not None
        self._close(session)
        self.fail(error)

    def _left_early(self, then: str) -> ConnectionLost:
        return ConnectionLost(f"this client left run {self.id} before its end; {then}", run_id=self.id)

    def _settle_end(self, end: Result | Exception) -> None:
        if not self._left_with_stop:
            self.connection.unregister(self)
        _settle(self.ended, end)
        self._end_settled.set()

    def _close(self, session: ClientSession | None) -> None:
        self._session = None
        if session is not None:
            session.close_channel(self)


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if future.done():
        return
    if isinstance(value, BaseException):
        future.set_exception(value)
        future.exception()  # marks it as retrieved, so that it need not be awaited
    else:
        future.set_result(value)
