"""A run under way, in the words of `asyncio.subprocess.Process`.

Both output streams of one attachment as one sequence of chunks and gaps, in the order they came.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import AsyncGenerator, Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from farhand_protocol import messages as m
from farhand_protocol.limits import TERMINAL_WINDOW
from farhand_protocol.outcome import Outcome

from .attachment import ClientAttachment
from .errors import RunGoesOn
from .ids import new_key
from .output import Chunk, Gap, OnGap, Output, OutputStream
from .results import Result
from .signals import linux_number
from .stdin import InputStream

if TYPE_CHECKING:
    from .connection.reconnecting import ReconnectingConnection


Offsets: TypeAlias = "int | tuple[int | None, int | None]"
"""Where output is wanted from: that of stdout, while stderr comes from its beginning; or (stdout, stderr), of which
None is not wanted."""


class Run:
    """One command on the remote machine. Made by `Client.start` and `Client.attach`; an async context manager.

    Leaving the context, also by an error or a cancellation, stops a run that was started here and still goes on, with
    everything it started (TERM, `kill_after` seconds of grace, KILL), and waits for that, at most ten seconds beyond
    the grace. A second cancellation gives up the waiting, not the stopping. A run that is kept
    (`on_disconnect="keep"`), or was only attached to, is left and goes on.

    A connection that is lost is made again, and nothing of this object changes: output goes on where it was, what
    was written to stdin and not taken is sent again, and nothing comes twice.
    """

    def __init__(
        self, attachment: ClientAttachment, *, stdout: int | None, stderr: int | None, on_gap: OnGap | None
    ) -> None:
        self._attachment = attachment
        self.id: Final = attachment.id
        """The run's id, a UUID; of version 7 (RFC 9562) unless another was asked for."""
        self.stdin: Final[InputStream | None] = attachment.stdin
        """Where `stdin=PIPE` was asked for, or to feed the run that was attached to."""
        self.stdout: Final = self._stream("stdout", stdout, on_gap)
        self.stderr: Final = None if stderr is None else self._stream("stderr", stderr, on_gap)
        """None with `merge_stderr`."""

    @classmethod
    async def begin(cls, line: ReconnectingConnection, opening: m.RunRequest | m.Attach, on_gap: OnGap | None) -> Run:
        """Ask for a run and wait until it has started. Raises what `Client.start` and `Client.attach` do."""
        attachment = ClientAttachment(line, opening, tolerant=on_gap is not None)
        if isinstance(opening, m.RunRequest):
            run = cls(attachment, stdout=0, stderr=None if opening.merge_stderr else 0, on_gap=on_gap)
        else:
            run = cls(attachment, stdout=opening.stdout, stderr=opening.stderr, on_gap=on_gap)
        attachment.begin()
        try:
            await asyncio.shield(attachment.started)
        except BaseException:
            await attachment.part()
            raise
        return run

    @classmethod
    async def attach(
        cls, line: ReconnectingConnection, text: str, opening: Callable[[str], m.Attach], on_gap: OnGap | None
    ) -> Run:
        """Attach to the run whose id begins with `text`. Raises what `Client.attach` does."""
        from .calls import full_id

        return await cls.begin(line, opening(await full_id(line, text)), on_gap)

    def _stream(self, name: m.Output, offset: int | None, on_gap: OnGap | None) -> OutputStream:
        stream = OutputStream(partial(self._attachment.take, name), self.id, on_gap)
        if offset is None:
            stream.end()
        else:
            self._attachment.receive(name, stream, offset)
        return stream

    @property
    def pid(self) -> int | None:
        """The process id on the remote machine; None where the run was stopped before it began."""
        started = self._attachment.started.result()
        return None if started is None else started.pid

    @property
    def new(self) -> bool:
        """Whether this started the run: not where a run of that id was there before."""
        started = self._attachment.started.result()
        return started is not None and started.new

    @property
    def connected(self) -> bool:
        """Whether what is said to the run leaves now; False while a lost connection is made again, and at the end."""
        return self._attachment.connected

    @property
    def kept(self) -> bool:
        """Whether the run goes on without this client."""
        return not self._attachment.owner

    @property
    def result(self) -> Result | None:
        """How the run ended, as `wait` returns it; None while it goes on, or where that is not known."""
        ended = self._attachment.ended
        return ended.result() if ended.done() and ended.exception() is None else None

    @property
    def outcome(self) -> Outcome | None:
        """How the program ended: before `result` is there where processes that it left still hold its output."""
        return self.result.outcome if self.result is not None else self._attachment.exited

    @property
    def returncode(self) -> int | None:
        """As `subprocess.Popen.returncode`: the exit code or minus the signal's number; None as for `result`."""
        return self.result.returncode if self.result is not None else None

    async def wait(self) -> Result:
        """Wait for the run's end, which comes after all of its output: read that too, or more than 4 MiB block it.

        Raises `ConnectionLost`, `RequestRefused` or `OutputIncomplete` where the end is not known or output is missing,
        `SpawnError` where an attached run never began, `RunGoesOn` where it is not followed.
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
        """As `Client.wait_for`, for this run."""
        from .calls import wait_for

        return await wait_for(
            self._attachment.line, self.id, pattern=pattern, stream=stream, offset=offset, idle=idle, timeout=timeout
        )

    def output(
        self, offset: Offsets = 0, *, follow: bool = True, hold: bool = False
    ) -> AsyncGenerator[Chunk | Gap, None]:
        """Give the run's output as it comes, from `offset` on, whatever else reads it and at whatever pace.

        This is an attachment of its own. Without `hold` the run does not wait for it, and what is no longer kept is
        a `Gap`; with `hold` the program waits for it too. Without `follow` it ends where the output stands now. Close
        the generator (`contextlib.aclosing`) where it is left before its end. Raises what `wait` and `Client.attach`
        do.
        """

        stdout, stderr = stream_offsets(offset)
        if self.stderr is None:
            stderr = None
        opening = attach_request(self.id, (stdout, stderr), hold=hold, follow=follow, read_only=not hold)
        return merged_output(self._attachment.line, opening)

    def send_signal(self, number: int) -> None:
        """Send a signal to the run's process group. Does nothing once the run is over.

        It is sent at most once. While the connection is known to be lost (`connected` is False) it is kept, and sent
        once that is back; one that was sent just before a loss was noticed may not have arrived. `Client.signal` waits
        until the service has delivered it. Raises ValueError for a number that is no signal on Linux.
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
        """How many characters the run's terminal has, as the service last said: the smallest of those that who types
        there shows it in. None before that, and where it was not asked for."""
        return self._attachment.size

    def on_resize(self, told: Callable[[m.WindowSize], None] | None) -> None:
        """Have `told` called whenever `size` changes."""
        self._attachment.on_resize = told

    def on_going_away(self, told: Callable[[float], None] | None) -> None:
        """Have `told` called when the service says that it stops, with the seconds that it leaves its runs: one for all
        runs of a client."""
        self._attachment.line.on_going_away = told

    def resize(self, columns: int, rows: int) -> None:
        """Say that this client shows the run's terminal in so many characters, each 0 (unknown) to 65535.

        While the connection is lost the last one is kept, and said once it is back. Raises ValueError for other
        numbers, and where the run was not started or attached to with a terminal.
        """
        self._attachment.resize(columns, rows)

    async def stop(self, kill_after: float | None = None) -> None:
        """End the run and everything it started: TERM, `kill_after` seconds of grace (the run's own), KILL.

        Output that was not read yet is thrown away. Waits for the end, at most ten seconds beyond the grace; for a run
        that was attached to, whose grace is not known here unless `kill_after` gives one, as long as it takes. While
        the connection is lost the order is kept, and sent once it is back.
        """
        await self._attachment.stop(kill_after)

    def detach(self) -> None:
        """Leave the run as it is, without waiting; `wait` and the streams then raise `ConnectionLost`.

        A run that is kept goes on. One that was started with `on_disconnect="kill"` is stopped by the service after its
        grace, unless somebody attaches to it until then.
        """
        self._attachment.detach()

    def abandon(self) -> None:
        """Leave the run without waiting: the service stops it, unless it is kept or was only attached to."""
        self._attachment.abandon()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._attachment.part()


def stream_offsets(offset: Offsets) -> tuple[int | None, int | None]:
    """Return the stream_offsets of stdout and stderr. Raises ValueError for negative ones."""
    both = (offset, 0) if isinstance(offset, int) else offset
    if any(one is not None and one < 0 for one in both):
        raise ValueError(f"offset is {offset!r}; stream_offsets count bytes from 0")
    return both


def attach_request(
    run_id: str,
    at: tuple[int | None, int | None],
    *,
    stdin: int | None = None,
    hold: bool = False,
    follow: bool = True,
    read_only: bool = False,
    size: m.WindowSize | None = None,
    share: bool = False,
) -> m.Attach:
    """Return the request for an attachment with a key of its own."""
    return m.Attach(
        id=run_id,
        attachment=new_key(),
        stdout=at[0],
        stderr=at[1],
        stdin=stdin,
        hold=hold,
        follow=follow,
        read_only=read_only,
        window=None if size is None else TERMINAL_WINDOW,
        size=size,
        share=share,
    )


async def merged_output(line: ReconnectingConnection, opening: m.Attach) -> AsyncGenerator[Chunk | Gap, None]:
    """Attach, give what comes, and leave. Raises what the attachment fails with."""
    attachment = ClientAttachment(line, opening, tolerant=True)
    pieces: deque[Chunk | Gap] = deque()
    more = asyncio.Event()
    wanted: dict[Output, int | None] = {"stdout": opening.stdout, "stderr": opening.stderr}
    for stream, offset in wanted.items():
        if offset is not None:
            attachment.receive(stream, _MergedReceiver(stream, offset, pieces, more), offset)
    attachment.ended.add_done_callback(lambda _: more.set())
    attachment.begin()
    try:
        while pieces or not attachment.ended.done():
            while pieces:
                piece = pieces.popleft()
                yield piece
                if isinstance(piece, Chunk):
                    attachment.take(piece.stream, len(piece.data))
            if not attachment.ended.done():
                more.clear()
                await more.wait()
        error = attachment.ended.exception()
        if error is not None and not isinstance(error, RunGoesOn):
            raise error
    finally:
        attachment.detach()


class _MergedReceiver:
    """The receiver of one stream."""

    def __init__(self, stream: Output, offset: int, pieces: deque[Chunk | Gap], more: asyncio.Event) -> None:
        self._stream = stream
        self._offset = offset
        self._pieces = pieces
        self._more = more

    def feed(self, chunk: bytes) -> None:
        """Receiver."""
        self._pieces.append(Chunk(self._stream, self._offset, chunk))
        self._offset += len(chunk)
        self._more.set()

    def gap(self, gap: Gap) -> None:
        """Receiver."""
        self._pieces.append(gap)
        self._offset = gap.offset + gap.bytes
        self._more.set()

    def trim(self, limit: int) -> int:
        """Receiver."""
        mine = [piece for piece in self._pieces if piece.stream == self._stream]
        above = sum(len(piece.data) for piece in mine if isinstance(piece, Chunk)) - limit
        dropped = 0
        while dropped < above and isinstance(last := mine.pop(), Chunk):
            dropped += len(last.data)
            self._pieces.remove(last)
        self._offset -= dropped
        return dropped

    def end(self) -> None:
        """Receiver. The attachment's end is what counts."""

    def fail(self, error: Exception) -> None:
        """Receiver."""

    def discard(self) -> None:
        """Receiver. Nobody reads what still waits: the generator is closed."""
