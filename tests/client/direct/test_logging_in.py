"""The login without an event loop, with a service that this test plays."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from farhand_client.direct.deadline import DirectDeadline, NotDirectError
from farhand_client.direct.dialling import DialledWire
from farhand_client.direct.keys import LoginKey
from farhand_client.direct.logging_in import LoginAnswers, log_in_directly
from farhand_client.direct.route import Route
from farhand_client.direct.signals import CollectedSignals
from farhand_client.direct.wire import Wire
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.features import FEATURES
from farhand_protocol.sshformat import pack_string, parse_public_key
from tests.support import pairs
from tests.support.pairs import frames, message


class FakeKey(LoginKey):
    """A key that signs with a number, and keeps what it signed."""

    def __init__(self, number: int) -> None:
        blob = pack_string(b"ssh-ed25519") + pack_string(bytes([number] * 32))
        super().__init__(parse_public_key(blob), f"key {number}")
        self.signed: list[bytes] = []

    @property
    def in_offer(self) -> bytes:
        return self.description.encode()

    def sign(self, transcript: bytes, deadline: DirectDeadline) -> bytes:
        self.signed.append(transcript)
        return self.description.encode()


KEYS = [FakeKey(1), FakeKey(2)]


def log_in(
    *answers: m.Message, keys: Callable[[], Iterator[LoginKey]] = lambda: iter(KEYS), tls: bool = True
) -> tuple[LoginAnswers | None, list[m.AnyMessage]]:
    """Return the result, None if it is left to the asyncio client, and what was sent to a service that answers so."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(20)
    sent = b""

    def serve() -> None:
        nonlocal sent
        for answer in answers:
            if tls or not isinstance(answer, m.Accepted):
                sent += theirs.recv(65536)
            theirs.sendall(message(0, answer))
        theirs.shutdown(socket.SHUT_WR)
        while data := theirs.recv(65536):
            sent += data

    server = threading.Thread(target=serve)
    server.start()
    wire = Wire(ours)
    try:
        with CollectedSignals() as signals:
            deadline = DirectDeadline(20, signals)
            try:
                found = log_in_directly(
                    DialledWire(wire, bytes(32) if tls else None), Route("web"), "ann", keys, deadline
                )
            except NotDirectError:
                found = None
    finally:
        wire.close()
        server.join(20)
        theirs.close()
    return found, [frame.message for frame in frames(sent)]


def test_a_service_that_asks_for_no_key_gets_none() -> None:
    found, sent = log_in(pairs.welcome(), pairs.ACCEPTED, tls=False)
    assert found is not None
    assert (found.welcome["login"], found.accepted["user"]) == (False, "ada")
    [hello] = sent
    assert isinstance(hello, m.Hello)
    assert (hello.user, hello.server, hello.features) == ("ann", "web", FEATURES)


def test_the_next_key_is_tried_after_a_refusal() -> None:
    found, sent = log_in(pairs.welcome(login=True), m.Refused(attempts_left=1), pairs.ACCEPTED)
    assert found is not None
    logins = [each for each in sent if isinstance(each, m.Login)]
    assert [(each.public_key, each.signature) for each in logins] == [
        (key.public_key.blob, key.description.encode()) for key in KEYS
    ]
    assert KEYS[0].signed[-1] != KEYS[1].signed[-1]
    assert found.offered == b"key 2"


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [m.Error(code=ErrorCode.LOGIN_TIMEOUT, message="too late")],
        [pairs.ACCEPTED],
        [m.Ping(id=1)],
        [pairs.welcome(login=True), m.Refused(attempts_left=2), m.Refused(attempts_left=1)],
        [pairs.welcome(login=True), m.Error(code=ErrorCode.LOGIN_FAILED, message="no")],
    ],
)
def test_whatever_goes_wrong_is_left_to_the_asyncio_client(answers: list[m.Message]) -> None:
    assert log_in(*answers)[0] is None


def test_a_socket_that_asks_for_a_key_is_left_to_the_asyncio_client() -> None:
    assert log_in(pairs.welcome(login=True), tls=False)[0] is None


def test_without_a_key_there_is_no_login() -> None:
    assert log_in(pairs.welcome(login=True), keys=lambda: iter(()))[0] is None
