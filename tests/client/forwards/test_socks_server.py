"""The I/O of a SOCKS handshake: nothing that follows a request is read, and each request has one answer."""

from __future__ import annotations

import asyncio

import pytest

from farhand_client import ForwardError, TunnelLost
from farhand_client.forwards import socks_server
from farhand_client.forwards.socks import SocksError, SocksRequest
from farhand_client.forwards.socks_server import connect_and_answer, socks_request
from farhand_forwards.targets import InetTarget

REQUEST = SocksRequest(5, "connect", "web", 80)
ZEROS = b"\x00\x01" + bytes(6)


class Program:
    """A program that says something and keeps what it is answered."""

    def __init__(self, said: bytes = b"") -> None:
        self.said = said
        self.answers = b""

    async def receive(self, size: int) -> bytes:
        """Return what the program says next."""
        data, self.said = self.said[:size], self.said[size:]
        return data

    async def send(self, data: bytes) -> None:
        """Keep an answer."""
        self.answers += data


async def test_a_request_is_returned_and_what_follows_is_left_alone() -> None:
    program = Program(b"\x05\x01\x00\x05\x01\x00\x03\x03web\x00\x50hello")
    assert await socks_request(program.receive, program.send) == REQUEST
    assert (program.answers, program.said) == (b"\x05\x00", b"hello")


async def test_a_program_that_goes_away_has_no_request() -> None:
    program = Program(b"\x05\x01\x00\x05")
    assert await socks_request(program.receive, program.send) is None


async def test_nonsense_is_answered_before_it_is_an_error() -> None:
    program = Program(b"\x05\x01\x02")
    with pytest.raises(SocksError, match="password"):
        await socks_request(program.receive, program.send)
    assert program.answers == b"\x05\xff"


async def test_silence_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socks_server, "SOCKS_TIMEOUT", 0.0)

    async def silent(size: int) -> bytes:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # it never returns

    with pytest.raises(SocksError, match="has not said"):
        await socks_request(silent, Program().send)


async def test_a_connection_is_granted() -> None:
    program = Program()
    targets: list[InetTarget] = []

    async def connect(target: InetTarget) -> str:
        targets.append(target)
        return "connected"

    assert await connect_and_answer(REQUEST, program.send, connect, print) == "connected"
    assert targets == [InetTarget("web", 80)]
    assert program.answers == b"\x05\x00" + ZEROS


@pytest.mark.parametrize(
    ("error", "code"), [(ForwardError("denied", "no"), 2), (ForwardError("timeout", "no"), 6), (TunnelLost("gone"), 1)]
)
async def test_an_error_is_answered_and_raised(error: Exception, code: int) -> None:
    program = Program()

    async def connect(target: InetTarget) -> str:
        raise error

    with pytest.raises(type(error)):
        await connect_and_answer(REQUEST, program.send, connect, print)
    assert program.answers == bytes((5, code)) + ZEROS


@pytest.mark.parametrize(
    ("request_", "code"), [(REQUEST._replace(command="bind"), 7), (REQUEST._replace(port=0), 1)], ids=["bind", "port 0"]
)
async def test_what_is_not_served_is_refused_without_connecting(request_: SocksRequest, code: int) -> None:
    program = Program()

    async def connect(target: InetTarget) -> str:
        raise AssertionError("nothing is to be connected")

    with pytest.raises(SocksError):
        await connect_and_answer(request_, program.send, connect, print)
    assert program.answers == bytes((5, code)) + ZEROS


async def test_a_connection_whose_program_is_gone_before_the_answer_is_given_up() -> None:
    given_up: list[str] = []

    async def gone(data: bytes) -> None:
        raise ConnectionResetError

    async def connect(target: InetTarget) -> str:
        return "connected"

    with pytest.raises(ConnectionResetError):
        await connect_and_answer(REQUEST, gone, connect, given_up.append)
    assert given_up == ["connected"]
