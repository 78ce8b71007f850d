"""Runs one `Mux` over a stream of bytes: the flows and listeners of one side of a tunnel."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol

from .accepting import Accepted, Connected, LocalListener
from .exchange import FrameExchange, FrameStream
from .flow import Flow, FlowReport, TunnelClosed
from .flow_events import (
    FlowAccepted,
    FlowAsked,
    FlowData,
    FlowEof,
    FlowRefused,
    FlowReset,
    ListenAsked,
    ListenStarted,
    MuxEvent,
)
from .mux import Mux
from .targets import ForwardCause, ForwardRefused, ForwardTarget, InetTarget, UnixTarget
from .wire import ForwardWireError


class TunnelService(Protocol):
    """What a side does for the other one. Both raise `ForwardRefused`."""

    async def connect(self, target: ForwardTarget, origin: str) -> socket.socket:
        """Return a socket that is connected to `target`."""

    async def listen(self, where: ForwardTarget, accepted: Accepted) -> LocalListener:
        """Listen at `where`."""


class RemoteListener:
    """A listener at the other side."""

    def __init__(self, address: ForwardTarget, close: Callable[[], None]) -> None:
        self.address: Final = address
        """Where it listens really."""
        self._close = close

    async def close(self) -> None:
        """Stop listening. Connections that were accepted go on."""
        self._close()


class _Waiting:
    """A listener of the other side that this one has asked for."""

    def __init__(self, where: ForwardTarget, accepted: Callable[[Flow, str], Awaitable[None]]) -> None:
        self.where = where
        self.accepted = accepted
        self.started: asyncio.Future[ForwardTarget] = asyncio.get_running_loop().create_future()


class Tunnel:
    """One side of a tunnel."""

    def __init__(
        self,
        stream: FrameStream,
        *,
        client: bool,
        service: TunnelService,
        closed: Callable[[FlowReport], None] = lambda report: None,
    ) -> None:
        """`closed` is called with each flow that is over, refused ones included."""
        self.mux: Final = Mux(client=client)
        self._exchange = FrameExchange(stream, self.mux, handle=self._handle, turn=self._take_turn)
        self._service = service
        self._report = closed
        self._loop = asyncio.get_running_loop()
        self._flows: dict[int, Flow] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._listeners: dict[int, LocalListener] = {}
        self._beginning: dict[int, asyncio.Task[None]] = {}
        """The tasks of the listeners that the other side has asked for and that do not listen yet."""
        self._serving: dict[int, asyncio.Task[None]] = {}
        """The tasks of the flows that the other side has opened."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: TunnelClosed | None = None

    # What its users call

    async def run(self) -> None:
        """Act until the stream ends, or `close` is called. Raises `ForwardWireError` if the other side does not keep to
        the protocol, and what the stream raises. Every flow and listener has ended when it returns."""
        try:
            await self._exchange.run()
        finally:
            await self._end()

    async def open(self, target: ForwardTarget, origin: str = "") -> Flow:
        """Have the other side connect, and return the connection. Raises `ForwardRefused`, `TunnelClosed`."""
        flow = self.begin(target, origin)
        await flow.opened()
        return flow

    def begin(self, target: ForwardTarget, origin: str = "") -> Flow:
        """Have the other side connect, but do not wait for it: what is sent before goes with the request. Whether it
        has connected is known once `Flow.opened` returns. Raises as `open`, for what is known at once."""
        self._check_open()
        number = self.mux.open(target, origin)
        datagrams = isinstance(target, InetTarget) and target.transport == "udp"
        return self._add(Flow(self, number, target, origin, ours=True, listener=False, datagrams=datagrams))

    async def listen(self, where: ForwardTarget, accepted: Callable[[Flow, str], Awaitable[None]]) -> RemoteListener:
        """Have the other side listen. `accepted` is called in a task of its own for each connection, with where it came
        from; it joins the flow to something, or raises `ForwardRefused`. Raises `ForwardRefused`, `TunnelClosed`."""
        self._check_open()
        number = self.mux.listen(where)
        waiting = self._waiting[number] = _Waiting(where, accepted)
        self.wake()
        close = partial(self._close_remote, number)
        try:
            return RemoteListener(await waiting.started, close)
        except BaseException:
            close()
            raise

    def close(self) -> None:
        """End the tunnel: `run` returns. Established connections are reset."""
        if self._ended is None:
            self._ended = TunnelClosed("the tunnel was closed")
            self._exchange.stop()

    def reports(self) -> list[FlowReport]:
        """Return what has become of the flows that are not over."""
        return [flow.report() for flow in self._flows.values()]

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended

    # What its flows call

    def wake(self) -> None:
        """Send what there is to send."""
        self._exchange.wake()

    def turn_wanted(self) -> None:
        """Send what there is to send; flows have their turns."""
        self._exchange.turn_wanted()

    def forget(self, flow: Flow) -> None:
        """A flow is over."""
        if self._flows.pop(flow.number, None) is not None:
            serving = self._serving.pop(flow.number, None)  # here: a task that is cancelled at once never runs
            if serving is not None and not flow.joined and serving is not asyncio.current_task():
                serving.cancel()  # it is still connecting
            self._report(flow.report())

    # The exchange of frames

    def _take_turn(self, number: int, credit: int) -> None:
        flow = self._flows.get(number)
        if flow is not None:
            flow.take_turn(credit)

    async def _end(self) -> None:
        """Stop and end everything."""
        self._ended = error = self._ended or TunnelClosed("the tunnel has ended")
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
        for waiting in self._waiting.values():
            if not waiting.started.done():
                waiting.started.set_exception(error)
                waiting.started.exception()
        self._waiting.clear()
        for flow in list(self._flows.values()):
            flow.was_cut(error)
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # Events

    def _handle(self, event: MuxEvent) -> None:
        match event:
            case FlowData(number, data):
                if flow := self._flows.get(number):
                    flow.data_received(data)
            case FlowEof(number):
                if flow := self._flows.get(number):
                    flow.eof_received()
            case FlowAccepted(number, address):
                if flow := self._flows.get(number):
                    flow.was_accepted(address)
            case FlowRefused(number, cause, message):
                self._refused(number, ForwardRefused(cause, message))
            case FlowReset(number):
                self._reset(number)
            case FlowAsked():
                self._asked(event)
            case ListenAsked(number, where):
                self._beginning[number] = self._start(self._listen(number, where))
            case ListenStarted(number, where):
                waiting = self._waiting.get(number)
                if waiting is not None and not waiting.started.done():
                    if isinstance(where, UnixTarget) is not isinstance(waiting.where, UnixTarget):
                        raise ForwardWireError(f"LISTENING: {where} is not where listener {number} was to be")
                    waiting.started.set_result(where)

    def _refused(self, number: int, error: ForwardRefused) -> None:
        if flow := self._flows.get(number):
            flow.was_refused(error)
        elif (waiting := self._waiting.pop(number, None)) and not waiting.started.done():
            waiting.started.set_exception(error)

    def _reset(self, number: int) -> None:
        if flow := self._flows.get(number):
            flow.was_reset()
        elif number in self._listeners:
            self._listeners.pop(number).close()
        elif beginning := self._beginning.pop(number, None):
            beginning.cancel()  # it may wait for a name server
        elif (waiting := self._waiting.pop(number, None)) and not waiting.started.done():
            waiting.started.set_exception(ForwardRefused("failed", "the other side has closed the listener"))

    def _asked(self, event: FlowAsked) -> None:
        target, origin, listener = event.opening
        if target is not None:
            flow = Flow(self, event.flow, target, origin, ours=False, listener=False, datagrams=event.datagrams)
            serve: Callable[[], Awaitable[None]] = partial(self._connect, flow, target)
        else:
            waiting = self._waiting[listener]
            flow = Flow(self, event.flow, waiting.where, origin, ours=False, listener=True, datagrams=event.datagrams)
            serve = partial(waiting.accepted, flow, origin)
        self._serving[event.flow] = self._start(self._guarded(self._add(flow), serve))

    def _add(self, flow: Flow) -> Flow:
        self._flows[flow.number] = flow
        self.wake()
        return flow

    async def _connect(self, flow: Flow, target: ForwardTarget) -> None:
        sock = await self._service.connect(target, flow.origin)
        flow.accept(peer_target(sock))
        await flow.relay(sock)

    async def _guarded(self, flow: Flow, serve: Callable[[], Awaitable[None]]) -> None:
        """Serve a flow that the other side has opened."""
        try:
            await serve()
        except ForwardRefused as error:
            flow.refuse(error.cause, str(error))
        except OSError as error:
            flow.refuse("failed", error.strerror or str(error))
        except BaseException:
            flow.refuse("failed", "the connection was given up")
            raise
        if not flow.joined:
            flow.refuse("failed", "the connection was given up")

    async def _listen(self, number: int, where: ForwardTarget) -> None:
        try:
            listener = await self._service.listen(where, partial(self._accepted, number, where))
        except ForwardRefused as error:
            self._listen_failed(number, error.cause, str(error))
            return
        except OSError as error:
            self._listen_failed(number, "failed", error.strerror or str(error))
            return
        del self._beginning[number]
        self._listeners[number] = listener
        self.mux.listening(number, listener.address)
        self.wake()

    def _listen_failed(self, number: int, cause: ForwardCause, message: str) -> None:
        del self._beginning[number]
        self.mux.refuse(number, cause, message)
        self.wake()

    async def _accepted(self, listener: int, where: ForwardTarget, connected: Connected, origin: str) -> None:
        """Open a flow for a connection that a listener of this side has accepted, and relay it."""
        local = self._listeners.get(listener)
        try:
            self._check_open()
            number = self.mux.open_accepted(listener, origin)
        except (ForwardRefused, TunnelClosed):
            return  # the listener resets the connection
        target = where if local is None else local.address
        datagrams = isinstance(where, InetTarget) and where.transport == "udp"
        flow = self._add(Flow(self, number, target, origin, ours=True, listener=True, datagrams=datagrams))
        with contextlib.suppress(ForwardRefused, OSError):
            await flow.relay(connected)

    def _close_remote(self, number: int) -> None:
        if self._waiting.pop(number, None) is not None:
            self.mux.reset(number)
            self.wake()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def peer_target(sock: socket.socket) -> ForwardTarget | None:
    """Return what a socket is connected to; None if that has no address."""
    try:
        peer = sock.getpeername()
    except OSError:
        return None
    if isinstance(peer, tuple):
        return InetTarget(peer[0], peer[1], "udp" if sock.type == socket.SOCK_DGRAM else "tcp")
    path = peer.encode() if isinstance(peer, str) else bytes(peer)
    return UnixTarget(path) if path and b"\0" not in path else None
