"""One run of the service's forward worker, and the tunnel through its stdin and stdout.

The run is like any other: after a cut of the connection it continues at the byte, and the tunnel notices nothing but a
pause. What is written waits here until the service has credit for it; what has arrived counts as consumed once the
tunnel has read it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from farhand_client.attachment import ClientAttachment
from farhand_client.errors import ConnectionLost, FarhandError, RequestRefused, TunnelLost
from farhand_client.ids import new_key, uuid7
from farhand_client.options import DEFAULT_KILL_AFTER
from farhand_client.output import OutputCollector, OutputStream
from farhand_client.results import describe
from farhand_forwards.exchange import FrameReceiver
from farhand_forwards.flow import FlowReport
from farhand_forwards.tunnel import Tunnel, TunnelService
from farhand_forwards.wire import ForwardWireError
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import KiB, MiB

if TYPE_CHECKING:
    from farhand_client.connection.reconnecting import ReconnectingConnection
    from farhand_client.stdin import InputStream

MAX_UNSENT_FRAMES: Final = 1 * MiB
"""Bytes of frames that wait for the service's credit above which `write` waits: four of the largest, so that the
service always has something to take, and little enough that a flow with a small answer waits some milliseconds."""

MAX_FRAMES_READ: Final = 256 * KiB
"""Bytes of frames that are acted on at once: four of the service's data frames, which arrive together."""

MAX_WORKER_STDERR: Final = 4 * KiB
"""Bytes of the worker's stderr that are kept for an error: it writes only what nobody has foreseen."""

TUNNEL_END_TIMEOUT: Final = 5.0
"""Seconds for a worker to end once its tunnel has: it needs some milliseconds. Then it is stopped."""

MIN_TUNNEL_GRACE: Final = 60.0
"""Seconds for which the service keeps a worker whose client is away, at least: its default for runs. A client that
tries to reconnect for longer asks for as long."""

MAX_TUNNEL_GRACE: Final = 3600.0
"""The same at most: a client that tries for years makes another tunnel after a longer outage, and one that is dead must
not leave its remote listeners behind for years."""

_OVER: Final = frozenset(
    {ErrorCode.UNKNOWN_RUN, ErrorCode.EXPIRED, ErrorCode.UNAVAILABLE, ErrorCode.DRAINING, ErrorCode.REPLACED}
)
"""Refusals after which another worker may do it: this one is gone, or the service restarts."""


class TunnelRun:
    """A forward worker on the service's machine, requested by this object, and the tunnel to it.

    Raises what `ReconnectingConnection.register` raises, if the request cannot even be sent.
    """

    def __init__(
        self,
        connection: ReconnectingConnection,
        purpose: str,
        service: TunnelService,
        closed: Callable[[FlowReport], None],
    ) -> None:
        self._connection = connection
        self._attachment = ClientAttachment(connection, tunnel_request(purpose, connection.reconnect_timeout))
        assert self._attachment.stdin is not None
        self._stdin = self._attachment.stdin
        self._stdout = OutputStream(partial(self._attachment.consumed, "stdout"), self._attachment.id)
        self._stderr = OutputCollector(partial(self._attachment.consumed, "stderr"), MAX_WORKER_STDERR)
        self._attachment.deliver_to("stdout", self._stdout)
        self._attachment.deliver_to("stderr", self._stderr)
        self._attachment.begin()
        frames = RunFrames(self._stdin, self._stdout)
        self.tunnel: Final = Tunnel(frames, client=True, service=service, closed=closed)
        self.ended: Final[asyncio.Future[FarhandError]] = asyncio.get_running_loop().create_future()
        """Resolves to why there is no tunnel any longer: a `TunnelLost` if another one may be made."""
        self.over = False
        """Whether nothing more can go through the tunnel; why, is known a moment later."""
        self._driving = asyncio.ensure_future(self._drive())

    @property
    def id(self) -> str:
        """The id of the worker's run."""
        return self._attachment.id

    async def started(self) -> None:
        """Wait until the worker runs. Raises `RequestRefused` if it was refused, and otherwise why it does not run."""
        waited: list[asyncio.Future[Any]] = [self._attachment.started, self.ended]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if self.ended.done() or self._attachment.started.exception() is not None:
            raise await asyncio.shield(self.ended)

    async def _drive(self) -> None:
        nonsense = None
        why: FarhandError = TunnelLost("this client has closed the tunnel", run_id=self.id)
        try:
            try:
                await self.tunnel.run()
            except ForwardWireError as error:
                nonsense = str(error)
            self.over = True
            self._stdin.close()
            self._stdout.discard()
            why = await self._reason(nonsense)
            self._attachment.abandon()
        finally:
            self.over = True
            self.tunnel.close()
            self.ended.set_result(why)

    async def _reason(self, nonsense: str | None) -> FarhandError:
        """Return why the worker's stream has ended."""
        lost = partial(TunnelLost, run_id=self.id)
        try:
            async with asyncio.timeout(TUNNEL_END_TIMEOUT):
                result = await self._attachment.result()
        except TimeoutError:
            text = nonsense or "has closed its output, and does not end"
            return lost(f"the forward worker (run {self.id}) was given up: {text}")
        except RequestRefused as error:
            return lost(str(error)) if error.code in _OVER else error
        except ConnectionLost as error:
            return error if self._connection.closed else lost(str(error))
        except FarhandError as error:
            return error
        text = f"the forward worker (run {self.id}) {describe(result.outcome)}"
        if said := self._stderr.value().decode(errors="replace").strip():
            text += f"; it wrote: {said}"
        return lost(text if nonsense is None else f"{text}; it has sent what no tunnel allows: {nonsense}")

    async def close(self) -> None:
        """End the tunnel and every connection through it; wait until the worker has ended, or during an outage leave
        that to the service. Safe to call again."""
        self._driving.cancel()
        self._stdin.close()
        self._stdout.discard()
        if self._attachment.connected and not self._connection.home.in_child:
            with contextlib.suppress(FarhandError, TimeoutError):
                async with asyncio.timeout(TUNNEL_END_TIMEOUT):
                    await self._attachment.result()
        self._attachment.abandon()
        await asyncio.wait([self._driving])


class RunFrames:
    """The `farhand_forwards.exchange.FrameStream` through a run's stdin and stdout."""

    def __init__(self, stdin: InputStream, stdout: OutputStream) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._receiver: FrameReceiver | None = None
        self._paused = self._delivering = False
        self._draining: asyncio.Task[None] | None = None

    def start(self, receiver: FrameReceiver) -> None:
        """Call `receiver` from now on."""
        self._receiver = receiver
        self._stdout.on_ready(self._deliver)
        self._deliver()

    def pause(self) -> None:
        """Deliver nothing until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Deliver what has arrived since `pause`, soon, and go on."""
        if self._paused:
            self._paused = False
            asyncio.get_running_loop().call_soon(self._deliver)

    def write(self, frames: Sequence[bytes | memoryview]) -> bool:
        """Send bytes; return False if too many wait for credit. After the end of the run they are thrown away."""
        with contextlib.suppress(BrokenPipeError, FarhandError, ValueError):
            self._stdin.write(frames[0] if len(frames) == 1 else b"".join(frames))
            if self._stdin.waiting > MAX_UNSENT_FRAMES:
                self._draining = asyncio.ensure_future(self._drain())
                return False
        return True

    def stop(self) -> None:
        """Deliver nothing more."""
        self._receiver = None
        self._stdout.on_ready(None)
        if self._draining is not None:
            self._draining.cancel()

    def _deliver(self) -> None:
        # Each call of `read_nowait` returns the credit for what the one before has returned.
        while self._receiver is not None and not self._paused and not self._delivering:
            try:
                chunks = self._stdout.read_nowait(MAX_FRAMES_READ)
            except FarhandError:
                chunks = None  # the run's outcome says more
            self._delivering = True
            try:
                if chunks is None:
                    self._receiver.frames_ended(None)
                    return
                if not chunks:
                    return
                self._receiver.frames_arrived(chunks[0] if len(chunks) == 1 else b"".join(chunks))
            finally:
                self._delivering = False

    async def _drain(self) -> None:
        with contextlib.suppress(BrokenPipeError, FarhandError, ValueError):
            await self._stdin.drain()
        if self._receiver is not None:
            self._receiver.frames_writable()


def tunnel_request(purpose: str, reconnect_timeout: float) -> m.RunRequest:
    """Return the message that requests the run of a forward worker."""
    return m.RunRequest(
        id=uuid7(),
        attachment=new_key(),
        forward=m.ForwardRequest(purpose=purpose),
        stdin=True,
        kill_after=DEFAULT_KILL_AFTER,
        grace=min(max(MIN_TUNNEL_GRACE, reconnect_timeout), MAX_TUNNEL_GRACE),
    )
