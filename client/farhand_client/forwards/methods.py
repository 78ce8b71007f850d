"""`Client.forward_local` and what else goes through a client's tunnel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, overload

from farhand_client.arguments import as_callback, as_count
from farhand_client.pending import Pending

if TYPE_CHECKING:
    import asyncio
    import socket

    from farhand_client.connection.reconnecting import ReconnectingConnection
    from farhand_client.options import Argument
    from farhand_forwards.targets import Transport

    from .client_tunnel import ClientTunnel
    from .forward import Forward, LocalForward, RemoteForward
    from .reports import WatchForward
    from .socks_forward import RemoteSocksForward, SocksForward
    from .specs import ForwardSpec

MAX_STREAM_LINE: Final = 64 * 1024
"""Bytes of a line for a `StreamReader`, as in asyncio."""


class ForwardMethods:
    """The part of `Client` that forwards connections.

    They all go through one tunnel: a run of the service's forward worker, which is the user there. Like every run it
    outlives a cut of the connection, and so does every connection through it.
    """

    _connection: ReconnectingConnection
    _client_tunnel: ClientTunnel | None = None

    def forward_local(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        path: Argument | None = None,
        listen_host: str | None = None,
        listen_port: int = 0,
        listen_path: Argument | None = None,
        transport: Transport = "tcp",
        watch: WatchForward | None = None,
    ) -> Pending[LocalForward]:
        """Listen here, and forward connections to what the service's machine reaches, as `ssh -L` does:

            async with client.forward_local("db.internal", 5432) as forward:
                ...  # connect to port forward.port of localhost

        The target is `host` and `port`, which the service's machine resolves and connects to, or the `path` of a Unix
        socket there. The listener is on the loopback addresses, or on `listen_host` (`"*"`: all), at `listen_port` or,
        if that is 0, at any port that is free; or at `listen_path`, a Unix socket that only the user can connect to.
        With `transport="udp"` datagrams are forwarded, with their boundaries.

        A connection outlives a cut of the client's connection to the service. If the target refuses it, the program
        that made it gets a reset (RST) at once. `watch` is called with each `ForwardEvent`.

        Raises `ForwardError` if the address is in use (`cause` is `busy`), `RequestRefused` if the service does not
        know forwards or does not allow any, `ConnectionLost`, and TypeError and ValueError for impossible arguments.
        """
        from .endpoints import listener_of, target_of
        from .forward import LocalForward
        from .specs import ForwardSpec

        as_callback(watch, "watch")
        target = target_of(host, port, path, transport)
        spec = ForwardSpec("-L", listener_of(listen_host, listen_port, listen_path, transport), target)
        return Pending(LocalForward.begin(self.tunnel(), spec, watch))

    def forward_remote(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        path: Argument | None = None,
        listen_host: str | None = None,
        listen_port: int = 0,
        listen_path: Argument | None = None,
        transport: Transport = "tcp",
        watch: WatchForward | None = None,
    ) -> Pending[RemoteForward]:
        """Listen on the service's machine, and forward connections to what this machine reaches, as `ssh -R` does:

            async with client.forward_remote("localhost", 8080) as forward:
                ...  # on the service's machine, port forward.port leads to port 8080 here

        The arguments are those of `forward_local`, with the sides changed. If the service's forward worker is lost,
        the next one listens at the same address again, within two minutes or not at all (the events `lost`, `restored`
        and `failed`). Raises as `forward_local`.
        """
        from .endpoints import listener_of, target_of
        from .forward import RemoteForward
        from .specs import ForwardSpec

        as_callback(watch, "watch")
        target = target_of(host, port, path, transport)
        spec = ForwardSpec("-R", listener_of(listen_host, listen_port, listen_path, transport), target)
        return Pending(RemoteForward.begin(self.tunnel(), spec, watch))

    @overload
    def forward_socks(
        self,
        *,
        listen_host: str | None = None,
        listen_port: int = 0,
        remote: Literal[False] = False,
        watch: WatchForward | None = None,
    ) -> Pending[SocksForward]: ...
    @overload
    def forward_socks(
        self,
        *,
        listen_host: str | None = None,
        listen_port: int = 0,
        remote: Literal[True],
        watch: WatchForward | None = None,
    ) -> Pending[RemoteSocksForward]: ...
    def forward_socks(
        self,
        *,
        listen_host: str | None = None,
        listen_port: int = 0,
        remote: bool = False,
        watch: WatchForward | None = None,
    ) -> Pending[Any]:
        """Listen here as a SOCKS server, whose connections the service's machine makes, as `ssh -D` does.

        It speaks SOCKS5 without authentication, with CONNECT and UDP ASSOCIATE, SOCKS4 and SOCKS4a. Names are resolved
        by the service's machine. With `remote` the listener is there, and connections are made from here, as by
        `ssh -R` without a target. The other arguments and the errors are those of `forward_local`.
        """
        from .endpoints import listener_of
        from .socks_forward import RemoteSocksForward, SocksForward
        from .specs import ForwardSpec

        as_callback(watch, "watch")
        where = listener_of(listen_host, listen_port, None, "tcp")
        if remote:
            return Pending(RemoteSocksForward.begin(self.tunnel(), ForwardSpec("-R", where, None), watch))
        return Pending(SocksForward.begin(self.tunnel(), ForwardSpec("-D", where, None), watch))

    def forward(self, spec: ForwardSpec, *, watch: WatchForward | None = None) -> Pending[Forward]:
        """Forward as `spec` says, which `farhand_client.forwards.specs.parse_spec` makes of what ssh's command line
        has. Raises as `forward_local`."""
        from .forward import LocalForward, RemoteForward
        from .socks_forward import RemoteSocksForward, SocksForward

        as_callback(watch, "watch")
        kind: type[Forward]
        if spec.connect is None:
            kind = RemoteSocksForward if spec.flag == "-R" else SocksForward
        else:
            kind = RemoteForward if spec.flag == "-R" else LocalForward
        return Pending(kind.begin(self.tunnel(), spec, watch))

    async def open_connection(
        self, host: str, port: int, *, limit: int = MAX_STREAM_LINE
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect from the service's machine to `host` and `port`: `reader, writer = await client.open_connection(…)`.

        The streams are asyncio's own, as those of `asyncio.open_connection`, `writer.start_tls` included. The
        connection outlives a cut of the client's connection to the service. `get_extra_info("peername")` is the address
        that was really connected to. If the service's forward worker is lost, reading raises `TunnelLost`: the end of
        the data is always its true end.

        Raises `ForwardError` if there is no connection, and otherwise as `forward_local`.
        """
        from .endpoints import target_of
        from .streams import open_streams

        return await open_streams(self.tunnel(), target_of(host, port, None, "tcp"), as_count(limit, "limit", 1))

    async def open_unix_connection(
        self, path: Argument, *, limit: int = MAX_STREAM_LINE
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the Unix socket `path` of the service's machine, as its user there. As `open_connection`."""
        from .endpoints import target_of
        from .streams import open_streams

        return await open_streams(self.tunnel(), target_of(None, None, path, "tcp"), as_count(limit, "limit", 1))

    async def open_socket(
        self, host: str | None = None, port: int | None = None, *, path: Argument | None = None
    ) -> socket.socket:
        """Connect from the service's machine, and return a plain connected socket, for libraries that want to have one.

        It is one of two TCP sockets that are connected with each other on this machine; the event loop copies between
        the other one and the connection. So a thread may block on it, but not the loop's own; it is non-blocking as it
        is returned. If the connection is lost, the socket is reset. Raises as `open_connection`.
        """
        from .endpoints import target_of
        from .streams import open_socket

        return await open_socket(self.tunnel(), target_of(host, port, path, "tcp"))

    def tunnel(self) -> ClientTunnel:
        """Return the client's tunnel, which begins with the first connection or forward."""
        if self._client_tunnel is None:
            from .client_tunnel import ClientTunnel

            self._client_tunnel = ClientTunnel(self._connection)
        return self._client_tunnel

    async def _close_forwards(self) -> None:
        if self._client_tunnel is not None and not self._connection.home.in_child:
            await self._client_tunnel.close()
