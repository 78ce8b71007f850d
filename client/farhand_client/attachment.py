"""The client's end of one run, over one connection after the other: what the service says, and what is said to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from farhand_protocol import messages as m
from farhand_protocol.outcome import Lost, Outcome, SpawnFailed

from .errors import ConnectionLost, FarhandError, OutputIncomplete, RequestRefused, RunGoesOn, SpawnError
from .results import Result, describe
from .stdin import InputStream
from .streams import AttachmentStreams

if TYPE_CHECKING:
    from .connection.reconnecting import ReconnectingConnection
    from .connection.session import ClientSession
    from .output import Receiver

STOP_MARGIN: Final = 10.0
"""Seconds beyond a stop's own grace that are waited for its outcome: the service kills and reaps in far less, so
after them it is the service that hangs, or the connection that does not come back."""


MAX_CELLS: Final = 0xFFFF
"""Columns or rows of a terminal: what struct winsize holds (ioctl_tty(2))."""


class ClientAttachment:
    """Opened by a `run`, which is sent again until it is known to have arrived, or by an `attach`.

    `started` is the service's first answer (None where the run ended before it began), `ended` the result; either may
    be the error that came instead. With `tolerant` gaps in the output are not an error.
    """

    def __init__(
        self, line: ReconnectingConnection, opening: m.RunRequest | m.Attach, *, tolerant: bool = False
    ) -> None:
        loop = asyncio.get_running_loop()
        self.opening: Final = opening
        self.id: Final = opening.id
        self.started: Final[asyncio.Future[m.Started | None]] = loop.create_future()
        self.ended: Final[asyncio.Future[Result]] = loop.create_future()
        self.exited: Outcome | None = None
        """How the program ended, known before the run is over where other processes still hold its output."""
        feeds = (0 if opening.stdin else None) if isinstance(opening, m.RunRequest) else opening.stdin
        self.stdin: Final = None if feeds is None else InputStream(self, feeds)
        self.number = 0
        self.size: m.WindowSize | None = None
        """The terminal's, as the service said."""
        self.on_resize: Callable[[m.WindowSize], None] | None = None
        self.line: Final = line
        self._session: ClientSession | None = None
        self._streams = AttachmentStreams(tolerant=tolerant)
        self._known = isinstance(opening, m.Attach)
        self._signals: list[m.Signal] = []
        self._stop: m.Stop | None = None
        self._shown = _shown(opening)
        self._left = False
        self._over = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether what is said now leaves now."""
        return self._session is not None

    @property
    def owner(self) -> bool:
        """Whether the run is to be stopped when this attachment leaves it."""
        return isinstance(self.opening, m.RunRequest) and self.opening.on_disconnect == "kill"

    # What is said to the service

    def begin(self) -> None:
        """Ask for the run, now or once there is a connection. Raises what `ReconnectingConnection.add` does."""
        self.line.add(self)

    def take(self, stream: m.Stream, count: int) -> None:
        """`count` bytes of `stream` were consumed."""
        owing = self._streams.take(stream, count)
        if owing and self._session is not None:
            self._session.take(self, stream, owing)

    def receive(self, stream: m.Output, receiver: Receiver, offset: int = 0) -> None:
        """Say where the bytes of `stream` go, from `offset` on. Called before any can come."""
        self._streams.add(stream, receiver, offset)

    def signal(self, number: int) -> None:
        """Send a signal, at most once; where the connection is known to be lost, over the next one."""
        if self.ended.done():
            return
        message = m.Signal(number=number)
        if self._session is not None:
            self._session.tell(self, message)
        else:
            self._signals.append(message)

    def resize(self, columns: int, rows: int) -> None:
        """Say in how many characters the terminal is shown here. Raises ValueError."""
        if self._shown is None:
            raise ValueError("this run was not asked for with a terminal, which alone has a size")
        if not (0 <= columns <= MAX_CELLS and 0 <= rows <= MAX_CELLS):
            raise ValueError(f"a terminal of {columns} columns and {rows} rows: 0 to {MAX_CELLS} are possible")
        self._shown = m.WindowSize(columns=columns, rows=rows)
        watches = isinstance(self.opening, m.Attach) and self.opening.read_only
        if self._session is not None and not watches and not self.ended.done():
            self._session.tell(self, m.Resize(columns=columns, rows=rows))

    async def result(self) -> Result:
        """Wait for `ended`, and leave it alone when cancelled; raises the error that came instead.

        asyncio.shield does the same one turn of the loop later: too late for the next request to leave together with
        the close of this channel.
        """
        await self._over.wait()
        return self.ended.result()

    def order_stop(self, kill_after: float | None = None) -> None:
        """Have the run stopped, after `kill_after` seconds of grace (the run's own), and do not wait for it."""
        if self.ended.done():
            return
        self._stop = m.Stop(kill_after=kill_after)
        if self._session is not None:
            self._session.tell(self, self._stop)

    async def stop(self, kill_after: float | None = None) -> None:
        """Stop the run and wait for its outcome; its output is thrown away.

        Waits no longer than `STOP_MARGIN` beyond the grace. Where that is not known here, because the service's
        configuration or another client's request has it, only a connection that is lost for good ends the waiting.

        A cancellation meanwhile gives up the waiting, not the stopping. Never raises anything else: what came of the
        run is in `ended`.
        """
        self._streams.discard()
        if not self.ended.done():
            self.order_stop(kill_after)
            own = self.opening.kill_after if isinstance(self.opening, m.RunRequest) else None
            grace = own if kill_after is None else kill_after
            try:
                await asyncio.wait([self.ended], timeout=None if grace is None else grace + STOP_MARGIN)
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
            self.order_stop()
        self._go(self._nobody_waited("the service stops it" if self.owner else "it goes on"))

    def detach(self) -> None:
        """Leave at once, and the run as it is."""
        self._go(self._nobody_waited("the service stops it after its grace" if self.owner else "it goes on"))

    def leave(self, error: FarhandError) -> None:
        """Resumable."""
        if self.ended.done():
            return
        if self.owner:
            self.order_stop()
        what = "the service stops it" if self.owner else "it goes on"
        self._go(ConnectionLost(f"{error}; nobody waited for the end of the run {self.id}; {what}", run_id=self.id))

    # InputStream's outlet

    def room(self) -> int:
        """StdinChannel."""
        return self._session.room_for(self, "stdin") if self._session is not None else 0

    def send(self, data: bytes) -> None:
        """StdinChannel."""
        assert self._session is not None
        self._session.send_data(self, "stdin", data)

    def flush(self) -> None:
        """StdinChannel."""
        if self._session is not None:
            self._session.flush()

    def end(self) -> bool:
        """StdinChannel."""
        if self._session is None:
            return False
        self._session.tell(self, m.End(stream="stdin"))
        return True

    # Resumable

    def open(self, session: ClientSession) -> None:
        """Resumable."""
        window = session.connection.limits.window
        self._streams.reopened(min(window, self.opening.window or window))
        if self.stdin is not None:
            self.stdin.rewind()
        opening = self._opening()
        session.open(self, opening)
        if self._left:
            self.line.remove(self)
            session.tell(self, self._stop or m.Stop())
            session.close_channel(self)
            return
        self._session = session
        if self._shown is not None and self._shown != _shown(opening):
            session.tell(self, m.Resize(columns=self._shown.columns, rows=self._shown.rows))
        for message in (*self._signals, self._stop):
            if message is not None:
                session.tell(self, message)
        self._signals.clear()
        self.pump()

    def fail(self, error: Exception) -> None:
        """Resumable. The run's end will not be known."""
        if isinstance(error, ConnectionLost) and error.run_id is None and not self.ended.done():
            from .results import lost_run_error

            error = lost_run_error(error, self.opening, self.line.name, started=self._known)
        self._session = None
        self._streams.fail(error)
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
        self._streams.feed(stream, data)

    def received(self, message: m.AnyMessage) -> None:
        """Endpoint."""
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
                self._begun(message)
            case m.Resize():
                self.size = m.WindowSize(columns=message.columns, rows=message.rows)
                if self.on_resize is not None:
                    self.on_resize(self.size)
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

    def _opening(self) -> m.RunRequest | m.Attach:
        # A start that is not wanted any more is not sent again: it might never have arrived.
        if not self._known and self._stop is None:
            return self.opening
        attach = self.opening
        if isinstance(attach, m.RunRequest):
            attach = m.Attach(id=self.id, attachment=attach.attachment, hold=True, window=attach.window)
        if self._left:
            return m.Attach(id=self.id, attachment=attach.attachment)
        stdin = None if self.stdin is None or self.stdin.over else self.stdin.acknowledged
        stdout, stderr = self._streams.expected("stdout"), self._streams.expected("stderr")
        share = attach.share and stdin is not None
        update = {"stdout": stdout, "stderr": stderr, "stdin": stdin, "size": self._shown, "share": share}
        return attach.model_copy(update=update)

    def _begun(self, message: m.Started) -> None:
        self._known = True
        if self.stdin is not None and not message.new and not message.stdin:
            self.stdin.finish(None)
        if not self.started.done():
            self.started.set_result(message)

    def _ended(self, message: m.Ended) -> None:
        outcome = message.outcome
        if isinstance(outcome, SpawnFailed):
            self.fail(SpawnError(outcome, run_id=self.id))
            return
        if isinstance(outcome, Lost):
            self.fail(ConnectionLost(f"the run {self.id} {describe(outcome)}", run_id=self.id))
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

    def _go(self, error: FarhandError) -> None:
        if self.ended.done():
            return
        # No credit goes back for what nobody has seen: whoever attaches next may want it.
        session, self._session = self._session, None
        self._streams.discard()
        self._left = session is None and self._stop is not None
        self._close(session)
        self.fail(error)

    def _nobody_waited(self, what: str) -> ConnectionLost:
        return ConnectionLost(f"nobody waited for the end of the run {self.id}; {what}", run_id=self.id)

    def _settle_end(self, end: Result | Exception) -> None:
        if not self._left:
            self.line.remove(self)
        _settle(self.ended, end)
        self._over.set()

    def _close(self, session: ClientSession | None) -> None:
        self._session = None
        if session is not None:
            session.close_channel(self)


def _shown(opening: m.RunRequest | m.Attach) -> m.WindowSize | None:
    if isinstance(opening, m.Attach):
        return opening.size
    return None if opening.terminal is None else opening.terminal.size


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if future.done():
        return
    if isinstance(value, BaseException):
        future.set_exception(value)
        future.exception()  # whoever awaits it gets it; nobody has to
    else:
        future.set_result(value)
