"""A run's channel: one client's attachment to one run. Output and outcome go out, stdin and signals come in."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_server.runs.run import Result, Run
from farhand_server.runs.spool import Spool

END_PAUSE: Final = 0.001
"""Seconds for which the end of a stream, with no output left before it, waits for the outcome. A program that exits
closes its streams one by one and is reaped last: sent together, that wakes edge and client once and not three times."""


class Outlet(Protocol):
    """What a channel needs of its session."""

    @property
    def connection(self) -> Connection:
        """The connection that carries the channel."""

    def flush_soon(self) -> None:
        """Send what is queued at the end of this turn of the loop."""

    def schedule(self, channel: RunChannel) -> None:
        """Call `send_some` when there is room, in turn with the other channels."""

    def forget(self, channel: RunChannel) -> None:
        """The channel has said its last."""


class _Position:
    """Where the attachment stands in one stream."""

    __slots__ = ("ended", "offset", "spool", "stream")

    def __init__(self, stream: m.Stream, spool: Spool) -> None:
        self.stream: Final = stream
        self.spool: Final = spool
        self.offset = 0
        self.ended = False


class RunChannel:
    """Reads the spools as fast as the client takes them, and no faster."""

    def __init__(self, outlet: Outlet, number: int, request: m.Run) -> None:
        self.number: Final = number
        self.scheduled = False
        self._outlet = outlet
        self._merged = request.merge_stderr
        self._run: Run | None = None
        self._positions: tuple[_Position, ...] = ()
        self._result: Result | None = None
        self._left = False
        self._over = False
        self._pausing: asyncio.TimerHandle | None = None

    def attach(self, run: Run) -> None:
        """Begin to deliver the output of `run`, which has just been made."""
        self._run = run
        positions = [_Position("stdout", run.stdout)]
        if not self._merged:
            positions.append(_Position("stderr", run.stderr))
        for position in positions:
            position.spool.on_output = self._output
            position.spool.on_end = self._ended
        self._positions = tuple(positions)

    def send_some(self) -> bool:
        """Queue at most one frame of each stream, and the ends that are due; True where more could go out now."""
        more = False
        self._pause_over()
        if self._over:
            return False
        if not self._left:
            for position in self._positions:
                more = self._advance(position) or more
        self._finish_if_due()
        return more

    def _advance(self, position: _Position) -> bool:
        connection, spool = self._outlet.connection, position.spool
        room = connection.room(self.number, position.stream) if position.offset < spool.end else 0
        if room:
            data = spool.read(position.offset, room)
            connection.send_data(self.number, position.stream, data)
            position.offset += len(data)
            spool.release(position.offset)
        if spool.ended and position.offset == spool.end and not position.ended:
            position.ended = True
            connection.send(self.number, m.End(stream=position.stream))
        return bool(room) and position.offset < spool.end

    # What the client says

    def received(self, message: m.AnyMessage) -> None:
        """Act on a message that the state tables allow on this channel."""
        if self._run is None:
            return
        match message:
            case m.Credit():
                self._output()
            case m.End():
                self._run.end_stdin()
            case m.Signal():
                self._run.signal(message.number)
            case m.Stop():
                self._run.stop("requested", message.kill_after)
            case m.Close():
                # The outcome is still to be said: the channel's number is taken until then.
                self._left = True
                self._run.stop("requested")
                self._run.discard_output()
                self._output()  # the outcome may be waiting already, behind output that will not go out now

    def received_data(self, data: bytes) -> None:
        """Pass stdin on to the program."""
        if self._run is not None:
            self._run.write_stdin(data)

    def lost(self) -> None:
        """The client is gone, or the channel has failed: stop the run, and say no more."""
        self._over = True
        self._pause_over()
        if self._run is not None:
            self._run.stop("disconnected")
            self._run.unwatch()

    # What the run says

    def started(self, pid: int) -> None:
        """Watcher."""
        self._outlet.connection.send(self.number, m.Started(pid=pid))
        self._outlet.flush_soon()

    def stdin_taken(self, count: int) -> None:
        """Watcher."""
        self._outlet.connection.take(self.number, "stdin", count)
        self._outlet.flush_soon()

    def ended(self, result: Result) -> None:
        """Watcher."""
        self._result = result
        self._output()

    def failed(self) -> None:
        """Watcher."""
        self._over = True
        self._pause_over()
        sentence = "the service failed to see to this run; its log says why"
        self._outlet.connection.send(self.number, m.Error(code=ErrorCode.INTERNAL, message=sentence))
        self._outlet.flush_soon()
        self._outlet.forget(self)

    def _output(self) -> None:
        if not self.scheduled:
            self._outlet.schedule(self)

    def _ended(self) -> None:
        if any(position.offset < position.spool.end for position in self._positions):
            self._output()
        elif self._pausing is None and not self.scheduled:
            self._pausing = asyncio.get_running_loop().call_later(END_PAUSE, self._output)

    def _pause_over(self) -> None:
        if self._pausing is not None:
            self._pausing.cancel()
            self._pausing = None

    def _finish_if_due(self) -> None:
        result = self._result
        if result is None or not (self._left or all(position.ended for position in self._positions)):
            return
        self._result = None
        self._outlet.connection.send(
            self.number,
            m.Ended(
                outcome=result.outcome,
                stdout=result.stdout,
                stderr=result.stderr,
                duration=result.duration,
                lingered=result.lingered,
            ),
        )
        self._outlet.forget(self)
