"""Connecting without an event loop. The fake service has its loop in this thread, so the client is in another."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from farhand_client.direct import dialling
from farhand_client.direct.deadline import DirectDeadline, NotDirectError
from farhand_client.direct.dialling import DialledWire, dial_directly
from farhand_client.direct.logging_in import log_in_directly
from farhand_client.direct.route import Route, plain_route
from farhand_client.direct.signals import CollectedSignals
from farhand_client.errors import ConnectError
from tests.support.fake_service import FakeService
from tests.support.fake_tls import received_nothing, record, tls_service
from tests.support.ports import closed_port


@pytest.fixture
def deadline() -> Iterator[DirectDeadline]:
    with CollectedSignals() as signals:
        yield DirectDeadline(30, signals)


class WaitsOfDeadline(DirectDeadline):
    """Notes what was waited for and what became ready, and calls `then` after each wait."""

    then: Callable[[], object]

    def __init__(self, seconds: float, signals: CollectedSignals) -> None:
        super().__init__(seconds, signals)
        self.waits: list[tuple[dict[int, int], list[int]]] = []

    def wait_for_any(self, descriptors: dict[int, int], seconds: float | None = None) -> list[int]:
        ready = super().wait_for_any(descriptors, seconds)
        self.waits.append((descriptors, ready))
        self.then()
        return ready


async def dial(route: Route, known_hosts: Path, deadline: DirectDeadline) -> DialledWire:
    return await asyncio.to_thread(partial(dial_directly, route, str(known_hosts), None, deadline))


async def greet(dialled: DialledWire, service: FakeService, deadline: DirectDeadline) -> None:
    """Log in, so that the service has seen the connection, and close it."""
    await asyncio.to_thread(log_in_directly, dialled, Route("web"), "ann", lambda: iter(()), deadline)
    dialled.wire.close()
    await asyncio.wait_for(service.connections[0].closed.wait(), 30)


async def test_a_service_is_known_by_its_recorded_key(tmp_path: Path, deadline: DirectDeadline) -> None:
    async with tls_service(tmp_path) as (service, key):
        dialled = await dial(plain_route(service.host), record(tmp_path).path, deadline)
        assert dialled.spki_sha256 is not None
        assert key.point
        await greet(dialled, service, deadline)


@pytest.mark.parametrize("what", ["unknown", "changed", "revoked", "no protocol", "no TLS", "unreadable"])
async def test_any_other_service_is_left_to_the_asyncio_client(
    tmp_path: Path, deadline: DirectDeadline, what: str
) -> None:
    alpn = "other/1" if what == "no protocol" else "farhand/1"
    async with tls_service(tmp_path, known=what != "unknown", alpn=alpn) as (service, _):
        file = record(tmp_path).path
        line = file.read_text() if file.exists() else ""
        route = plain_route(service.host)
        if what == "changed":
            file.write_text(line.replace("AAAAIP", "AAAAIF") if "AAAAIP" in line else line[:-3] + "A=\n")
        elif what == "revoked":
            file.write_text(line + "@revoked * " + line.split(" ", 1)[1])
        elif what == "unreadable":
            file.unlink()
            file.mkdir()
        elif what == "no TLS":
            plain = socket.create_server(("127.0.0.1", 0))
            route = Route("127.0.0.1", plain.getsockname()[1])
            asyncio.get_running_loop().run_in_executor(None, lambda: plain.accept()[0].close())
        with pytest.raises(NotDirectError):
            await dial(route, file, deadline)
        if what == "no TLS":
            plain.close()
            return
        async with asyncio.timeout(30):
            while not service.connections:  # noqa: ASYNC110  # its end of the handshake may come later
                await asyncio.sleep(0.001)
        assert received_nothing(service)


async def test_a_socket_needs_no_key(tmp_path: Path, deadline: DirectDeadline) -> None:
    async with FakeService().on_socket(tmp_path) as service:
        dialled = await dial(plain_route(service.host), tmp_path, deadline)
        assert dialled.spki_sha256 is None
        await greet(dialled, service, deadline)


def test_what_does_not_answer_is_named(tmp_path: Path, deadline: DirectDeadline) -> None:
    # The asyncio client looks whether ssh answers.
    with closed_port() as port, pytest.raises(NotDirectError):
        dial_directly(Route("127.0.0.1", port), "", None, deadline)
    with pytest.raises(ConnectError, match=r"^there is no socket at"):
        dial_directly(Route(socket=f"{tmp_path}/s"), "", None, deadline)


async def test_the_next_address_is_tried_after_a_failure(
    tmp_path: Path, deadline: DirectDeadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_service(tmp_path) as (service, key):
        port = plain_route(service.host).port
        record(tmp_path).add("some.name", port, key)
        found = [(socket.AF_INET, ("127.0.0.1", 1)), (socket.AF_INET, ("127.0.0.1", port))]
        monkeypatch.setattr(dialling, "resolved_addresses", lambda host, port: found)
        dialled = await dial(Route("some.name", port), record(tmp_path).path, deadline)
        await greet(dialled, service, deadline)


async def test_a_family_that_this_machine_lacks_is_passed_over(
    tmp_path: Path, deadline: DirectDeadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_service(tmp_path) as (service, key):
        port = plain_route(service.host).port
        record(tmp_path).add("some.name", port, key)
        found = [(-2, ("::1", port)), (socket.AF_INET, ("127.0.0.1", port))]
        monkeypatch.setattr(dialling, "resolved_addresses", lambda host, port: found)
        dialled = await dial(Route("some.name", port), record(tmp_path).path, deadline)
        await greet(dialled, service, deadline)


def test_a_full_queue_of_a_socket_is_waited_for_without_spinning(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(path)
        listening.listen(0)
        stack.enter_context(socket.socket(socket.AF_UNIX)).connect(path)  # the only one that fits in
        deadline = WaitsOfDeadline(30, stack.enter_context(CollectedSignals()))
        deadline.then = lambda: stack.enter_context(listening.accept()[0])
        dialled = dial_directly(Route(socket=path), "", None, deadline)
        dialled.wire.close()
    assert [ready for _, ready in deadline.waits] == [[]]


def test_an_unknown_name_is_left_to_the_asyncio_client(
    deadline: DirectDeadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(host: str, port: int) -> None:
        raise socket.gaierror

    monkeypatch.setattr(dialling, "resolved_addresses", fail)
    with pytest.raises(NotDirectError):
        dial_directly(Route("some.name"), "", None, deadline)


def test_a_peer_that_says_nothing_is_given_up_at_the_deadline() -> None:
    with CollectedSignals() as signals, socket.create_server(("127.0.0.1", 0)) as silent:
        route = Route("127.0.0.1", silent.getsockname()[1])
        with pytest.raises(ConnectError, match=r"did not answer within 0.2 seconds during the TLS handshake"):
            dial_directly(route, "", None, DirectDeadline(0.2, signals))
