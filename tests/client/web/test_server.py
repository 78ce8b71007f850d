"""The server of the page, with a client of the WebSocket library in place of a browser."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from farhand_client.logins import ConnectOptions
from farhand_client.web.access import WebAccess
from farhand_client.web.answers import WebPlace
from farhand_client.web.hosts import WebHost
from farhand_client.web.server import CLOSE_ENDED, CLOSE_SERVICE, CLOSE_UNKNOWN, SUBPROTOCOL, WebServer, web_server
from farhand_protocol.frames import Kind, encode_frame
from tests.support.service import Service, running_service

TIMEOUT = 20.0

HELLO = encode_frame(Kind.MESSAGE, 0, b'{"type":"hello"}')


@dataclass
class Served:
    """A running server and how to reach it."""

    web: WebServer
    address: str
    cookie: str = ""

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.address.rpartition(":")[2]))
        sent = {"Host": self.address, **headers}
        writer.write(
            f"GET {path} HTTP/1.1\r\n".encode() + "".join(f"{k}: {v}\r\n" for k, v in sent.items()).encode() + b"\r\n"
        )
        answer = await asyncio.wait_for(reader.read(), TIMEOUT)
        writer.close()
        head, _, content = answer.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        return int(first.split()[1]), dict(line.split(": ", 1) for line in rest), content

    async def log_in(self) -> None:
        status, headers, _ = await self.get("/open?" + self.web.new_invitation().partition("?")[2])
        assert status == 303
        self.cookie = headers["Set-Cookie"].partition(";")[0]

    def socket(self, path: str = "/hosts/here/connection", origin: str = "") -> connect:
        return connect(
            f"ws://{self.address}{path}",
            origin=origin or f"http://{self.address}",  # type: ignore[arg-type]  # a NewType of str
            subprotocols=[SUBPROTOCOL],
            additional_headers={"Cookie": self.cookie},
            proxy=None,
        )


@asynccontextmanager
async def serving(host: str, idle_time: float = 1000.0) -> AsyncIterator[Served]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    place = WebPlace((f"127.0.0.1:{port}",), port)
    hosts = {"here": WebHost(host, ConnectOptions(timeout=TIMEOUT))}
    async with web_server(listener, place, WebAccess(idle_time), hosts) as web:
        served = Served(web, f"127.0.0.1:{port}")
        await served.log_in()
        yield served


@pytest.fixture
async def served(service: Service) -> AsyncIterator[Served]:
    async with serving(service.host) as found:
        yield found


async def messages(page: ClientConnection, count: int) -> list[dict[str, object]]:
    """Read frames until there are so many messages."""
    data = b""
    found: list[dict[str, object]] = []
    while len(found) < count:
        data += await asyncio.wait_for(page.recv(decode=False), TIMEOUT)
        while len(data) >= 8 and len(data) >= (size := 8 + int.from_bytes(data[:3], "big")):
            found.append(json.loads(data[8:size]))
            data = data[size:]
    return found


async def closed(page: ClientConnection) -> int:
    with suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(page.recv(), TIMEOUT)
    assert page.close_code is not None
    return page.close_code


async def test_a_page_gets_a_service_that_has_identified_it(served: Served) -> None:
    async with served.socket() as page:
        await page.send(HELLO)
        welcome, accepted = await messages(page, 2)
        assert (welcome["type"], welcome["login"], accepted["type"]) == ("welcome", False, "accepted")
        assert "ticket" not in accepted
        await page.send(encode_frame(Kind.MESSAGE, 0, b'{"type":"ping","id":7}'))
        assert await messages(page, 1) == [{"type": "pong", "id": 7}]


async def test_each_page_has_a_connection_of_its_own(served: Served) -> None:
    for _ in range(3):
        async with served.socket() as page:
            await page.send(HELLO)
            await messages(page, 2)
            await page.send(encode_frame(Kind.MESSAGE, 1, b'{"type":"status"}'))
            (status,) = await messages(page, 1)
            assert status["connections"] == 1


async def test_frames_may_be_cut_anywhere(served: Served) -> None:
    async with served.socket() as page:
        await page.send(HELLO)
        await messages(page, 2)
        for byte in encode_frame(Kind.MESSAGE, 0, b'{"type":"ping","id":7}'):
            await page.send(bytes([byte]))
        assert await messages(page, 1) == [{"type": "pong", "id": 7}]


async def test_a_service_that_is_gone_is_told_as_an_error(tmp_path: Path) -> None:
    async with serving(f"unix:{tmp_path}/nobody") as served, served.socket() as page:
        await page.send(HELLO)
        (error,) = await messages(page, 1)
        assert (error["type"], error["code"]) == ("error", "unavailable")
        assert "nobody" in str(error["message"])
        assert await closed(page) == CLOSE_SERVICE


async def test_the_end_of_the_service_ends_the_page(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service, serving(service.host) as served, served.socket() as page:
        await page.send(HELLO)
        await messages(page, 2)
        await service.stop()
        assert await closed(page) == CLOSE_SERVICE


@pytest.mark.parametrize(
    "first", [b"", b"GET / HTTP/1.1\r\n\r\n", "text", encode_frame(Kind.MESSAGE, 1, b'{"type":"status"}')]
)
async def test_a_page_that_does_not_say_hello_gets_nothing(served: Served, first: bytes | str) -> None:
    async with served.socket() as page:
        await page.send(first)
        assert await closed(page) == 1002


async def test_nonsense_after_the_hello_is_judged_by_the_service(served: Served) -> None:
    async with served.socket() as page:
        await page.send(HELLO)
        await messages(page, 2)
        await page.send(encode_frame(Kind.MESSAGE, 0, b'{"type":"nonsense"}'))
        (error,) = await messages(page, 1)
        assert error["type"] == "error"
        assert await closed(page) == CLOSE_SERVICE


@pytest.mark.parametrize("path", ["/hosts/nowhere/connection", "/hosts/here", "/hosts/here/connection/", "/x", "/"])
async def test_there_is_nothing_else(served: Served, path: str) -> None:
    async with served.socket(path) as page:
        assert await closed(page) == CLOSE_UNKNOWN


async def test_logging_out_closes_all_connections_of_the_session_and_no_others(served: Served) -> None:
    async with served.socket() as first:
        await first.send(HELLO)
        await messages(first, 2)
        await served.log_in()
        async with served.socket() as other:
            await other.send(HELLO)
            await messages(other, 2)
            async with served.socket("/logout") as leaving:
                assert await closed(leaving) == CLOSE_ENDED
            assert await closed(other) == CLOSE_ENDED
        with pytest.raises(InvalidStatus):
            await served.socket()
        await first.send(encode_frame(Kind.MESSAGE, 0, b'{"type":"ping","id":1}'))
        assert await messages(first, 1) == [{"type": "pong", "id": 1}]


async def test_what_a_page_does_by_itself_keeps_no_session(service: Service) -> None:
    async with serving(service.host, idle_time=1.0) as served, served.socket() as page:
        await page.send(HELLO)
        await messages(page, 2)

        async def keep_pinging() -> None:
            number = 0
            while True:
                number += 1
                await page.send(encode_frame(Kind.MESSAGE, 0, b'{"type":"ping","id":%d}' % number))
                await messages(page, 1)

        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(keep_pinging(), TIMEOUT)
        assert page.close_code == CLOSE_ENDED


async def test_a_foreign_origin_and_a_wrong_cookie_open_nothing(served: Served) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await served.socket(origin="http://evil.example")
    assert caught.value.response.status_code == 403
    served.cookie = "farhand-1=x"
    with pytest.raises(InvalidStatus) as caught:
        await served.socket()
    assert caught.value.response.status_code == 401


async def test_files_are_sent_with_their_length_and_the_connection_ends(served: Served) -> None:
    status, headers, content = await served.get("/app.js", Cookie=served.cookie)
    assert (status, int(headers["Content-Length"]), headers["Connection"]) == (200, len(content), "close")
    assert "Server" not in headers
    assert (await served.get("/app.js"))[0] == 404


async def test_a_repeated_header_counts_as_none(served: Served) -> None:
    host = f"{served.address}\r\nHost: {served.address}"
    assert (await served.get("/", Host=host, Cookie=served.cookie))[0] in (400, 421)


@pytest.mark.parametrize("target", ["/open?a&b=1&c=2&d=3&e=4&f=5", "//[", "/\x7f", "/open?" + "a" * 7000])
async def test_a_request_of_a_stranger_is_refused_without_a_word_on_the_terminal(
    served: Served, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, _, _ = await served.get(target)
    assert status in (401, 404)
    assert caplog.records == []
