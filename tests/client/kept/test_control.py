"""A kept process answers its own user, and nobody who sends nonsense, too much or nothing holds it up."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from typing import Any

import pytest

from farhand_client.errors import ConnectionLost
from farhand_client.kept import ask as asking
from farhand_client.kept import control
from farhand_client.kept.ask import ask
from farhand_client.kept.control import ControlServer
from farhand_client.kept.place import KeptError, KeptPlace, kept_place
from farhand_client.kept.requests import MAX_CONTROL_LINE, ControlRequest

TIMEOUT = 20.0


class Answering:
    """Answers requests as a test says, and records them."""

    def __init__(self) -> None:
        self.requests: list[ControlRequest] = []
        self.answer: dict[str, Any] | Exception = {"host": "web"}

    async def __call__(self, request: ControlRequest) -> dict[str, Any]:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def place() -> KeptPlace:
    return kept_place("web")


@pytest.fixture
async def answering(place: KeptPlace) -> AsyncIterator[Answering]:
    answering = Answering()
    server = ControlServer(place.socket, answering)
    yield answering
    await server.close()


async def raw(place: KeptPlace, data: bytes, *, end: bool = False) -> bytes:
    """Send bytes and return what is answered."""
    reader, writer = await asyncio.open_unix_connection(place.socket, limit=2 * MAX_CONTROL_LINE)
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        async with asyncio.timeout(TIMEOUT):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_request_is_answered_with_a_report(place: KeptPlace, answering: Answering) -> None:
    for _ in range(3):
        report = await asyncio.to_thread(ask, place, ControlRequest("list"), TIMEOUT)
        assert report == {"host": "web"}
    assert answering.requests == [ControlRequest("list")] * 3


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConnectionLost("the connection is lost"), "the connection is lost"),
        (ValueError("no forward"), "no forward"),
        (ZeroDivisionError("division by zero"), "division by zero"),
    ],
)
async def test_what_fails_is_told_to_who_asks(
    place: KeptPlace, answering: Answering, error: Exception, sentence: str
) -> None:
    answering.answer = error
    with pytest.raises(KeptError, match=sentence):
        await asyncio.to_thread(ask, place, ControlRequest("list"), TIMEOUT)
    answering.answer = {}
    assert await asyncio.to_thread(ask, place, ControlRequest("list"), TIMEOUT) == {}


async def test_nonsense_is_answered_with_an_error(place: KeptPlace, answering: Answering) -> None:
    assert b'"error"' in await raw(place, b"nonsense\n")
    assert await raw(place, b"no newline", end=True) == b""
    assert await raw(place, b"x" * (MAX_CONTROL_LINE + 100_000)) == b""
    assert answering.requests == []


async def test_who_says_nothing_is_given_up(
    place: KeptPlace, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "CONTROL_REQUEST_TIMEOUT", 0.01)
    assert await raw(place, b"") == b""


async def test_another_user_is_not_answered(
    place: KeptPlace, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "peer", lambda connection: (1, 12345))
    assert await raw(place, ControlRequest("end").encode()) == b""
    assert answering.requests == []


async def test_another_users_process_is_not_asked(
    place: KeptPlace, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "peer", lambda connection: (1, 12345))
    with pytest.raises(KeptError, match="belongs to another user"):
        await asyncio.to_thread(ask, place, ControlRequest("list"), TIMEOUT)


async def test_the_socket_is_for_its_user_alone(place: KeptPlace, answering: Answering) -> None:
    assert stat.S_IMODE(place.socket.stat().st_mode) == 0o600


async def test_the_mask_of_new_files_stays_and_the_socket_goes_with_the_server(place: KeptPlace) -> None:
    before = os.umask(0o027)
    try:
        server = ControlServer(place.socket, Answering())
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert place.socket.exists()
    await server.close()
    assert not place.socket.exists()


async def test_no_more_callers_are_answered_at_once_than_the_bound(
    place: KeptPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "MAX_CONTROL_CALLERS", 2)
    began: asyncio.Queue[None] = asyncio.Queue()
    go_on = asyncio.Event()

    async def slow(request: ControlRequest) -> dict[str, Any]:
        began.put_nowait(None)
        await go_on.wait()
        return {"slow": True}

    server = ControlServer(place.socket, slow)
    asked = [asyncio.ensure_future(raw(place, ControlRequest("list").encode())) for _ in range(3)]
    for _ in range(2):
        await began.get()
    for _ in range(20):
        await asyncio.sleep(0)
    assert began.empty()
    go_on.set()
    assert await asyncio.gather(*asked) == [b'{"ok": {"slow": true}}\n'] * 3
    await server.close()


async def test_more_callers_than_are_served_at_once_all_get_an_answer(place: KeptPlace, answering: Answering) -> None:
    idle = [await asyncio.open_unix_connection(place.socket) for _ in range(control.MAX_CONTROL_CALLERS)]
    asked = asyncio.ensure_future(asyncio.to_thread(ask, place, ControlRequest("list"), TIMEOUT))
    for _, writer in idle:
        writer.close()
    assert await asked == {"host": "web"}


async def test_who_is_being_answered_gets_the_answer_at_the_end(place: KeptPlace) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: ControlRequest) -> dict[str, Any]:
        began.set()
        await go_on.wait()
        return {"slow": True}

    server = ControlServer(place.socket, slow)
    asked = asyncio.ensure_future(asyncio.to_thread(ask, place, ControlRequest("end"), TIMEOUT))
    await began.wait()
    closing = asyncio.ensure_future(server.close())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not closing.done()
    go_on.set()
    await closing
    assert await asked == {"slow": True}


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b'{"ok": 1}\n', b"x" * (MAX_CONTROL_LINE + 1)])
async def test_a_process_that_answers_nonsense_is_reported(place: KeptPlace, answer: bytes) -> None:
    loop = asyncio.get_running_loop()

    async def be_process(listening: socket.socket) -> None:
        connection, _ = await loop.sock_accept(listening)
        with connection:
            connection.setblocking(False)
            await loop.sock_recv(connection, 65536)
            await loop.sock_sendall(connection, answer)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place.socket))
        listening.listen()
        listening.setblocking(False)
        asked = asyncio.ensure_future(asyncio.to_thread(ask, place, ControlRequest("list"), TIMEOUT))
        serving = asyncio.ensure_future(be_process(listening))
        with pytest.raises(KeptError, match="process of the kept forwards"):
            await asked
        await asyncio.wait([serving])


async def test_a_process_that_does_not_answer_is_given_up(place: KeptPlace) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place.socket))
        listening.listen()
        with pytest.raises(KeptError, match=r"did not answer within 0.05 seconds"):
            await asyncio.to_thread(ask, place, ControlRequest("list"), 0.05)
    with pytest.raises(KeptError, match="cannot ask"):
        await asyncio.to_thread(ask, place, ControlRequest("list"), 0.05)


async def test_it_answers_again_after_descriptors_had_run_out(
    place: KeptPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "CONTROL_RETRY_DELAY", 0.001)
    monkeypatch.setattr(control, "MAX_CONTROL_CALLERS", 1)
    loop = asyncio.get_running_loop()
    real, failures = loop.sock_accept, [OSError(24, "Too many open files")] * 2

    async def sock_accept(listening: socket.socket) -> Any:
        if failures:
            raise failures.pop()
        return await real(listening)

    monkeypatch.setattr(loop, "sock_accept", sock_accept)
    server = ControlServer(place.socket, Answering())
    assert await asyncio.to_thread(ask, place, ControlRequest("list"), TIMEOUT) == {"host": "web"}
    await server.close()
    assert not failures
