"""One run over a connection that is logged in: its output to our stdout and stderr, our stdin to it, signals, its end.

A single loop polls the connection, stdin, the two outputs and the signals. Nothing else waits, so Ctrl-C is passed on
even while nobody reads our output. As in the asyncio client, credit is returned once output has been written.
"""

from __future__ import annotations

import select
import signal
import time
from contextlib import suppress

from farhand_client.handover import Handover, LostConnection
from farhand_client.times import STOP_MARGIN
from farhand_client.ui.exitcodes import EXIT_FAILURE
from farhand_client.ui.printing import print_message, reason
from farhand_protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from farhand_protocol.frames import Kind
from farhand_protocol.keepalive import Keepalive, KeepaliveAction
from farhand_protocol.limits import CLIENT_LIMITS
from farhand_protocol.plain.codec import decode, encode

from .deadline import NotDirectError
from .direct_output import DirectOutput
from .exit_code import plain_exit_code
from .service_message import service_message
from .stdin_feed import StdinFailed, StdinFeed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from farhand_client.ui.unread_stdin import UnreadStdin

    from .signals import CollectedSignals
    from .wire import Wire
    from .words import DirectCommand

ONLY_CHANNEL: Final = 1
"""The number of the only channel."""


class DirectRun:
    """A run that `command` requests over `wire`. `welcome` and `accepted` are what the service said at the login.

    Making it raises OSError if stdout or stderr cannot be written. `keepalive` is in seconds, None for no pings.
    """

    def __init__(
        self,
        wire: Wire,
        welcome: dict[str, Any],
        accepted: dict[str, Any],
        command: DirectCommand,
        signals: CollectedSignals,
        unread: UnreadStdin,
        keepalive: float | None,
    ) -> None:
        self._wire = wire
        self._command = command
        self._signals = signals
        self._unread = unread
        self._service = (welcome, accepted)
        self._keepalive = Keepalive(keepalive)
        self._outputs = {"stdout": DirectOutput("stdout", 1)}
        if not command.request.get("merge_stderr"):
            self._outputs["stderr"] = DirectOutput("stderr", 2)
        self._feed = StdinFeed(wire, ONLY_CHANNEL, welcome["limits"]["window"], welcome["limits"]["data"])
        self._started: dict[str, Any] | None = None
        self._exit_seen = False
        self._final: tuple[dict[str, Any], bytes] | None = None
        self._interrupted = False
        self._output_closed = False
        self._failure: str | None = None
        self._code: int | None = None
        """The exit code, once the run is to be left."""
        self._ended_by = 0
        self._stop_deadline: float | None = None
        self._pings = 0
        self._lost: LostConnection | None = None

    def request(self) -> None:
        """Request the run. Raises NotDirectError if the request cannot be sent to this service."""
        welcome, _ = self._service
        try:
            payload = encode(self._command.request)
        except LocalProtocolError:
            raise NotDirectError from None
        if len(payload) > welcome["limits"]["message"]:
            raise NotDirectError
        try:
            self._wire.send_payload(ONLY_CHANNEL, payload)
        except OSError as error:
            self._lost = LostConnection(error=error)
        self._keepalive.start(time.monotonic())

    def go(self) -> int | Handover:
        """Return the exit code of this process after the run, or hand the run over."""
        lost = self._lost
        try:
            while lost is None and self._code is None:
                lost = self._turn()
                if self._final is not None and not self._pending():
                    return self._ended()
        except OSError as error:
            lost = LostConnection(error=error)
        except RemoteProtocolError as error:
            with suppress(OSError):  # it does not listen
                answer = {"type": "error", "code": str(error.code), "message": error.reason}
                self._wire.send(0, answer)
            lost = LostConnection(error.code, error.reason, broken=True)
        if self._code is not None:
            return self._code
        return self._handover(lost)

    def close(self) -> None:
        """Close what was opened here, but not the connection."""
        for output in self._outputs.values():
            output.writer.close()

    # The loop

    def _turn(self) -> LostConnection | None:
        """Wait for something to do, and do it; return why the connection ended, if it did."""
        wire = self._wire
        poll = select.poll()
        poll.register(self._signals.fd, select.POLLIN)
        if self._final is None:
            # Of a service that does not read our answers nothing more is read, as `Connection.flooded` has it.
            reading = select.POLLIN if wire.unsent <= CLIENT_LIMITS.control else 0
            poll.register(wire.fd, reading | (select.POLLOUT if wire.unsent else 0))
        if self._final is None and self._feed.wanted:
            poll.register(0, select.POLLIN)
        waiting = {}
        for output in self._outputs.values():
            if output.writer.pending:
                waiting[output.writer.wait_fd] = output
                poll.register(output.writer.wait_fd, output.writer.wait_events)
        ready = dict(poll.poll(self._timeout()))
        if self._signals.fd in ready:
            for number in self._signals.take():
                self._signal(number)
        for fd, output in waiting.items():
            if fd in ready:
                self._write(output, None)
        if 0 in ready:
            self._read_stdin()
        events = ready.get(wire.fd, 0)
        if events & select.POLLOUT:
            wire.flush()
            self._feed.pump()
        if events & ~select.POLLOUT:
            connected = wire.receive()
            self._keepalive.received()
            lost = self._act()
            if lost is not None or (not connected and self._final is None):
                return lost or LostConnection()
        return self._check_time()

    def _timeout(self) -> float | None:
        if self._final is not None:
            return None
        deadlines = [each for each in (self._keepalive.deadline, self._stop_deadline) if each is not None]
        return max(0.0, 1000 * (min(deadlines) - time.monotonic())) + 1 if deadlines else None

    def _check_time(self) -> LostConnection | None:
        if self._final is not None:
            return None
        now = time.monotonic()
        if self._stop_deadline is not None and now >= self._stop_deadline:
            self._leave()
        match self._keepalive.check(now):
            case KeepaliveAction.GIVE_UP:
                return LostConnection(silence=self._keepalive.silence)
            case KeepaliveAction.PING:
                self._pings += 1
                self._wire.send(0, {"type": "ping", "id": self._pings})
        return None

    def _act(self) -> LostConnection | None:
        """Act on the frames that have arrived."""
        arrived: dict[int, list[memoryview]] = {Kind.STDOUT: [], Kind.STDERR: []}
        lost = None
        for kind, channel, payload in self._wire.frames():
            if kind == Kind.MESSAGE:
                self._write_arrived(arrived)
                lost = service_message(self._wire, payload) if channel == 0 else self._message(channel, payload)
                if lost is not None or self._final is not None:
                    break  # nothing that comes after the end matters
            else:
                self._data(kind, channel, len(payload))
                arrived[kind].append(payload)
        self._write_arrived(arrived)
        return lost

    # What the service says

    def _message(self, channel: int, payload: memoryview) -> LostConnection | None:
        self._check_channel(channel)
        data = bytes(payload)
        message = decode(data)
        kind = message["type"]
        legal = kind in ("started", "ended", "error") or (
            self._started is not None and kind in ("credit", "end", "gap", "exit")
        )
        if not legal or (kind == "started" and self._started is not None) or (kind == "exit" and self._exit_seen):
            raise RemoteProtocolError(ErrorCode.NOT_LEGAL, f"channel {channel}: the server may not send {kind} now")
        match kind:
            case "started":
                self._run_started(message)
            case "credit":
                if message["stream"] == "stdin" and self._command.stdin:
                    self._feed.granted(message["bytes"])
            case "end":
                self._output(message["stream"]).ended = True
            case "exit":
                self._exit_seen = True
            case "gap":
                return LostConnection()  # the asyncio client asks for the rest, and says what is missing
            case _:
                self._final = message, data
        return None

    def _check_channel(self, channel: int) -> None:
        if channel != ONLY_CHANNEL:
            raise RemoteProtocolError(ErrorCode.UNKNOWN_CHANNEL, f"channel {channel} was never opened")

    def _output(self, name: str) -> DirectOutput:
        output = self._outputs.get(name)
        if output is None or output.ended:
            raise RemoteProtocolError(
                ErrorCode.DATA_AFTER_END, f"channel {ONLY_CHANNEL}: {name} has ended or was never requested"
            )
        return output

    def _data(self, kind: int, channel: int, size: int) -> None:
        name = Kind(kind).name.lower()
        self._check_channel(channel)
        output = self._output(name)
        if self._started is None:
            raise RemoteProtocolError(ErrorCode.NOT_LEGAL, f"channel {channel}: {name} before started")
        output.window.receive(size)

    def _run_started(self, message: dict[str, Any]) -> None:
        self._started = message
        self._unread.report()
        self._feed.open = self._command.stdin and (message.get("new", True) or message.get("stdin", False))

    # Output

    def _write_arrived(self, arrived: dict[int, list[memoryview]]) -> None:
        for kind, chunks in arrived.items():
            if chunks:
                self._write(self._outputs["stdout" if kind == Kind.STDOUT else "stderr"], chunks)
                chunks.clear()

    def _write(self, output: DirectOutput, chunks: list[memoryview] | None) -> None:
        """Write `chunks`, or with None more of what is pending."""
        try:
            count = output.write(chunks)
        except BrokenPipeError:
            self._discard(output)
            if output.name == "stdout":
                self._output_closed = True
                self._stop()
        except OSError as error:
            self._discard(output)
            self._fail(f"cannot write to {output.name}: {reason(error)}")
        else:
            self._grant(output, count)

    def _discard(self, output: DirectOutput) -> None:
        self._grant(output, output.discard())

    def _grant(self, output: DirectOutput, count: int) -> None:
        if count and self._final is None and not output.ended:
            self._wire.send(ONLY_CHANNEL, {"type": "credit", "stream": output.name, "bytes": count})

    def _pending(self) -> bool:
        return any(output.writer.pending for output in self._outputs.values())

    # Stdin

    def _read_stdin(self) -> None:
        try:
            self._feed.read()
        except StdinFailed as error:
            self._fail(f"cannot read stdin: {error}")

    # Signals and stopping

    def _signal(self, number: int) -> None:
        if self._final is not None:
            self._code = 128 + number  # only our own output was left to write
        elif number == signal.SIGINT and self._started is not None:
            self._interrupt()
        elif self._ended_by:
            self._leave()
        else:
            self._ended_by = number
            if self._command.kept:
                self._leave()
            else:
                self._stop(restart=self._stop_deadline is None)
                for output in self._outputs.values():
                    self._discard(output)

    def _interrupt(self) -> None:
        if not self._interrupted:
            self._interrupted = True
            self._wire.send(ONLY_CHANNEL, {"type": "signal", "number": int(signal.SIGINT)})
            return
        kept = self._command.kept
        print_message(
            f"abandoned run {self._command.request['id']}; {'it keeps running' if kept else 'the service stops it'}"
        )
        if not kept:
            self._wire.send(ONLY_CHANNEL, {"type": "stop"})
        self._ended_by = self._ended_by or signal.SIGINT
        self._leave()

    def _fail(self, sentence: str) -> None:
        """Stop the run because of an error here."""
        if self._failure is None:
            self._failure = sentence
            if self._command.kept:
                self._leave()
            else:
                self._stop()

    def _stop(self, restart: bool = True) -> None:
        self._feed.open = False
        self._wire.send(ONLY_CHANNEL, {"type": "stop"})
        if restart:
            self._stop_deadline = time.monotonic() + self._command.kill_after + STOP_MARGIN

    def _leave(self) -> None:
        """Leave the run as it is."""
        if self._code is None:
            self._wire.send(ONLY_CHANNEL, {"type": "close"})
            if self._ended_by:
                self._code = self._signal_code()
            else:
                print_message(
                    self._failure
                    or f"this client left run {self._command.request['id']} before its end; the service stops it"
                )
                self._code = EXIT_FAILURE

    def _signal_code(self) -> int:
        return EXIT_FAILURE if self._command.as_ssh else 128 + self._ended_by

    # The end

    def _ended(self) -> int | Handover:
        """Return the exit code after the last message about the run, or hand over what it takes to say about it."""
        assert self._final is not None
        message, payload = self._final
        with suppress(OSError):  # the service has said all there is
            self._wire.send(ONLY_CHANNEL, {"type": "close"})
        if self._ended_by:
            return self._signal_code()
        if self._failure is not None:
            print_message(self._failure)
            return EXIT_FAILURE
        offsets = {name: output.window.offset for name, output in self._outputs.items()}
        code = plain_exit_code(
            message,
            offsets,
            self._output_closed,
            as_ssh=self._command.as_ssh,
            bounds=self._command.request.get("bounds"),
        )
        if code is not None:
            self._unread.report()
            return code
        return self._handover(None, payload)

    def _handover(self, lost: LostConnection | None, final: bytes | None = None) -> Handover:
        """Return how far the run has come."""
        handover = Handover(self._command.request, *self._service)
        handover.started = self._started
        for output in self._outputs.values():
            output.hand_over(handover.streams[output.name])
        handover.stdin_offset = self._feed.offset
        handover.stdin = self._feed.unread
        handover.stdin_ended = self._feed.ended
        handover.stdin_over = self._command.stdin and self._started is not None and not self._feed.open
        handover.lost = lost
        handover.final = final
        handover.interrupted = self._interrupted
        handover.output_closed = self._output_closed
        handover.ended_by = self._ended_by
        handover.failure = self._failure
        return handover
