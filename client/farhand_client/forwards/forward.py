"""Forwards: listeners on this side or the other one, whose connections go through the client's tunnel."""

from __future__ import annotations

import asyncio
import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from farhand_client.connection.reconnecting import Backoff
from farhand_client.errors import FarhandError, ForwardError, TunnelLost
from farhand_client.home_loop import call_back, not_picklable
from farhand_forwards.accepting import Connected, LocalListener
from farhand_forwards.dialing import Dialer
from farhand_forwards.flow import Flow
from farhand_forwards.listening import listen_at
from farhand_forwards.targets import ForwardRefused, ForwardTarget, InetTarget, UnixTarget

from .client_tunnel import typed
from .reports import ForwardedConnection, ForwardEvent, ForwardEventKind, WatchForward

if TYPE_CHECKING:
    from .client_tunnel import ClientTunnel, Listening
    from .specs import ForwardSpec

RELISTEN_TIMEOUT: Final = 120.0
"""Seconds for which a lost remote listener is asked for again: as long as a client tries to reconnect by default."""

STEADY_TUNNEL: Final = 30.0
"""Seconds after which a tunnel was no failed attempt to have a listener again, and a new time begins."""


class Forward(ABC):
    """A forward of a client: made by `forward_local`, `forward_remote` and `forward_socks`; an async context manager.

    Leaving the context closes it: the listener, and the connections through it. It outlives cuts of the client's
    connection, and connections through it do so too. If the service's forward worker is lost (`TunnelLost`), its
    connections are reset, and the forward goes on with another worker.
    """

    def __init__(self, tunnel: ClientTunnel, spec: ForwardSpec, watch: WatchForward | None) -> None:
        self._tunnel = tunnel
        self.spec: Final = spec
        """What was asked for, in the form of ssh's command line."""
        self._purpose = str(spec)
        self._watch = watch
        self._connections: dict[ForwardedConnection, None] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._held = contextlib.ExitStack()
        self._listens = True
        self._closed = asyncio.Event()
        self._failure: FarhandError | None = None

    @classmethod
    async def begin(cls, tunnel: ClientTunnel, spec: ForwardSpec, watch: WatchForward | None) -> Self:
        """Listen. Raises `ForwardError`, `RequestRefused`, `ConnectionLost`, `TunnelLost`."""
        tunnel.connection.check_home()
        self = cls(tunnel, spec, watch)
        self._held.enter_context(tunnel.use())
        try:
            await self._listen()
        except BaseException:
            self._listens = False
            for task in self._tasks:  # it may have listened for a moment
                task.cancel()
            self._release_if_over()
            raise
        tunnel.on_close(self.close)
        return self

    @property
    @abstractmethod
    def address(self) -> ForwardTarget:
        """Where it listens."""

    @property
    def port(self) -> int:
        """The port on which it listens, also if any was asked for. Raises ValueError if it is on a Unix socket."""
        if isinstance(self.address, InetTarget):
            return self.address.port
        raise ValueError(f"this forward listens on the Unix socket {self.address}; ask for its path")

    @property
    def path(self) -> str:
        """The path of the Unix socket on which it listens. Raises ValueError if it is on a port."""
        if isinstance(self.address, UnixTarget):
            return os.fsdecode(self.address.path)
        raise ValueError(f"this forward listens on {self.address}; ask for its port")

    @property
    def connections(self) -> tuple[ForwardedConnection, ...]:
        """The connections through it now."""
        return tuple(self._connections)

    @property
    def listens(self) -> bool:
        """Whether new connections are forwarded."""
        return self._listens

    async def stop_listening(self) -> None:
        """Accept no further connections; those through it go on, and `wait_closed` waits for them."""
        self._tunnel.connection.check_home()
        if self._listens:
            self._listens = False
            await self._end_listener()
            self._release_if_over()

    async def close(self) -> None:
        """Listen no more, and reset the connections through it. Safe to call again."""
        await self.stop_listening()
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._closed.wait()

    async def wait_closed(self) -> None:
        """Wait until it does not listen and has no connections. Raises why it has failed, if it has."""
        await self._closed.wait()
        if self._failure is not None:
            raise self._failure

    @abstractmethod
    async def _listen(self) -> None:
        """Begin to listen."""

    @abstractmethod
    async def _end_listener(self) -> None:
        """Listen no more."""

    def _report(
        self, kind: ForwardEventKind, connection: ForwardedConnection | None = None, error: Exception | None = None
    ) -> None:
        if connection is not None:
            connection.error = error
        if self._watch is not None:
            call_back(self._watch, ForwardEvent(kind, connection, error))

    async def _serve(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` for a connection, in the task that was made for it; it is cancelled when the forward is closed.

        Raises `ForwardRefused` if the forward was closed before the task began.
        """
        if self._closed.is_set():
            work.close()
            raise ForwardRefused("failed", "the forward was closed")
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await work
        finally:
            self._tasks.discard(task)
            self._release_if_over()

    async def _relay(self, connection: ForwardedConnection, flow: Flow, connected: Connected) -> None:
        """Join a connection to its flow until both have ended, and report it."""
        connection.joined(flow)
        with self._reporting(connection):
            await flow.relay(connected)

    @contextlib.contextmanager
    def _reporting(self, connection: ForwardedConnection) -> Iterator[None]:
        """Report a connection that lasts as long as this context, and how it has ended."""
        self._connections[connection] = None
        error: Exception | None = None
        self._report("opened", connection)
        try:
            yield
        except (ForwardRefused, OSError) as failed:
            error = typed(failed)
        finally:
            del self._connections[connection]
            self._report("refused" if isinstance(error, ForwardError) else "closed", connection, error)

    def _release_if_over(self) -> None:
        """Hold the tunnel no longer than it is needed."""
        if not self._listens and not self._tasks and not self._closed.is_set():
            self._tunnel.forget(self.close)
            self._held.close()
            self._closed.set()

    def __repr__(self) -> str:
        state = f"on {self.address}" if self._listens else "listening no more"
        return f"<{type(self).__name__} {self.spec}: {state}, {len(self._connections)} connections>"

    def __reduce__(self) -> NoReturn:
        raise not_picklable("a forward")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class LocalForward(Forward):
    """Listens here; connections lead to a target that the service's machine connects to."""

    _listener: LocalListener

    @property
    def address(self) -> ForwardTarget:
        """Where it listens on this machine. Without a host, that is each loopback address."""
        return self._listener.address

    async def _listen(self) -> None:
        try:
            self._listener = await listen_at(self.spec.listen, self._accepted)
        except ForwardRefused as error:
            raise typed(error) from None
        try:
            await self._tunnel.start(self._purpose)
        except BaseException:
            self._listener.close()
            raise

    async def _end_listener(self) -> None:
        self._listener.close()

    async def _accepted(self, connected: Connected, origin: str) -> None:
        await self._serve(self._connect(connected, origin))

    async def _connect(self, connected: Connected, origin: str) -> None:
        target = self.spec.connect
        assert target is not None
        connection = ForwardedConnection(origin, target)
        try:
            flow = self._tunnel.begin(target, origin, self._purpose)
        except (FarhandError, OSError) as error:
            self._report("refused", connection, typed(error))
            return
        await self._relay(connection, flow, connected)


class RemoteForward(Forward):
    """Listens on the service's machine; connections lead to a target that is connected to from here.

    Once the worker that listens is lost, another one is asked to listen at the same address.
    """

    _listening: Listening
    _keeping: asyncio.Task[None]
    _listened: float
    _backoff: Backoff | None = None

    @property
    def address(self) -> ForwardTarget:
        """Where it listens on the service's machine. Without a host, that is each loopback address."""
        return self._listening.listener.address

    async def _listen(self) -> None:
        self._listening = await self._tunnel.listen(self.spec.listen, self._accepted, self._purpose)
        self._listened = asyncio.get_running_loop().time()
        self._keeping = asyncio.ensure_future(self._keep())
        self._tasks.add(self._keeping)
        self._keeping.add_done_callback(self._kept)

    async def _end_listener(self) -> None:
        self._keeping.cancel()
        await self._listening.listener.close()

    def _kept(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._release_if_over()

    async def _keep(self) -> None:
        """Listen again whenever the tunnel was lost."""
        while True:
            await asyncio.wait([self._listening.run.ended])
            why = self._listening.run.ended.result()
            if _may_pass(why):
                self._report("lost", error=why)
            failure = await self._listen_again(why)
            if failure is not None:
                self._failure = failure
                self._listens = False
                self._report("failed", error=failure)
                return
            self._report("restored")

    async def _listen_again(self, why: FarhandError) -> FarhandError | None:
        """Listen again after the tunnel was lost by `why`; if that cannot be, return why."""
        now = asyncio.get_running_loop().time
        if self._backoff is None or now() - self._listened > STEADY_TUNNEL:
            self._backoff = Backoff(now(), RELISTEN_TIMEOUT)
        while _may_pass(why) and (delay := self._backoff.delay(now())) is not None:
            await asyncio.sleep(delay)
            try:
                self._listening = await self._tunnel.listen(self.address, self._accepted, self._purpose)
            except FarhandError as error:
                why = error
            else:
                self._listened = now()
                return None
        return why

    async def _accepted(self, flow: Flow, origin: str) -> None:
        await self._serve(self._connect(flow, origin))

    async def _connect(self, flow: Flow, origin: str) -> None:
        target = self.spec.connect
        assert target is not None
        connection = ForwardedConnection(origin, target)
        try:
            sock = await Dialer(anywhere).connect(target)
        except ForwardRefused as error:
            self._report("refused", connection, typed(error))
            raise
        await self._relay(connection, flow, sock)


def anywhere(target: ForwardTarget, address: str | None) -> str | None:
    """Deny nothing: what this side connects to is what its own user has asked for."""
    return None


def _may_pass(why: FarhandError) -> bool:
    """Return whether another worker may listen: this one was lost, or another one still has the address."""
    return isinstance(why, TunnelLost) or (isinstance(why, ForwardError) and why.cause == "busy")
