"""One attempt at a transfer: a run of the service's transfer worker, and the thread that is the other side."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, Protocol, TypeAlias

from farhand_client.attachment import ClientAttachment
from farhand_client.errors import ConnectionLost, FarhandError, OutputIncomplete, RequestRefused
from farhand_client.ids import new_key, uuid7
from farhand_client.options import DEFAULT_KILL_AFTER
from farhand_client.output import OutputCollector
from farhand_client.results import Result, describe
from farhand_files.events import Totals
from farhand_files.options import TransferOptions
from farhand_files.rows import Report
from farhand_files.stream import ByteStream, StreamEnded
from farhand_files.wire import CHUNK, WireError
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import KiB
from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled

from .bridge import RunStream, StreamClosed
from .handshake import OfferedStream, agree

if TYPE_CHECKING:
    from farhand_client.connection.reconnecting import ReconnectingConnection
    from farhand_client.stdin import InputStream

MAX_STDERR: Final = 4 * KiB
"""Bytes of the worker's stderr that are kept for an error: it writes only what nobody has foreseen."""

TRANSFER_END_TIMEOUT: Final = 10.0
"""Seconds for a worker to end once the transfer is over, and for our thread once it is stopped. Either needs some
milliseconds; one that hangs in a system call, on a file server that is gone, is left there."""

SHORT_ROUND_TRIP: Final = 0.005
"""Seconds of a round trip up to which a chunk in flight is enough: 1 MiB in 5 ms are 200 MB/s, more than a core sends.
Without a limit 4 MiB are under way, and are sent again if the service's worker is killed."""

PINGS: Final = 4
"""Round trips of which one has to be short: on a busy machine some take longer than the connection does."""

_OVER: Final = frozenset(
    {ErrorCode.UNKNOWN_RUN, ErrorCode.EXPIRED, ErrorCode.UNAVAILABLE, ErrorCode.DRAINING, ErrorCode.REPLACED}
)
"""Refusals after which another run may do it: this one is gone, or the service restarts."""

_STOPPED: Final = frozenset({"disconnected", "draining"})
"""Reasons for which a run was stopped and that are not about this run: another one may do it."""


class Mover(Protocol):
    """A `Sender` or `Receiver` of `farhand_files`."""

    def run(self) -> Totals:
        """Transfer, and return what was done."""

    def cancel(self) -> None:
        """Let `run` end soon. Called in another thread."""


MakeMover: TypeAlias = Callable[[TransferOptions, ByteStream, Report], Mover]
"""Makes what transfers: a sender as soon as the options are sent, a receiver once both sides agree on them."""


class AttemptLost(Exception):
    """The run has ended before the transfer did, and another one may do the same again. The text says how; `unsent`
    bytes count as sent although they were not."""

    unsent = 0


class AttemptFailed(Exception):
    """The run has ended before the transfer did, and another one would not help. The text says how."""


class Moving(NamedTuple):
    """What an attempt does: the options to request, and what transfers under those that both sides agree on."""

    options: TransferOptions
    make: MakeMover
    report: Report
    release: Callable[[], None]
    """Lets no thread wait any longer in `report`."""


async def attempt(connection: ReconnectingConnection, moving: Moving) -> Totals:
    """Do a transfer in one run. A cancellation stops both sides, and waits for that.

    Raises `AttemptLost`, `AttemptFailed`, `OptionsRefused`, `RequestRefused`, `SpawnError`, `ConnectionLost` if there
    will be no connection, and what our side raises.
    """
    attachment = ClientAttachment(connection, transfer_request(moving.options))
    assert attachment.stdin is not None
    stream = RunStream(attachment.stdin, partial(attachment.consumed, "stdout"))
    stderr = OutputCollector(partial(attachment.consumed, "stderr"), MAX_STDERR)
    attachment.deliver_to("stdout", stream.incoming)
    attachment.deliver_to("stderr", stderr)
    attachment.begin()
    thread = _Thread(moving, stream)
    feeding = asyncio.ensure_future(stream.feed())
    limiting = asyncio.ensure_future(limit_in_flight(connection, attachment.stdin))
    try:
        try:
            totals = await thread.result()
        except (StreamEnded, StreamClosed):
            stream.stop()
            try:
                await _raise_end(attachment, stderr)
            except AttemptLost as lost:
                lost.unsent = stream.unsent if moving.options.operation == "put" else 0
                raise
        except WireError as error:
            raise AttemptFailed(f"the service's transfer worker has sent what no transfer allows: {error}") from error
        attachment.stdin.close()
        with contextlib.suppress(FarhandError):  # everything is in place, whatever becomes of the run
            await _end(attachment)
        return totals
    finally:
        if not thread.has_ended:
            moving.release()
            thread.cancel()
            attachment.stdin.close()  # a worker that waits for us ends at once
        stream.stop()
        feeding.cancel()
        limiting.cancel()
        try:
            await asyncio.gather(attachment.stop_or_detach(), thread.ended(), limiting, return_exceptions=True)
        finally:
            attachment.abandon()


async def limit_in_flight(connection: ReconnectingConnection, stdin: InputStream) -> None:
    """Let a killed worker lose no more than a chunk where that costs no time."""
    with contextlib.suppress(FarhandError):
        for _ in range(PINGS):
            if await connection.ping() < SHORT_ROUND_TRIP:
                stdin.max_in_flight = CHUNK
                return


def transfer_request(options: TransferOptions) -> m.RunRequest:
    """Return the message that requests the run of a transfer."""
    access = m.TransferRequest(access="write" if options.operation == "put" else "read", paths=options.paths)
    return m.RunRequest(id=uuid7(), attachment=new_key(), transfer=access, stdin=True, kill_after=DEFAULT_KILL_AFTER)


async def _end(attachment: ClientAttachment) -> Result | None:
    """Wait for the end of a run that has nothing more to do. None if it does not end."""
    try:
        async with asyncio.timeout(TRANSFER_END_TIMEOUT):
            return await attachment.result()
    except TimeoutError:
        return None


async def _raise_end(attachment: ClientAttachment, stderr: OutputCollector) -> NoReturn:
    """Raise how a run has ended whose streams have ended before the transfer was over."""
    try:
        result = await _end(attachment)
    except ConnectionLost as error:
        raise AttemptLost(str(error)) from error
    except OutputIncomplete as error:
        raise AttemptFailed(str(error)) from error
    except RequestRefused as error:
        if error.code in _OVER:
            raise AttemptLost(str(error)) from error
        raise
    if result is None:
        raise AttemptLost(f"run {attachment.id} has closed its output, and does not end")
    text = f"run {attachment.id} {describe(result.outcome)}"
    if said := stderr.value().decode(errors="replace").strip():
        text += f"; it wrote: {said}"
    if _may_succeed_again(result.outcome):
        raise AttemptLost(text)
    raise AttemptFailed(text)


def _may_succeed_again(outcome: Outcome) -> bool:
    """Return whether another run may succeed, because this one was not ended for what it does."""
    match outcome:
        case Killed():
            return outcome.reason in _STOPPED
        case Exited():
            return outcome.code != 0
        case _:
            return isinstance(outcome, Signaled)


class _Thread:
    """The thread in which our side of the transfer blocks. It is a daemon: the end of a script does not wait for it."""

    def __init__(self, moving: Moving, stream: RunStream) -> None:
        self._loop = asyncio.get_running_loop()
        self._returned: asyncio.Future[Totals] = self._loop.create_future()
        self._lock = threading.Lock()
        self._mover: Mover | None = None
        self._cancelled = False
        try:
            threading.Thread(target=self._run, args=(moving, stream), name="farhand transfer", daemon=True).start()
        except RuntimeError:  # a limit on threads
            self._settle(None, OSError(errno.EAGAIN, "no thread can be started"))

    async def result(self) -> Totals:
        """Wait until it has ended and return what it returns. Raises what it raises."""
        return await asyncio.shield(self._returned)

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._returned.done()

    async def ended(self) -> None:
        """Wait until it has ended, but not forever."""
        await asyncio.wait([self._returned], timeout=TRANSFER_END_TIMEOUT)
        if self._returned.done():
            self._returned.exception()  # marks it as retrieved

    def cancel(self) -> None:
        """Let it end soon."""
        with self._lock:
            self._cancelled = True
            mover = self._mover
        if mover is not None:
            mover.cancel()

    def _run(self, moving: Moving, stream: RunStream) -> None:
        totals, raised = None, None
        try:
            totals = self._move(moving, stream)
        except BaseException as error:  # noqa: BLE001  # raised again in the event loop
            raised = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._settle, totals, raised)

    def _move(self, moving: Moving, stream: RunStream) -> Totals:
        if moving.options.operation == "put":
            mover = moving.make(moving.options, OfferedStream(moving.options, stream), moving.report)
        else:
            mover = moving.make(agree(moving.options, stream), stream, moving.report)
        with self._lock:
            self._mover = mover
            cancelled = self._cancelled
        if cancelled:
            mover.cancel()
        return mover.run()

    def _settle(self, totals: Totals | None, raised: BaseException | None) -> None:
        if self._returned.done():
            return
        if raised is not None:
            self._returned.set_exception(raised)
        else:
            assert totals is not None
            self._returned.set_result(totals)
