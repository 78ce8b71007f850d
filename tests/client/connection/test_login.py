"""A login proves a key for this connection only, tries keys in order, and lists those that were not accepted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from farhand_client import AuthenticationError, ConnectError, RequestRefused, connect
from farhand_client.connection.address import Address
from farhand_client.connection.deadline import connect_deadline
from farhand_client.connection.dial import DialledSession
from farhand_client.connection.login import log_in
from farhand_client.connection.session import ClientSession
from farhand_client.trust.keyfile import KeyFile
from farhand_protocol import login
from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.login import LOGIN_NAMESPACE, login_transcript
from farhand_protocol.sshformat import spki_from_host_key
from farhand_protocol.states import Side
from tests.support import openssh
from tests.support.fake_service import FakeConnection, FakeService, welcome
from tests.support.fake_tls import USER, tls_service

pytestmark = pytest.mark.usefixtures("home")


def asking(judge: Callable[[FakeConnection, m.Login], None]) -> Callable[[FakeConnection, m.AnyMessage], None]:
    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        if isinstance(message, m.Hello):
            client.send(welcome(client, login=True))
        elif isinstance(message, m.Login):
            judge(client, message)

    return greet


def refuse(attempts: int) -> Callable[[FakeConnection, m.Login], None]:
    def judge(client: FakeConnection, message: m.Login) -> None:
        made = sum(isinstance(one, m.Login) for one in client.messages)
        if made < attempts:
            client.send(m.Refused(attempts_left=attempts - made))
        else:
            client.send(m.Error(code=ErrorCode.LOGIN_FAILED, message="no"))

    return judge


async def test_the_proof_is_bound_to_this_connection(tmp_path: Path) -> None:
    key = openssh.make_key(tmp_path / "id")
    output: dict[str, Any] = {}

    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        if isinstance(message, m.Hello):
            output["hello"], output["welcome"] = message, welcome(client, login=True)
            output["frame"] = client.connection.hello_frame
            client.send(output["welcome"])
        elif isinstance(message, m.Login):
            output["login"] = message
            client.send(m.Accepted(user="bob", host="fake"))

    async with (
        tls_service(tmp_path, greet=greet) as (service, host_key),
        connect(f"bob@{service.host}", identities=[tmp_path / "id"]) as client,
    ):
        assert client.user == "bob"
    transcript = login_transcript(
        spki_sha256=sha256(spki_from_host_key(host_key)).digest(),
        server_nonce=output["welcome"].nonce,
        client_nonce=output["hello"].nonce,
        server_name="127.0.0.1",
        user="bob",
        hello_sha256=sha256(output["frame"]).digest(),
        public_key=key.blob,
    )
    assert output["login"].public_key == key.blob
    assert login.decode_sshsig(output["login"].signature).public_key == key.blob
    assert openssh.verifies(tmp_path, key, output["login"].signature, transcript, LOGIN_NAMESPACE)


async def test_keys_are_tried_in_order_until_one_is_accepted(tmp_path: Path) -> None:
    keys = [openssh.make_key(tmp_path / name) for name in ("a", "b", "c")]

    def judge(client: FakeConnection, message: m.Login) -> None:
        if message.public_key == keys[1].blob:
            client.send(m.Accepted(user="ann", host="fake"))
        else:
            client.send(m.Refused(attempts_left=5))

    async with (
        tls_service(tmp_path, greet=asking(judge)) as (service, _),
        connect(service.host, identities=[tmp_path / "a", tmp_path / "b", tmp_path / "c"]),
    ):
        pass
    tried = [one.public_key for one in service.connections[0].messages if isinstance(one, m.Login)]
    assert tried == [keys[0].blob, keys[1].blob]


@pytest.mark.parametrize("attempts", [1, 2, 6])
async def test_the_error_lists_the_keys_that_were_tried_and_those_beyond_the_limit(
    tmp_path: Path, attempts: int
) -> None:
    keys = [openssh.make_key(tmp_path / name) for name in ("a", "b")]
    async with tls_service(tmp_path, greet=asking(refuse(attempts))) as (service, _):
        with pytest.raises(AuthenticationError) as caught:
            await connect(service.host, identities=[tmp_path / "a", tmp_path / "b"])
    first, *lines = str(caught.value).splitlines()
    assert first == f"{service.host} does not accept a login as {USER} with any of these keys:"
    assert "farhandd authorize" in lines.pop()
    assert lines.pop().endswith("for another one there, write USER@" + service.host)
    described = [f"  {tmp_path / name} ({key.fingerprint})" for name, key in zip("ab", keys, strict=True)]
    if attempts > 1:
        assert lines == described
    else:
        assert lines.pop().startswith("If one of them is right, name it with -I FILE")
        assert lines == [described[0], "It allows 1 key on one connection; these were not tried:", described[1]]


async def test_a_tilde_in_the_name_of_a_key_file_stands_for_the_home_directory(tmp_path: Path) -> None:
    async with tls_service(tmp_path, greet=asking(refuse(6))) as (service, _):
        with pytest.raises(AuthenticationError, match=f"{tmp_path}/none: no such file"):
            await connect(service.host, identities=["~/none"])
        with pytest.raises(AuthenticationError, match="~nobody-here/none: no such file"):
            await connect(service.host, identities=["~nobody-here/none"])


async def test_without_a_key_the_error_says_how_to_create_one(tmp_path: Path) -> None:
    async with tls_service(tmp_path, greet=asking(refuse(6))) as (service, _):
        with pytest.raises(AuthenticationError, match=r"there is no key to try; create one with ssh-keygen"):
            await connect(service.host)


async def test_if_no_key_could_be_tried_the_error_begins_with_the_cause(tmp_path: Path) -> None:
    openssh.make_key(tmp_path / "secret", passphrase="secret")
    async with tls_service(tmp_path, greet=asking(refuse(6))) as (service, _):
        cannot = f"cannot log in to {service.host} as {USER}"
        with pytest.raises(AuthenticationError, match=f"^{cannot}: the key {tmp_path / 'secret'} is encrypted, and"):
            await connect(service.host, identities=[tmp_path / "secret"])
        with pytest.raises(AuthenticationError, match=f"^{cannot}: {tmp_path / 'none'}: no such file$"):
            await connect(service.host, identities=[tmp_path / "none"])
        with pytest.raises(
            AuthenticationError, match=f"^{cannot}; no key could be used:\n  .*no such.*\n  .*encrypted"
        ):
            await connect(service.host, identities=[tmp_path / "secret", tmp_path / "none"])


async def test_a_login_that_waited_too_long_for_a_passphrase_is_made_again_without_asking_again(tmp_path: Path) -> None:
    key = openssh.make_key(tmp_path / "secret", passphrase="secret")
    asked: list[str] = []

    async def passphrase(prompt: str) -> str:
        asked.append(prompt)
        first = service.connections[0]
        first.send(m.Error(code=ErrorCode.LOGIN_TIMEOUT, message="the login took too long"))
        first.cut()
        await first.closed.wait()
        return "secret"

    def judge(client: FakeConnection, message: m.Login) -> None:
        assert message.public_key == key.blob
        client.send(m.Accepted(user="ann", host="fake"))

    async with (
        tls_service(tmp_path, greet=asking(judge)) as (service, _),
        connect(service.host, identities=[tmp_path / "secret"], passphrase=passphrase),
    ):
        pass
    assert (len(asked), len(service.connections)) == (1, 2)


async def test_a_connection_that_ends_while_a_key_signs_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssh.make_key(tmp_path / "id")

    async def sign(self: KeyFile, transcript: bytes) -> bytes:
        service.connections[-1].cut()
        await service.connections[-1].closed.wait()
        await asyncio.sleep(0)
        return b"signature"

    monkeypatch.setattr(KeyFile, "sign", sign)
    monkeypatch.setattr("farhand_client.connection.login.ATTEMPTS_WHEN_CLOSED", 2)
    async with tls_service(tmp_path, greet=asking(refuse(6))) as (service, _):
        with pytest.raises(ConnectError, match="before the login was complete"):
            await connect(service.host, identities=[tmp_path / "id"])


@pytest.mark.needs("ssh-agent", "ssh-add")
async def test_keys_of_the_agent_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = openssh.make_key(tmp_path / "in-agent")

    def judge(client: FakeConnection, message: m.Login) -> None:
        assert message.public_key == key.blob
        client.send(m.Accepted(user="ann", host="fake"))

    with openssh.running_agent(tmp_path, tmp_path / "in-agent") as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        async with tls_service(tmp_path, greet=asking(judge)) as (service, _), connect(service.host):
            pass


@pytest.mark.parametrize(
    "answer",
    [
        m.Error(code=ErrorCode.UNSUPPORTED_VERSION, message="too old"),
        m.Error(code=ErrorCode.DENIED, message="too many connections"),
    ],
)
async def test_a_refusal_before_the_login_is_reported_with_its_code(tmp_path: Path, answer: m.Error) -> None:
    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        client.send(answer)

    async with tls_service(tmp_path, greet=greet) as (service, _):
        with pytest.raises(RequestRefused, match=answer.message) as caught:
            await connect(service.host)
        assert caught.value.code is answer.code


async def test_the_sockets_of_the_edge_are_refused(tmp_path: Path) -> None:
    service = FakeService()
    service.greet = asking(refuse(6))
    async with service.on_socket(tmp_path):
        with pytest.raises(ConnectError, match="on which this client cannot log in"):
            await connect(service.host)


@pytest.mark.parametrize("after", [m.Hello, m.Login])
async def test_a_connection_lost_during_the_login_is_a_connect_error(tmp_path: Path, after: type[m.Message]) -> None:
    openssh.make_key(tmp_path / "id")

    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        if isinstance(message, after):
            client.cut()
        else:
            client.send(welcome(client, login=True))

    async with tls_service(tmp_path, greet=greet) as (service, _):
        with pytest.raises(ConnectError, match="before the login was complete"):
            await connect(service.host, identities=[tmp_path / "id"])


async def test_a_service_that_refuses_the_client_before_its_hello_is_quoted() -> None:
    service = Connection(Side.SERVER)
    service.fail(ErrorCode.DRAINING, "try again in a moment")
    session = ClientSession("web", None)
    ours, theirs = socket.socketpair()
    with theirs:
        await asyncio.get_running_loop().create_connection(session.make_transport, sock=ours)
        theirs.sendall(b"".join(service.data_to_send()))
        ended = asyncio.Event()
        session.on_end(lambda why: ended.set())
        async with connect_deadline(20) as deadline:
            await ended.wait()
            with pytest.raises(RequestRefused, match="web closed the connection: try again in a moment"):
                await log_in(DialledSession(session), Address(socket="/s"), None, deadline)
