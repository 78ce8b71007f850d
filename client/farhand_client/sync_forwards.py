"""Forwards and connections through them, in the blocking API."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self

from .client import Client
from .forwards.methods import ForwardMethods
from .sync_wrapper import SyncWrapper, Wraps

if TYPE_CHECKING:
    import socket

    from farhand_forwards.targets import ForwardTarget

    from .forwards.forward import Forward
    from .forwards.reports import ForwardedConnection, WatchForward
    from .options import Argument

_P = ParamSpec("_P")


class SyncForward(SyncWrapper["Forward"]):
    """A `farhand_client.forwards.forward.Forward` whose methods block. Connections go on in another thread."""

    _name = "a forward"

    @property
    def address(self) -> ForwardTarget:
        """Where it listens."""
        return self._inner.address

    @property
    def port(self) -> int:
        """The port on which it listens. Raises ValueError if it is on a Unix socket."""
        return self._inner.port

    @property
    def path(self) -> str:
        """The path of the Unix socket on which it listens. Raises ValueError if it is on a port."""
        return self._inner.path

    @property
    def connections(self) -> tuple[ForwardedConnection, ...]:
        """The connections through it now."""
        return self._inner.connections

    @property
    def listens(self) -> bool:
        """Whether new connections are forwarded."""
        return self._inner.listens

    def stop_listening(self) -> None:
        """Accept no further connections; those through it go on, and `wait_closed` waits for them."""
        self._loop_thread.call(self._inner.stop_listening())

    def wait_closed(self) -> None:
        """Wait until it does not listen and has no connections. Raises why it has failed, if it has."""
        self._loop_thread.call(self._inner.wait_closed())

    def close(self) -> None:
        """Listen no more, and reset the connections through it. A forked child does nothing: they are its parent's."""
        if not self._loop_thread.in_child:
            self._loop_thread.call(self._inner.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _forwarding(
    method: Callable[Concatenate[ForwardMethods, _P], Coroutine[Any, Any, Forward]],
) -> Callable[Concatenate[Wraps[Any], _P], SyncForward]:
    @functools.wraps(method)
    def call(self: Wraps[Any], /, *args: _P.args, **kwargs: _P.kwargs) -> SyncForward:
        return SyncForward(self._loop_thread.call(method(self._inner, *args, **kwargs)), self._loop_thread)

    return call


class SyncForwardMethods(SyncWrapper[Client]):
    """The part of a blocking `Client` that forwards connections. `watch` is called in another thread."""

    forward_local = _forwarding(ForwardMethods.forward_local)
    forward_remote = _forwarding(ForwardMethods.forward_remote)
    forward = _forwarding(ForwardMethods.forward)

    def forward_socks(
        self,
        *,
        listen_host: str | None = None,
        listen_port: int = 0,
        remote: bool = False,
        watch: WatchForward | None = None,
    ) -> SyncForward:
        """Do as `farhand_client.client.Client.forward_socks`."""
        made = partial(self._inner.forward_socks, listen_host=listen_host, listen_port=listen_port, watch=watch)
        pending: Coroutine[Any, Any, Forward] = made(remote=True) if remote else made()
        return SyncForward(self._loop_thread.call(pending), self._loop_thread)

    def open_connection(self, host: str, port: int) -> socket.socket:
        """Connect from the service's machine to `host` and `port`, and return a socket that blocks.

        If the connection is lost, the socket is reset: the end of the data is always its true end. Raises
        `ForwardError`, `TunnelLost`, `RequestRefused` and `ConnectionLost` as the method of the asyncio API.
        """
        return self._blocking_socket(self._inner.open_socket(host, port))

    def open_unix_connection(self, path: Argument) -> socket.socket:
        """Connect to the Unix socket `path` of the service's machine, as its user there. As `open_connection`."""
        return self._blocking_socket(self._inner.open_socket(path=path))

    def _blocking_socket(self, opening: Coroutine[Any, Any, socket.socket]) -> socket.socket:
        opened = self._loop_thread.call(opening)
        opened.setblocking(True)
        return opened
