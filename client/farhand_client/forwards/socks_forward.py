"""Forwards whose connections say themselves where they lead, by SOCKS."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

from farhand_client.errors import FarhandError
from farhand_forwards.accepting import Connected
from farhand_forwards.dialing import Dialer
from farhand_forwards.flow import Flow
from farhand_forwards.targets import ForwardRefused, InetTarget

from .client_tunnel import typed
from .forward import LocalForward, RemoteForward, anywhere
from .reports import ForwardedConnection
from .socks import SocksError
from .socks_server import SendAll, connect_and_answer, socks_request
from .socks_udp import relay_datagrams
from .splice import Streams, splice


class SocksForward(LocalForward):
    """A SOCKS server here, whose connections the service's machine makes."""

    async def _connect(self, connected: Connected, origin: str) -> None:
        assert isinstance(connected, socket.socket)
        connected.setblocking(False)
        loop = asyncio.get_running_loop()
        send: SendAll = partial(loop.sock_sendall, connected)
        connection = ForwardedConnection(origin, None)

        async def connect(target: InetTarget) -> Flow:
            connection.target = target
            return await self._tunnel.open(target, origin, self._purpose)

        flow = None
        try:
            request = await socks_request(partial(loop.sock_recv, connected), send)
            if request is not None and request.command == "associate":
                await relay_datagrams(connected, request, self._tunnel, origin, self._purpose)
            elif request is not None:
                flow = await connect_and_answer(request, send, connect, Flow.reset)
        except (SocksError, FarhandError) as error:
            self._report("refused", connection, error)
        finally:
            if flow is None:
                connected.close()  # in order, so that the answer arrives
        if flow is not None:
            await self._relay(connection, flow, connected)


class RemoteSocksForward(RemoteForward):
    """A SOCKS server on the service's machine, whose connections are made from here."""

    async def _connect(self, flow: Flow, origin: str) -> None:
        connection = ForwardedConnection(origin, None)
        connection.joined(flow)
        reader, writer = flow.streams()

        async def send(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        async def connect(target: InetTarget) -> Streams:
            connection.target = target
            try:
                sock = await Dialer(anywhere).connect(target)
            except ForwardRefused as error:
                raise typed(error) from None
            return await asyncio.open_connection(sock=sock)

        there = None
        try:
            request = await socks_request(reader.read, send)
            if request is not None:
                there = await connect_and_answer(request, send, connect, _abort)
        except (SocksError, FarhandError) as error:
            self._report("refused", connection, error)
        finally:
            if there is None:
                writer.close()
        if there is not None:
            with self._reporting(connection):
                await splice((reader, writer), there)


def _abort(streams: Streams) -> None:
    streams[1].transport.abort()
