"""Whoever has not logged in holds few connections of the page's process, and keeps nobody out."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from farhand_client.logins import ConnectOptions
from farhand_client.web.access import WebAccess
from farhand_client.web.answers import WebPlace
from farhand_client.web.hosts import WebHost
from farhand_client.web.server import SUBPROTOCOL, web_server
from farhand_client.web.strangers import MAX_UNKNOWN_CONNECTIONS

TIMEOUT = 20.0


async def _answer(port: int, target: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), TIMEOUT)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_the_oldest_stranger_goes_and_a_session_stays(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    place = WebPlace((f"127.0.0.1:{port}",), port)
    host = WebHost(f"unix:{tmp_path}/nobody", ConnectOptions(timeout=TIMEOUT))
    async with web_server(listener, place, WebAccess(), {"here": host}) as web, AsyncExitStack() as stack:
        answer = await _answer(port, "/open?" + web.new_invitation().partition("?")[2])
        cookie = answer.partition(b"Set-Cookie: ")[2].partition(b";")[0].decode()
        page = await stack.enter_async_context(
            connect(
                f"ws://127.0.0.1:{port}/hosts/here/connection",
                origin=f"http://127.0.0.1:{port}",  # type: ignore[arg-type]  # a NewType of str
                subprotocols=[SUBPROTOCOL],
                additional_headers={"Cookie": cookie},
                proxy=None,
            )
        )
        idle = []
        for _ in range(MAX_UNKNOWN_CONNECTIONS + 2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            idle.append(reader)
        for reader in idle[:2]:
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), TIMEOUT) == b""
        assert len(web.strangers) == MAX_UNKNOWN_CONNECTIONS
        assert (await _answer(port, "/")).startswith(b"HTTP/1.1 401")
        assert not any(reader.at_eof() for reader in idle[4:])
        try:  # the page is still there, and judged by what it says
            await page.send("no hello")
            await asyncio.wait_for(page.recv(), TIMEOUT)
        except ConnectionClosed:
            assert page.close_code == 1002
