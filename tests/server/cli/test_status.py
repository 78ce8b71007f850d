"""`farhandd status` prints what the service says about itself; without an answer it says why."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import MessageReceived
from farhand_protocol.features import FEATURES
from farhand_protocol.states import Side
from farhand_server.cli import status
from tests.server.cli.conftest import CommandLine

STATUS = m.ServiceStatus(pid=812, uptime=86400.4, runs=3, connections=2)

Answer = Callable[[Connection, int, m.AnyMessage], None]


def greet(connection: Connection, message: m.AnyMessage, features: tuple[str, ...] = FEATURES) -> None:
    if isinstance(message, m.Hello):
        limits = connection.announced_limits
        welcome = m.Welcome(
            version=1, software="farhandd/9", features=features, limits=limits, login=False, nonce=bytes(32)
        )
        connection.send(0, welcome)
        connection.send(0, m.Accepted(user="ada", host="here"))


def well(connection: Connection, channel: int, message: m.AnyMessage) -> None:
    greet(connection, message)
    if isinstance(message, m.StatusRequest):
        connection.send(channel, STATUS)


def faulty(connection: Connection, channel: int, message: m.AnyMessage) -> None:
    greet(connection, message)
    if isinstance(message, m.StatusRequest):
        holds = m.LoopHolds(times=1, longest=0.2, total=0.2)
        faults = ("the disk", "the socket")
        connection.send(channel, STATUS.model_copy(update={"draining": True, "faults": faults, "holds": holds}))


def old(connection: Connection, channel: int, message: m.AnyMessage) -> None:
    greet(connection, message, features=())


def refusing(connection: Connection, channel: int, message: m.AnyMessage) -> None:
    connection.fail(ErrorCode.DENIED, "this service is for the account ada")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Answer | bytes | None], None]]:
    """Return a function that starts a service for one client: it answers, sends bytes, or with None stays silent."""
    path = tmp_path / "run/farhand/farhandd.sock"
    path.parent.mkdir(parents=True)
    stack = ExitStack()

    def start(answer: Answer | bytes | None) -> None:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listening.bind(str(path))
        listening.listen()
        if answer is not None:
            thread = threading.Thread(target=serve_one, args=(listening, answer))
            thread.start()
            stack.callback(thread.join)

    yield start
    stack.close()


def serve_one(listening: socket.socket, answer: Answer | bytes) -> None:
    client, _ = listening.accept()
    connection = Connection(Side.SERVER)
    with client:
        while data := client.recv(1 << 16):
            if isinstance(answer, bytes):
                client.sendall(answer)
                return
            for event in connection.receive_data(data):
                if isinstance(event, MessageReceived):
                    answer(connection, event.channel, event.message)
            client.sendall(b"".join(connection.data_to_send()))


def test_a_service_that_is_well_says_so(farhandd: CommandLine, serve: Callable[[Answer], None]) -> None:
    serve(well)
    result = farhandd("status")
    assert (result.code, result.err) == (0, "")
    assert result.out == "farhandd/9, pid 812: serving for 86400 s, 3 runs, 2 connections\n"


def test_faults_are_printed_and_are_the_exit_code(farhandd: CommandLine, serve: Callable[[Answer], None]) -> None:
    serve(faulty)
    result = farhandd("status")
    assert (result.code, result.err) == (1, "")
    assert result.out.splitlines()[0].startswith("farhandd/9, pid 812: draining for ")
    assert result.out.splitlines()[1:] == [
        "fault: the disk",
        "fault: the socket",
        "loop held 1 time for more than 50 ms: at most 0.200 s, 0.200 s in all",
    ]


def test_what_a_service_says_cannot_control_the_terminal(
    farhandd: CommandLine, serve: Callable[[Answer], None]
) -> None:
    def hostile(connection: Connection, channel: int, message: m.AnyMessage) -> None:
        greet(connection, message)
        if isinstance(message, m.StatusRequest):
            connection.send(channel, STATUS.model_copy(update={"faults": ("\x1b[2Jall is\nwell",)}))

    serve(hostile)
    assert farhandd("status").out.splitlines()[1:] == ["fault: \\x1b[2Jall is\\nwell"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(old, "the service (farhandd/9) is too old to be asked; upgrade it", id="old"),
        pytest.param(refusing, "the service refused: this service is for the account ada", id="refusing"),
        pytest.param(b"\xff" * 100, "the service broke the protocol: ", id="no service"),
        pytest.param(b"", "has closed the connection; its log says why", id="closing"),
    ],
)
def test_a_service_that_does_not_answer_is_an_error(
    farhandd: CommandLine, serve: Callable[[Answer | bytes], None], answer: Answer | bytes, reason: str
) -> None:
    serve(answer)
    result = farhandd("status")
    assert (result.code, result.out) == (1, "")
    assert reason in result.err


def test_a_service_that_is_silent_is_an_error(
    farhandd: CommandLine, serve: Callable[[None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "STATUS_TIMEOUT", 0.05)
    serve(None)
    result = farhandd("status")
    assert (result.code, "did not answer within 0.05 s" in result.err) == (1, True)


def test_without_a_service_the_socket_is_named(farhandd: CommandLine, tmp_path: Path) -> None:
    result = farhandd("status")
    path = tmp_path / "run/farhand/farhandd.sock"
    assert result.code == 1
    assert f"cannot connect to a service on {path}: No such file or directory; if one is running" in result.err
