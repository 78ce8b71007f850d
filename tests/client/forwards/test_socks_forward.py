"""Real programs reach targets of either side through a SOCKS server on the other."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from farhand_client import ForwardError, ForwardEvent
from farhand_client.forwards import socks_server
from farhand_client.forwards.socks import SocksDatagram, SocksError, SocksRequest, datagram_from
from farhand_forwards.targets import InetTarget
from tests.support.fake_forward_worker import FakeWorkers, forwarding_client, target

SIDES = pytest.mark.parametrize("remote", [False, True], ids=["local", "remote"])


async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one HTTP request."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npage")
    writer.close()
    await writer.wait_closed()


async def curl(option: str, proxy: int, url: str) -> tuple[int, bytes]:
    """Fetch `url` through a proxy; return the exit code and what it writes."""
    command = ["curl", "-sS", "--max-time", "30", "--noproxy", "", option, f"127.0.0.1:{proxy}", url]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output


@pytest.mark.needs("curl")
@SIDES
async def test_curl_fetches_a_page_by_every_version_and_family(tmp_path: Path, remote: bool) -> None:
    async with (
        forwarding_client(tmp_path, FakeWorkers().behave) as client,
        target(page) as ipv4,
        target(page, "::1") as ipv6,
        client.forward_socks(listen_host="127.0.0.1", remote=remote) as forward,  # type: ignore[call-overload]
    ):
        for option in ("--socks5-hostname", "--socks5", "--socks4", "--socks4a"):
            for host in ("127.0.0.1", "localhost"):
                assert await curl(option, forward.port, f"http://{host}:{ipv4}/") == (0, b"page")
        for option in ("--socks5-hostname", "--socks5"):
            assert await curl(option, forward.port, f"http://[::1]:{ipv6}/") == (0, b"page")


@pytest.mark.needs("curl")
@SIDES
async def test_curl_is_told_why_a_target_cannot_be_reached(tmp_path: Path, remote: bool) -> None:
    events: list[ForwardEvent] = []
    async with forwarding_client(tmp_path, FakeWorkers().behave) as client:
        async with target() as port:
            pass
        async with client.forward_socks(listen_host="127.0.0.1", remote=remote, watch=events.append) as forward:  # type: ignore[call-overload]
            code, said = await curl("--socks5-hostname", forward.port, f"http://127.0.0.1:{port}/")
            assert (code, b"(5)" in said) == (97, True), said
            code, said = await curl("--socks5-hostname", forward.port, "http://nowhere.invalid/")
            assert (code, b"(4)" in said) == (97, True), said
            code, said = await curl("--socks4a", forward.port, f"http://127.0.0.1:{port}/")
            assert (code, b"91" in said or b"rejected" in said) == (97, True), said
        errors = [event.error for event in events if event.kind == "refused"]
        assert [error.cause for error in errors if isinstance(error, ForwardError)] == [
            "refused",
            "unresolved",
            "refused",
        ]


async def ask(port: int, data: bytes, *, end: bool = True) -> bytes:
    """Say `data` to a SOCKS server and return all that it answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    if end:
        writer.write_eof()
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := await reader.read(100):
            answer += chunk
    writer.close()
    return answer


@SIDES
async def test_what_is_no_request_is_answered_and_reported(tmp_path: Path, remote: bool) -> None:
    events: list[ForwardEvent] = []
    async with (
        forwarding_client(tmp_path, FakeWorkers().behave) as client,
        client.forward_socks(listen_host="127.0.0.1", remote=remote, watch=events.append) as forward,  # type: ignore[call-overload]
    ):
        assert await ask(forward.port, b"GET / HTTP/1.1\r\n\r\n") == b""
        assert await ask(forward.port, b"\x05\x01\x02") == b"\x05\xff"
        bind = b"\x05\x01\x00\x05\x02\x00\x01\x01\x02\x03\x04\x00\x15"
        assert await ask(forward.port, bind) == b"\x05\x00\x05\x07\x00\x01" + bytes(6)
        port_0 = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00"
        assert await ask(forward.port, port_0) == b"\x05\x00\x05\x01\x00\x01" + bytes(6)
        assert await ask(forward.port, b"\x05\x01") == b""
    texts = [str(event.error) for event in events if event.kind == "refused"]
    assert len(texts) == 4
    assert "speaks HTTP" in texts[0]
    assert "BIND" in texts[2]


async def test_a_program_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socks_server, "SOCKS_TIMEOUT", 0.01)
    events: list[ForwardEvent] = []
    async with (
        forwarding_client(tmp_path, FakeWorkers().behave) as client,
        client.forward_socks(listen_host="127.0.0.1", watch=events.append) as forward,
    ):
        assert await ask(forward.port, b"\x05", end=False) == b""
        assert isinstance(events[0].error, SocksError)
        assert "has not said" in str(events[0].error)


async def test_what_follows_the_request_at_once_reaches_the_target(tmp_path: Path) -> None:
    async with (
        forwarding_client(tmp_path, FakeWorkers().behave) as client,
        target() as port,
        client.forward_socks(listen_host="127.0.0.1") as forward,
    ):
        request = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2)
        granted = b"\x05\x00\x05\x00\x00\x01" + bytes(6)
        assert await ask(forward.port, request + b"hello") == granted + b"hello end"


async def associated(port: int, request_port: int = 0) -> tuple[asyncio.StreamWriter, tuple[str, int]]:
    """Ask for an association, and return its control connection and where to send datagrams."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(4) + request_port.to_bytes(2))
    answer = await reader.readexactly(12)
    assert answer[:6] == b"\x05\x00\x05\x00\x00\x01"
    return writer, (socket.inet_ntoa(answer[6:10]), int.from_bytes(answer[10:]))


def udp(host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((host, 0))
    return sock


async def test_datagrams_of_an_association_reach_their_targets_and_come_back(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with udp() as ipv4, udp("::1") as ipv6, udp() as program, udp() as stranger:
        async with (
            forwarding_client(tmp_path, FakeWorkers().behave) as client,
            client.forward_socks(listen_host="127.0.0.1") as forward,
        ):
            control, relay = await associated(forward.port, program.getsockname()[1])
            for server in (ipv4, ipv6):
                host, port = server.getsockname()[:2]
                stranger.sendto(SocksDatagram(host, port, b"not mine").encoded(), relay)
                program.sendto(b"nonsense", relay)
                for data in (b"question", b""):
                    program.sendto(SocksDatagram(host, port, data).encoded(), relay)
                    asked, peer = await loop.sock_recvfrom(server, 1 << 16)
                    assert asked == data
                    server.sendto(b"answer", peer)
                    answer = datagram_from(await loop.sock_recv(program, 1 << 16))
                    assert answer == SocksDatagram(host, port, b"answer")
            control.close()
            await control.wait_closed()


async def test_an_association_ends_with_its_control_connection_and_with_the_forward(tmp_path: Path) -> None:
    workers = FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client:
        forward = await client.forward_socks(listen_host="127.0.0.1")
        control, _ = await associated(forward.port)
        kept, _ = await associated(forward.port)
        control.close()
        await control.wait_closed()
        await forward.close()
        kept.close()
        assert workers.tunnels[0].reports() == []


@SIDES
async def test_connections_say_where_they_lead(tmp_path: Path, remote: bool) -> None:
    async with (
        forwarding_client(tmp_path, FakeWorkers().behave) as client,
        target() as port,
        client.forward_socks(listen_host="127.0.0.1", remote=remote) as forward,  # type: ignore[call-overload]
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
        writer.write(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2) + b"x")
        assert (await reader.readexactly(13))[-1:] == b"x"
        (connection,) = forward.connections
        assert connection.target == InetTarget("127.0.0.1", port)
        writer.close()


@SIDES
async def test_a_connection_that_nobody_waits_for_any_more_is_given_up(
    tmp_path: Path, remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()

    async def wait_for_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        ended.set()

    def gone(*words: object) -> bytes:
        raise ConnectionResetError("the program has gone")

    monkeypatch.setattr(SocksRequest, "answer", gone)
    async with (
        forwarding_client(tmp_path, FakeWorkers().behave) as client,
        target(wait_for_the_end) as port,
        client.forward_socks(listen_host="127.0.0.1", remote=remote) as forward,  # type: ignore[call-overload]
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", forward.port)
        writer.write(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2))
        async with asyncio.timeout(20):
            await ended.wait()
        writer.close()
