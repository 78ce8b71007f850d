"""A run's channel: one client's attachment to one run. Sends output and outcome, and receives stdin and signals."""

from __future__ import annotations

import asyncio
from typing import Final

from farhand_protocol import messages as m
from farhand_protocol.channel import output_window
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Outcome
from farhand_server.runs.attachments.attachments import Attachment, ClientIdentity, Output
from farhand_server.runs.attachments.terminal import TerminalAttachments
from farhand_server.runs.output.spool import Spool
from farhand_server.runs.plan import RunResult, TerminalSize
from farhand_server.runs.run import LiveRun

from .attach import RunHasNoTerminal, ended_message, wanted_output
from .handler import ChannelOutlet

MAX_ECHO: Final = 2 << 10
"""The most bytes of output that may be a key's echo or the line redrawn for it. Output this small is sent in the same
turn of the loop in which it arrived. For bulk output, that would only cause more and smaller writes."""

OUTCOME_DELAY: Final = 0.001
"""Seconds for which the end of a stream is held back for the outcome, once all output has been sent. An exiting program
closes its streams one by one and is reaped last. Sending all of this together wakes edge and client once instead of
three times."""


class _StreamPosition:
    """The attachment's position in one stream. Output from offset `limit` on is not sent, unless `limit` is None."""

    __slots__ = ("ended", "limit", "offset", "spool", "stream")

    def __init__(self, stream: Output, spool: Spool, offset: int, limit: int | None) -> None:
        self.stream: Final[Output] = stream
        self.spool: Final = spool
        self.offset = offset
        self.limit = limit
        self.ended = False

    @property
    def end(self) -> int:
        """The offset up to which output can be sent now."""
        return self.spool.end if self.limit is None else self.limit

    @property
    def over(self) -> bool:
        """Whether all output has been sent and none will follow."""
        return (self.spool.ended or self.limit is not None) and self.offset >= self.end


class RunChannel:
    """Sends a run's output as fast as the client accepts it, and applies the client's messages to the run.

    The constructor raises `BadOffset`, `RunHasNoTerminal` and `TooManyAttachments`.
    """

    def __init__(
        self,
        outlet: ChannelOutlet,
        number: int,
        run: LiveRun,
        request: m.RunRequest | m.Attach,
        *,
        new: bool,
        who: ClientIdentity | None = None,
    ) -> None:
        self.number: Final = number
        self.run: Final = run
        self.scheduled = False
        self._outlet = outlet
        self._new = new
        self._follow = isinstance(request, m.RunRequest) or request.follow
        self._result: RunResult | None = None
        self._over = False
        self._holding = False
        self._started = False
        self._stdin_credited = 0
        self._pausing: asyncio.TimerHandle | None = None
        wanted = wanted_output(request)
        if isinstance(request, m.RunRequest):
            hold, feeds, share = True, 0 if request.stdin else None, False
            shown = None if request.terminal is None else request.terminal.size
        else:
            if request.size is not None and run.plan.terminal is None:
                raise RunHasNoTerminal(f"run {run.plan.id} has no terminal; attach to it without a size")
            hold, feeds, share, shown = request.hold, request.stdin, request.share, request.size
        peer = outlet.connection.peer_limits
        assert peer is not None
        self._attachment: Attachment = run.attach(
            self,
            key=request.attachment,
            hold=hold,
            taken=wanted,
            feeds=feeds,
            share=share,
            size=None if shown is None else TerminalSize(shown.columns, shown.rows),
            window=output_window(request, peer.window),
        )
        self._attachment.who = who
        self._shows_terminal = shown is not None
        self._sent_size: TerminalSize | None = None
        self._screen = run.attachments.shared_size if isinstance(run.attachments, TerminalAttachments) else None
        if self._shows_terminal and self._screen is not None:
            self._screen.listeners.append(self._wake)
        self._positions = tuple(
            _StreamPosition(stream, run.spool(stream), offset, None if self._follow else run.spool(stream).end)
            for stream, offset in wanted.items()
        )
        for position in self._positions:
            position.spool.listeners.append(self._changed)

    def begin(self) -> None:
        """Send what the client has missed: that the run has started, or has ended."""
        if self.run.pid is not None:
            self.started()
        if self.run.announced:
            assert self.run.result is not None
            if self.run.failed:
                self.failed(ErrorCode.INTERNAL, "the service failed to handle this run; its log says why")
            else:
                self.ended(self.run.result)
        elif self.run.pid is not None:
            self._wake()

    def send_some(self) -> bool:
        """Queue at most one frame of each stream, and the `end` messages that are due. Return whether there is more to
        send."""
        more = False
        if self._pausing is not None:
            self._cancel_pause()
        if self._over:
            return False
        if self._started:  # a run that never started has no streams to end
            if self._shows_terminal:
                self._send_size()
            for position in self._positions:
                more = self._advance(position) or more
        if self._result is not None or not self._follow:
            self._finish_if_due()
        return more

    def _advance(self, position: _StreamPosition) -> bool:
        connection, spool = self._outlet.connection, position.spool
        if self._over:  # reading another stream from disk has failed
            return False
        end = position.end
        if position.offset < spool.start:
            self._skip_gap(position)
        room = connection.room(self.number, position.stream) if position.offset < end else 0
        if room:
            try:
                data = spool.read(position.offset, min(room, end - position.offset))
            except OSError as error:
                self.failed(ErrorCode.UNAVAILABLE, f"the output cannot be read from disk: {error.strerror}")
                return False
            connection.send_data(self.number, position.stream, data)
            position.offset += len(data)
        if position.over and not position.ended:
            position.ended = True
            connection.send(self.number, m.End(stream=position.stream))
        return room > 0 and position.offset < end

    def _skip_gap(self, position: _StreamPosition) -> None:
        missing = min(position.spool.start, position.end) - position.offset
        if missing > 0 and not position.ended:
            self._outlet.connection.send(
                self.number, m.GapNotice(stream=position.stream, offset=position.offset, bytes=missing)
            )
            position.offset += missing
            self.run.attachments.took(self._attachment, position.stream, missing)

    # What the client sends

    def received(self, message: m.AnyMessage) -> None:
        """Apply a message from the client to the run."""
        match message:
            case m.Credit():
                if message.stream != "stdin":
                    self.run.attachments.took(self._attachment, message.stream, message.bytes)
                    self._wake()
            case m.End():
                self.run.stdin.end(self._attachment)
            case m.Signal():
                self.run.signal(message.number)
            case m.Stop():
                self.run.stop("requested", message.kill_after)
            case m.Resize():
                if isinstance(self.run.attachments, TerminalAttachments):
                    self.run.attachments.resize(self._attachment, TerminalSize(message.columns, message.rows))
            case m.Close():
                self._leave()

    def received_data(self, data: bytes) -> None:
        """Pass stdin on to the program."""
        self.run.stdin.write(self._attachment, data)
        if self.overfull:
            self._holding = True
            self._outlet.hold(self)

    @property
    def overfull(self) -> bool:
        return not self._over and self.run.stdin.full

    def _release(self) -> None:
        if self._holding and not self.overfull:
            self._holding = False
            self._outlet.release(self)

    def closed(self) -> None:
        """Leave the run, since the client has received everything."""
        self.run.detach(self._attachment)

    def lost(self) -> None:
        """Send nothing more, but keep the attachment, because the client may reconnect."""
        self._stop_sending()
        self.run.attachments.lost(self._attachment)

    def _leave(self) -> None:
        self._stop_sending()
        self.run.detach(self._attachment)
        self._send_last(m.Done())

    # Watcher

    def started(self) -> None:
        assert self.run.pid is not None
        self._started = True
        feeds = self._attachment.feeds
        self._outlet.connection.send(self.number, m.Started(pid=self.run.pid, new=self._new, stdin=feeds))
        self._send_size()
        self._outlet.flush_soon()
        self.stdin_taken()
        if not self._follow:
            self._wake()  # nothing else wakes the channel if all streams are already at their end

    def _send_size(self) -> None:
        # Called when it is the channel's turn to send, so that a client that does not read receives only the latest
        # size.
        size = TerminalSize(0, 0) if self._screen is None else self._screen.size
        if self._shows_terminal and size is not self._sent_size and size != self._sent_size:
            self._sent_size = size
            self._outlet.connection.send(self.number, m.Resize(columns=size.columns, rows=size.rows))

    def stdin_taken(self) -> None:
        if self._holding:
            self._release()
        if not self._started:
            return  # `Started` must be the first message
        done = self.run.stdin.credit(self._attachment)
        if self._outlet.connection.acknowledge(self.number, "stdin", done - self._stdin_credited):
            self._outlet.flush_soon()
        self._stdin_credited = done

    def exited(self, outcome: Outcome) -> None:
        self._outlet.connection.send(self.number, m.Exit(outcome=outcome))
        self._outlet.flush_soon()

    def ended(self, result: RunResult) -> None:
        self._result = result
        self._wake()

    def failed(self, code: ErrorCode, sentence: str) -> None:
        self._stop_sending()
        self.run.detach(self._attachment)
        self._send_last(m.Error(code=code, message=sentence))

    def replaced(self) -> None:
        if self._over:
            return  # the final message was sent but may never have arrived, so the client has reconnected for it
        self._stop_sending()
        sentence = "the same client has attached to this run again"
        self._send_last(m.Error(code=ErrorCode.REPLACED, message=sentence))

    def _changed(self) -> None:
        waiting = 0
        for position in self._positions:
            waiting += max(0, position.end - position.offset)
        if waiting:
            self._wake(awaited=waiting <= MAX_ECHO)
        elif self._pausing is None and not self.scheduled:
            self._pausing = asyncio.get_running_loop().call_later(OUTCOME_DELAY, self._wake)

    def _wake(self, *, awaited: bool = False) -> None:
        if not self.scheduled and not self._over:
            self._outlet.schedule(self, awaited=awaited)

    def _cancel_pause(self) -> None:
        if self._pausing is not None:
            self._pausing.cancel()
            self._pausing = None

    def _stop_sending(self) -> None:
        self._over = True
        self._release()
        self._cancel_pause()
        for position in self._positions:
            if self._changed in position.spool.listeners:
                position.spool.listeners.remove(self._changed)
        if self._screen is not None and self._wake in self._screen.listeners:
            self._screen.listeners.remove(self._wake)

    def _send_last(self, message: m.Message) -> None:
        self._outlet.connection.send(self.number, message)
        self._outlet.flush_soon()
        self._outlet.forget(self)

    def _finish_if_due(self) -> None:
        result = self._result
        if self._over or (self._started and not all(position.ended for position in self._positions)):
            return
        if result is not None:
            self._stop_sending()
            # Those that are alive may have become other programs since the run's end.
            alive = None if self.run.left_tree is None else self.run.left_tree.describe()
            self._send_last(ended_message(result, alive or result.left_processes))
        elif self._started and not self._follow:
            self._stop_sending()
            self.run.detach(self._attachment)
            self._send_last(m.Done())
