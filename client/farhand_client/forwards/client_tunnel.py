"""The one tunnel of a client: begun by its first forward, shared by all, and made again once it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from farhand_client.errors import ForwardError, TunnelLost
from farhand_forwards.accepting import Accepted, LocalListener
from farhand_forwards.flow import Flow, FlowReport, TunnelClosed
from farhand_forwards.targets import ForwardRefused, ForwardTarget
from farhand_forwards.tunnel import RemoteListener

from .tunnel_run import TunnelRun

if TYPE_CHECKING:
    from farhand_client.connection.reconnecting import ReconnectingConnection

TUNNEL_LINGER: Final = 10.0
"""Seconds for which a tunnel stays after the last forward and connection is gone: a script that makes one connection
after the other starts one worker, not one for each."""

MAX_TUNNELS_TRIED: Final = 2
"""Tunnels in which a connection is tried. The first may have been lost without anyone having noticed; a second one that
is lost at once would be lost a third time."""


class Listening(NamedTuple):
    """A listener of the other side, and the run that has it."""

    listener: RemoteListener
    run: TunnelRun


class ClientTunnel:
    """Opens connections and remote listeners in the client's tunnel, which it begins, shares and ends."""

    def __init__(self, connection: ReconnectingConnection) -> None:
        self.connection: Final = connection
        self._run: TunnelRun | None = None
        self._uses = 0
        self._lingering: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._on_close: dict[Callable[[], Awaitable[None]], None] = {}

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """Keep the tunnel within this context."""
        self._begin_use()
        try:
            yield
        finally:
            self._end_use()

    async def start(self, purpose: str) -> None:
        """Begin the tunnel if there is none, and wait for its worker. Raises as `open`, but for `ForwardError`."""
        await self._current(purpose).started()

    def begin(self, target: ForwardTarget, origin: str, purpose: str) -> Flow:
        """Have `target` connected to, without waiting for that: `Flow.relay` raises why it is refused.

        Raises `ForwardError`, `RequestRefused` and `ConnectionLost` for what is known at once.
        """
        return self._begin_in(self._current(purpose), target, origin)

    async def open(self, target: ForwardTarget, origin: str, purpose: str) -> Flow:
        """Have `target` connected to, and return the connection.

        Raises `ForwardError`, `TunnelLost`, `RequestRefused` if the service has no forwards or allows none, and
        `ConnectionLost`.
        """
        with self.use():
            for attempt in range(1, MAX_TUNNELS_TRIED + 1):
                run = self._current(purpose)
                try:
                    flow = self._begin_in(run, target, origin)
                    await flow.opened()
                except ForwardRefused as error:
                    raise typed(error) from None
                except TunnelClosed:
                    await _raise_unless_lost(run, last=attempt == MAX_TUNNELS_TRIED)
                else:
                    return flow
        raise AssertionError("the last attempt returns or raises")

    async def listen(
        self, where: ForwardTarget, accepted: Callable[[Flow, str], Awaitable[None]], purpose: str
    ) -> Listening:
        """Have the other side listen at `where`. Raises as `open`."""
        with self.use():
            for attempt in range(1, MAX_TUNNELS_TRIED + 1):
                run = self._current(purpose)
                try:
                    return Listening(await run.tunnel.listen(where, accepted), run)
                except ForwardRefused as error:
                    raise typed(error) from None
                except TunnelClosed:
                    await _raise_unless_lost(run, last=attempt == MAX_TUNNELS_TRIED)
        raise AssertionError("the last attempt returns or raises")

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do `work` in a task that ends with the tunnel's client at the latest; return the task."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Call `close` when the client is closed."""
        self._on_close[close] = None

    def forget(self, close: Callable[[], Awaitable[None]]) -> None:
        """Do not call `close`. Safe to call again."""
        self._on_close.pop(close, None)

    async def close(self) -> None:
        """Close everything that uses the tunnel, end it, and wait for that."""
        while self._on_close:
            close = next(iter(self._on_close))
            self.forget(close)
            await close()
        for task in self._tasks:
            task.cancel()
        self._end()
        if waited := self._tasks | self._ending:
            await asyncio.wait(waited)

    def _current(self, purpose: str) -> TunnelRun:
        if self._run is None or self._run.over:
            self._run = TunnelRun(self.connection, purpose, _OnlyOurs(), self._flow_ended)
        return self._run

    def _begin_in(self, run: TunnelRun, target: ForwardTarget, origin: str) -> Flow:
        try:
            flow = run.tunnel.begin(target, origin)
        except ForwardRefused as error:
            raise typed(error) from None
        self._begin_use()
        return flow

    def _flow_ended(self, report: FlowReport) -> None:
        if report.ours:
            self._end_use()

    def _begin_use(self) -> None:
        self._uses += 1
        self._do_not_linger()

    def _end_use(self) -> None:
        self._uses -= 1
        if not self._uses and self._run is not None:
            self._do_not_linger()
            self._lingering = asyncio.get_running_loop().call_later(TUNNEL_LINGER, self._end)

    def _do_not_linger(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    def _end(self) -> None:
        self._do_not_linger()
        run, self._run = self._run, None
        if run is not None:
            task = asyncio.ensure_future(run.close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


def typed(error: Exception, run_id: str | None = None) -> Exception:
    """Return an error of the tunnel as one of this package; others as they are."""
    match error:
        case ForwardRefused():
            return ForwardError(error.cause, str(error))
        case TunnelClosed():
            text = "the connection's tunnel has ended: the service's forward worker is gone, or the client was closed"
            return TunnelLost(text, run_id=run_id)
        case _:
            return error


async def _raise_unless_lost(run: TunnelRun, *, last: bool) -> None:
    """Raise why a tunnel has ended, unless another one may do better and this was not the last attempt."""
    why = await asyncio.shield(run.ended)
    if last or not isinstance(why, TunnelLost):
        raise why


class _OnlyOurs:
    """What this side does for the worker by itself: nothing. It listens and connects for its user alone."""

    async def connect(self, target: ForwardTarget, origin: str) -> socket.socket:
        """Raise `ForwardRefused`."""
        raise ForwardRefused("denied", "this client connects only what its own remote listeners accept")

    async def listen(self, where: ForwardTarget, accepted: Accepted) -> LocalListener:
        """Raise `ForwardRefused`."""
        raise ForwardRefused("denied", "this client listens for its user alone")
