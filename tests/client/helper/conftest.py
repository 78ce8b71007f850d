"""A service over TLS that accepts a key, and a place for the helper of its users."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from farhand_client.mux import ask, start
from farhand_client.mux.place import HelperPlace, helper_place
from farhand_client.mux.request import STATUS, STOP, ConnectionRequest, frame
from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.events import DataReceived, MessageReceived
from farhand_protocol.limits import CLIENT_LIMITS
from farhand_protocol.states import Side
from tests.support import openssh, warm
from tests.support.client import TIMEOUT, new_id
from tests.support.fronts import KINDS, Installation, acting_helper
from tests.support.pairs import hello
from tests.support.relay_board import Board
from tests.support.service import Service, environment, running_service

T = TypeVar("T", bound=m.Message)


@dataclass
class Reachable:
    """A service on loopback, and what a command needs to log in there."""

    service: Service
    env: dict[str, str]
    key: Path
    known_hosts: Path

    @property
    def host(self) -> str:
        """The HOST argument."""
        assert self.service.address is not None
        return f"127.0.0.1:{self.service.address[1]}"

    def request(self, *, identity: bytes = b"") -> ConnectionRequest:
        """What a command asks the helper for, or offers with the `identity` that the service has accepted."""
        assert self.service.address is not None
        return ConnectionRequest(
            host=b"127.0.0.1",
            port=b"%d" % self.service.address[1],
            user=getpass.getuser().encode(),
            known_hosts=bytes(self.known_hosts),
            config=bytes(self.known_hosts.parent),
            state=bytes(self.service.directory / "state/farhand"),
            identity=identity,
        )

    @property
    def offer(self) -> ConnectionRequest:
        """The offer of a connection with the key."""
        return self.request(identity=b"FILE:" + bytes(self.key))


@pytest.fixture(scope="session")
def reachable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reachable]:
    """A service that many tests share."""
    directory = tmp_path_factory.mktemp("tls")
    config = directory / "config/farhand"
    config.mkdir(parents=True)
    openssh.make_key(config / "id_ed25519")
    (config / "authorized_keys").write_bytes((config / "id_ed25519.pub").read_bytes())
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        service = runner.run(stack.enter_async_context(running_service(directory, listen=True)))
        made = Reachable(service, environment(directory), config / "id_ed25519", config / "known_hosts")
        subprocess.run(
            [*warm.FARHAND, "run", "--accept-new", made.host, "true"],
            env=made.env | {"FARHAND_MUX": "off"},
            check=True,
            timeout=TIMEOUT,
        )
        try:
            yield made
        finally:
            runner.run(stack.aclose())


@pytest.fixture
def place(tmp_path: Path, reachable: Reachable, monkeypatch: pytest.MonkeyPatch) -> Iterator[HelperPlace]:
    """Where the helper of this test is; it is ended after the test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", reachable.env["XDG_CONFIG_HOME"])
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    found = helper_place()
    assert found is not None
    yield found
    if (connection := ask.reach(found)) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(ask.peer(connection)[0], signal.SIGKILL)
        connection.close()


@pytest.fixture
def borrow(place: HelperPlace, reachable: Reachable) -> Iterator[Callable[[], LentClient]]:
    """Makes clients with a borrowed connection, which are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make() -> LentClient:
            made = LentClient(place, reachable.request())
            stack.callback(made.close)
            return made

        yield make


def helper_pid(place: HelperPlace) -> int:
    """Return the process id of the helper."""
    connection = ask.reach(place)
    assert connection is not None
    with contextlib.closing(connection):
        return ask.peer(connection)[0]


def asked(place: HelperPlace, kind: int) -> bytes:
    """Send the helper a request without a payload and return all of its answer."""
    connection = ask.reach(place)
    assert connection is not None
    with contextlib.closing(connection):
        connection.settimeout(TIMEOUT)
        connection.sendall(frame(kind))
        data = b""
        while more := connection.recv(65536):
            data += more
        return data


def report(place: HelperPlace) -> bytes:
    """Return the helper's report, as JSON."""
    return asked(place, STATUS)[8:]


def stop(place: HelperPlace) -> None:
    """Stop the helper."""
    assert asked(place, STOP) == b""


async def ready(place: HelperPlace, reachable: Reachable) -> None:
    """Start the helper and wait until it has a connection to the service."""
    start.offer_or_start(place, reachable.offer)
    await has_connection(place)


async def has_connection(place: HelperPlace) -> None:
    """Wait until the helper has a connection. It tells nobody, so it is asked."""
    async with asyncio.timeout(TIMEOUT):
        while not helper_runs(place) or b'"target"' not in report(place):  # noqa: ASYNC110  # as said
            await asyncio.sleep(0.01)


def helper_runs(place: HelperPlace) -> bool:
    """Whether there is a helper."""
    connection = ask.reach(place)
    if connection is None:
        return False
    connection.close()
    return True


class LentClient:
    """A bare client with a borrowed connection."""

    def __init__(self, place: HelperPlace, request: ConnectionRequest) -> None:
        borrowed = ask.borrow(place, request)
        assert borrowed is not None
        self.socket = socket.socket(fileno=borrowed.detach())
        self.socket.settimeout(TIMEOUT)
        self.connection = Connection(Side.CLIENT, CLIENT_LIMITS)
        self.connection.send(0, hello(CLIENT_LIMITS))
        self.flush()
        self.messages: list[tuple[int, m.AnyMessage]] = []
        self.data: dict[tuple[int, str], bytearray] = {}
        self.until(lambda: any(isinstance(message, m.Accepted) for _, message in self.messages))

    def flush(self) -> None:
        """Send what is queued."""
        self.socket.sendall(b"".join(self.connection.data_to_send()))

    def start(self, *argv: str, **fields: object) -> int:
        """Start a run and return its channel."""
        request = m.RunRequest(id=new_id(), argv=tuple(word.encode() for word in argv), **fields)  # type: ignore[arg-type]  # any fields
        channel = self.connection.open(request)
        self.flush()
        return channel

    def receive(self) -> bool:
        """Receive something; return whether the connection is still open."""
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionError:
            return False
        for event in self.connection.receive_data(data):
            if isinstance(event, DataReceived):
                self.data.setdefault((event.channel, event.stream), bytearray()).extend(event.data)
                self.connection.acknowledge(event.channel, event.stream, len(event.data))
            elif isinstance(event, MessageReceived):
                self.messages.append((event.channel, event.message))
            else:
                raise AssertionError(event)
        if data:
            self.flush()
        return bool(data)

    def until(self, done: Callable[[], object]) -> None:
        """Receive until `done()`; the end of the connection before that fails the test."""
        while not done():
            assert self.receive(), "the helper has closed the connection"

    def message(self, channel: int, kind: type[T]) -> T:
        """Wait for a message of this kind on a channel and return it."""

        def found() -> list[T]:
            return [message for number, message in self.messages if number == channel and isinstance(message, kind)]

        self.until(found)
        return found()[0]

    def finish(self, channel: int) -> m.Ended:
        """Wait for a run's end, and close its channel."""
        ended = self.message(channel, m.Ended)
        self.connection.send(channel, m.Close())
        self.flush()
        return ended

    def close(self) -> None:
        """Close the connection without a word, as a killed process does."""
        self.socket.close()


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    one, other = socket.socketpair()
    with one, other:
        yield one


@pytest.fixture
async def board(sock: socket.socket) -> Board:
    return Board(sock)


@pytest.fixture(scope="module", params=KINDS)
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation.make(request.param, tmp_path_factory.mktemp("f"))
    with acting_helper(made):
        yield made
