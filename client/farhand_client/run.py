"""`Run`: one command on the remote machine, with the interface of `asyncio.subprocess.Process`."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import AsyncGenerator, Callable, Container
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, NoReturn, Self

from farhand_protocol import messages as m
from farhand_protocol.limits import CLIENT_LIMITS
from farhand_protocol.outcome import Outcome

from .arguments import as_callback, as_seconds, shortened
from .attach_request import Offsets, attach_request, stream_offsets
from .attachment import ClientAttachment
from .errors import RunGoesOn
from .home_loop import not_picklable
from .output import Chunk, Gap, OnGap, Output, OutputStream
from .results import Result, describe
from .signals import linux_number
from .stdin import InputStream

if TYPE_CHECKING:
    from .connection.reconnecting import ReconnectingConnection
    from .handover import Handover


class Run:
    """One command on the remote machine. Made by `Client.start` and `Client.attach`; an async context manager.

    Leaving the context, also by an error or a cancellation, stops a run that was started here and has not ended, with
    everything it started (TERM, `kill_after` seconds of grace, KILL). It waits for the end, at most ten seconds beyond
    the grace. A second cancellation gives up the waiting, not the stopping. A run that is kept (`on_disconnect="keep"`)
    or was only attached to is left running.

    An outage does not affect this object: output continues where it was, the part of stdin that the program has not
    read is sent again, and nothing arrives twice.
    """

    def __init__(
        self, attachment: ClientAttachment, *, stdout: int | None, stderr: int | None, on_gap: OnGap | None
    ) -> None:
        self._attachment = attachment
        self.id: Final = attachment.id
        """The run's id, a UUID; of version 7 (RFC 9562) unless the caller chose another."""
        self.stdout: Final = self._stream("stdout", stdout, on_gap)
        self.stderr: Final = None if stderr is None else self._stream("stderr", stderr, on_gap)
        """None with `merge_stderr`."""

    @classmethod
    async def begin(
        cls,
        connection: ReconnectingConnection,
        opening: m.RunRequest | m.Attach,
        on_gap: OnGap | None,
        discarded: Container[str] = (),
    ) -> Self:
        """Request a run and wait until it has started. The output of the `discarded` streams is thrown away.

        Raises as `Client.start` and `Client.attach`.
        """
        attachment = ClientAttachment(connection, opening, tolerant=on_gap is not None)
        if isinstance(opening, m.RunRequest):
            run = cls(attachment, stdout=0, stderr=None if opening.merge_stderr else 0, on_gap=on_gap)
        else:
            run = cls(attachment, stdout=opening.stdout, stderr=opening.stderr, on_gap=on_gap)
        for name, stream in (("stdout", run.stdout), ("stderr", run.stderr)):
            if name in discarded and stream is not None:
                stream.discard()
        attachment.begin()
        await run._started()
        return run

    async def _started(self) -> None:
        try:
            await asyncio.shield(self._attachment.started)
        except BaseException:
            await self._attachment.stop_or_detach()
            raise

    @classmethod
    async def resume(cls, connection: ReconnectingConnection, handover: Handover, on_gap: OnGap) -> Self:
        """Go on with a run that the direct path has requested. Raises as `Client.start`."""
        opening = m.RunRequest(**handover.request)
        attachment = ClientAttachment(connection, opening, tolerant=True, stdin_offset=handover.stdin_offset)
        stdout, stderr = handover.streams["stdout"], handover.streams["stderr"]
        run = cls(
            attachment, stdout=stdout.written, stderr=None if opening.merge_stderr else stderr.written, on_gap=on_gap
        )
        for name, stream, so_far in (("stdout", run.stdout, stdout), ("stderr", run.stderr, stderr)):
            for chunk in so_far.unwritten:
                attachment.received_data("stdout" if name == "stdout" else "stderr", chunk)
            if so_far.discarded and stream is not None:
                stream.discard()
        if attachment.stdin is not None:
            for chunk in handover.stdin:
                attachment.stdin.write(chunk)
            if handover.stdin_ended:
                attachment.stdin.close()
            if handover.stdin_over:
                attachment.stdin.finish(None)
        attachment.resume(
            None if handover.started is None else m.Started(**handover.started),
            None if handover.final is None else m.decode(handover.final, CLIENT_LIMITS),
        )
        await run._started()
        return run

    @classmethod
    async def attach(
        cls, connection: ReconnectingConnection, text: str, opening: Callable[[str], m.Attach], on_gap: OnGap | None
    ) -> Self:
        """Attach to the run whose id begins with `text`. Raises as `Client.attach`."""
        from .calls import full_id

        return await cls.begin(connection, opening(await full_id(connection, text)), on_gap)

    def _stream(self, name: m.Output, offset: int | None, on_gap: OnGap | None) -> OutputStream:
        stream = OutputStream(partial(self._attachment.consumed, name), self.id, on_gap)
        if offset is None:
            stream.end()
        else:
            self._attachment.deliver_to(name, stream, offset)
        return stream

    @property
    def stdin(self) -> InputStream | None:
        """The run's stdin, if `stdin=PIPE` was given or an attachment asked to feed the run."""
        return self._attachment.stdin

    @property
    def pid(self) -> int | None:
        """The process id on the remote machine; None if the run was stopped before it started."""
        started = self._attachment.started.result()
        return None if started is None else started.pid

    @property
    def new(self) -> bool:
        """Whether this call started the run; False if a run of that id already existed."""
        started = self._attachment.started.result()
        return started is not None and started.new

    @property
    def connected(self) -> bool:
        """Whether messages to the run are sent at once; False during an outage and after the end."""
        return self._attachment.connected

    @property
    def kept(self) -> bool:
        """Whether the run continues without this client."""
        return not self._attachment.stops_with_client

    @property
    def result(self) -> Result | None:
        """How the run ended, as `wait` returns it; None before that, and if it is unknown."""
        ended = self._attachment.ended
        return ended.result() if ended.done() and ended.exception() is None else None

    @property
    def outcome(self) -> Outcome | None:
        """How the program ended: set before `result` if processes that it left behind still hold its output."""
        return self.result.outcome if self.result is not None else self._attachment.exited

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal's number, like `subprocess.Popen.returncode`; None as for `result`."""
        return self.result.returncode if self.result is not None else None

    async def wait(self) -> Result:
        """Wait for the run's end, which comes after all of its output. Output must be read too: more than 4 MiB of it
        blocks the program.

        Raises `ConnectionLost`, `RequestRefused` or `OutputIncomplete` if the outcome is unknown or output is missing,
        `SpawnError` if the program of an attached run never started, `RunGoesOn` if the attachment does not follow the
        run.
        """
        return await self._attachment.result()

    async def wait_for(
        self,
        pattern: bytes | str | None = None,
        *,
        stream: m.Output = "stdout",
        offset: int = 0,
        idle: float | None = None,
        timeout: float | None = None,
    ) -> m.Matched:
        """Do as `Client.wait_for`, for this run."""
        from .calls import wait_for

        return await wait_for(
            self._attachment.connection,
            self.id,
            pattern=pattern,
            stream=stream,
            offset=offset,
            idle=idle,
            timeout=timeout,
        )

    def output(
        self, offset: Offsets = 0, *, follow: bool = True, hold: bool = False
    ) -> AsyncGenerator[Chunk | Gap, None]:
        """Yield the run's output as it arrives, from `offset` on, independently of other readers and their pace.

        This is an attachment of its own. Without `hold` the run does not wait for it, and output that is no longer kept
        is yielded as a `Gap`; with `hold` the program waits for this reader too. Without `follow` it yields only the
        output that exists now. Close the generator (`contextlib.aclosing`) if you leave it before its end. Raises as
        `wait` and `Client.attach`.
        """
        stdout, stderr = stream_offsets(offset)
        if self.stderr is None:
            stderr = None
        hold = bool(hold)
        opening = attach_request(self.id, (stdout, stderr), hold=hold, follow=bool(follow), read_only=not hold)
        return _merged_output(self._attachment.connection, opening)

    def send_signal(self, number: int) -> None:
        """Send a signal to the run's process group. Does nothing after the run's end.

        It is sent at most once. During an outage (`connected` is False) it is kept, and sent when the connection is
        back; one that was sent just before a loss was noticed may not have arrived. `Client.signal` waits until the
        service has delivered it. Raises ValueError if `number` is not a signal on Linux.
        """
        self._attachment.signal(linux_number(number))

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    @property
    def size(self) -> m.WindowSize | None:
        """The size of the run's terminal as last reported by the service: the smallest among those who type there.

        None before that, and if no terminal was requested.
        """
        return self._attachment.size

    def on_resize(self, callback: Callable[[m.WindowSize], None] | None) -> None:
        """Call `callback` whenever `size` changes."""
        as_callback(callback, "callback")
        self._attachment.on_resize = callback

    def on_going_away(self, callback: Callable[[float], None] | None) -> None:
        """Call `callback` when the service announces its shutdown, with the seconds that it leaves its runs.

        There is one callback for all runs of a client.
        """
        as_callback(callback, "callback")
        self._attachment.connection.on_going_away = callback

    def resize(self, columns: int, rows: int) -> None:
        """Report the size at which this client displays the run's terminal; each number is 0 (unknown) to 65535.

        During an outage the last size is kept, and reported when the connection is back. Raises ValueError for other
        numbers, and if the run was not started or attached to with a terminal.
        """
        self._attachment.resize(columns, rows)

    async def stop(self, kill_after: float | None = None) -> None:
        """Stop the run and everything it started: TERM, `kill_after` seconds of grace (default: the run's own), KILL.

        Unread output is thrown away. Waits for the end, at most ten seconds beyond the grace; for a run that was
        attached to, whose grace is unknown here unless `kill_after` is given, as long as it takes. During an outage the
        stop is kept, and sent when the connection is back.
        """
        await self._attachment.stop(as_seconds(kill_after, "kill_after", positive=False))

    def detach(self) -> None:
        """Leave the run as it is, without waiting; `wait` and the streams then raise `ConnectionLost`.

        A run that is kept continues. The service stops a run that was started with `on_disconnect="kill"` after its
        grace period, unless a client attaches to it before.
        """
        self._attachment.detach()

    def abandon(self) -> None:
        """Leave the run without waiting: the service stops it, unless it is kept or was only attached to."""
        self._attachment.abandon()

    def __repr__(self) -> str:
        opening = self._attachment.opening
        command = "" if isinstance(opening, m.Attach) else f" of {_command(opening)}"
        if self.outcome is not None:
            state = describe(self.outcome)
        else:
            state = "left, or its outcome is unknown" if self._attachment.ended.done() else "is running"
        return f"<{type(self).__name__} {self.id}{command}: {state}>"

    def __reduce__(self) -> NoReturn:
        raise not_picklable("a run")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._attachment.stop_or_detach()


class RunWithStdin(Run):
    """A `Run` that has a `stdin`."""

    @property
    def stdin(self) -> InputStream:
        """The run's stdin."""
        stdin = self._attachment.stdin
        assert stdin is not None
        return stdin


def _command(request: m.RunRequest) -> str:
    if request.argv is not None:
        return shortened([os.fsdecode(argument) for argument in request.argv])
    return "a login shell" if request.shell is None else f"the script {shortened(os.fsdecode(request.shell))}"


async def _merged_output(connection: ReconnectingConnection, opening: m.Attach) -> AsyncGenerator[Chunk | Gap, None]:
    """Attach, yield the chunks and gaps of both streams in the order of their arrival, and leave.

    Raises the error with which the attachment fails.
    """
    attachment = ClientAttachment(connection, opening, tolerant=True)
    arrived: deque[Chunk | Gap] = deque()
    more = asyncio.Event()
    wanted: dict[Output, int | None] = {"stdout": opening.stdout, "stderr": opening.stderr}
    for stream, offset in wanted.items():
        if offset is not None:
            attachment.deliver_to(stream, _MergingReceiver(stream, offset, arrived, more), offset)
    attachment.ended.add_done_callback(lambda _: more.set())
    attachment.begin()
    try:
        while arrived or not attachment.ended.done():
            while arrived:
                next_one = arrived.popleft()
                yield next_one
                if isinstance(next_one, Chunk):
                    attachment.consumed(next_one.stream, len(next_one.data))
            if not attachment.ended.done():
                more.clear()
                await more.wait()
        error = attachment.ended.exception()
        if error is not None and not isinstance(error, RunGoesOn):
            raise error
    finally:
        attachment.detach()


class _MergingReceiver:
    """The receiver of one stream, which appends to the queue of both."""

    def __init__(self, stream: Output, offset: int, arrived: deque[Chunk | Gap], more: asyncio.Event) -> None:
        self._stream = stream
        self._offset = offset
        self._arrived = arrived
        self._more = more

    def feed(self, chunk: bytes) -> None:
        """Queue a chunk."""
        self._arrived.append(Chunk(self._stream, self._offset, chunk))
        self._offset += len(chunk)
        self._more.set()

    def gap(self, gap: Gap) -> None:
        """Queue a gap."""
        self._arrived.append(gap)
        self._offset = gap.offset + gap.bytes
        self._more.set()

    def trim(self, limit: int) -> int:
        """Drop this stream's last chunks beyond `limit` unread bytes and return how many bytes that were."""
        mine = [each for each in self._arrived if each.stream == self._stream]
        excess = sum(len(each.data) for each in mine if isinstance(each, Chunk)) - limit
        dropped = 0
        while dropped < excess and isinstance(last := mine.pop(), Chunk):
            dropped += len(last.data)
            self._arrived.remove(last)
        self._offset -= dropped
        return dropped

    def end(self) -> None:
        """Do nothing: the end of the attachment counts."""

    def fail(self, error: Exception) -> None:
        """Do nothing: the end of the attachment counts."""

    def discard(self) -> None:
        """Do nothing: the generator is closed, and the rest is not read."""
