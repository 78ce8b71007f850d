"""`connect`: who is at the other end, who one is there, and what is said where either is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from farhand_client import (
    AuthenticationError,
    ConnectError,
    ConnectionLost,
    HostKeyChanged,
    HostKeyRevoked,
    HostKeyUnknown,
    RequestRefused,
    connect,
)
from farhand_client.trust.known_hosts import KnownHosts
from farhand_protocol import messages as m
from farhand_protocol import sshsig
from farhand_protocol.errors import ErrorCode
from farhand_protocol.login import NAMESPACE, login_transcript
from farhand_protocol.spki import spki_from_host_key
from farhand_protocol.sshwire import PublicKey
from tests.support import openssh
from tests.support.fake_service import FakeConnection, FakeService, let_in, welcome
from tests.support.tls import tls

USER = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the real user's: no keys, no agent, no record."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


@contextlib.asynccontextmanager
async def tls_service(
    directory: Path, *, known: bool = True, greet: Any = let_in, alpn: str | None = "farhand/1"
) -> AsyncIterator[tuple[FakeService, PublicKey]]:
    context, key = tls(directory / "state", alpn=alpn)
    service = FakeService()
    service.greet = greet
    async with service.on_tls(context):
        if known:
            record(directory).add("127.0.0.1", port(service), key)
        yield service, key


def port(service: FakeService) -> int:
    return int(service.host.rpartition(":")[2])


def nothing_was_said_to(service: FakeService) -> bool:
    return all(connection.messages == [] for connection in service.connections)


def record(directory: Path) -> KnownHosts:
    return KnownHosts(directory / "config/farhand/known_hosts")


# Where nobody is


async def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=r"there is no socket at .*; is farhandd running"):
        await connect(f"unix:{tmp_path}/none")


async def test_a_socket_nobody_listens_at(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    with pytest.raises(ConnectError, match="nobody listens at the socket"):
        await connect(f"unix:{tmp_path}/s")


async def test_what_is_not_a_socket(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConnectError, match="socket"):
        await connect(f"unix:{tmp_path}/file")


async def test_a_port_nobody_listens_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    with pytest.raises(ConnectError, match=f"nobody listens at 127.0.0.1 port {free}; does farhandd run there"):
        await connect("127.0.0.1", port=free)


async def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(ConnectError, match=r"the name nowhere\.invalid is not known"):
        await connect("nowhere.invalid")


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak TLS 1.3 as a Farhand service does"),
        (b"", "ended the TLS 1.3 handshake|cannot connect"),
    ],
)
async def test_something_else_at_the_port(says: bytes, sentence: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(ConnectError, match=sentence):
            await connect("127.0.0.1", port=server.sockets[0].getsockname()[1])


@pytest.mark.parametrize("alpn", [None, "h2"])
async def test_tls_of_something_else(tmp_path: Path, alpn: str | None) -> None:
    async with tls_service(tmp_path, alpn=alpn) as (service, _):
        with pytest.raises(ConnectError, match=r"127\.0\.0\.1"):
            await connect(service.host)
        assert nothing_was_said_to(service)


@pytest.mark.parametrize("where", ["connect", "tls", "login"])
async def test_silence_has_its_limit(tmp_path: Path, where: str) -> None:
    if where == "login":
        async with tls_service(tmp_path, greet=lambda *_: None) as (service, _):
            with pytest.raises(ConnectError, match=f"{service.host} did not answer within 0.2 seconds"):
                await connect(service.host, timeout=0.2)
            await service.connections[0].over.wait()
    else:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            host = f"127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(ConnectError, match=f"{host} did not answer within 0.2 seconds"):
                await connect(host, timeout=0.2)


# The service's key


async def test_a_known_key_lets_the_connection_through(tmp_path: Path) -> None:
    async with tls_service(tmp_path) as (service, _), connect(service.host) as client:
        assert (client.name, client.user, client.host) == (service.host, "ann", "fake")
        assert (client.software, client.version, client.features) == ("fake/1", 1, ())
        assert (await client.run(["true"])).returncode == 0
    hello = service.connections[0].messages[0]
    assert isinstance(hello, m.Hello)
    assert (hello.user, hello.server, hello.versions) == (USER, "127.0.0.1", (1,))


async def test_an_unknown_key_is_refused_in_a_script(tmp_path: Path) -> None:
    async with tls_service(tmp_path, known=False) as (service, key):
        with pytest.raises(HostKeyUnknown) as caught:
            await connect(service.host)
        assert caught.value.fingerprint == key.fingerprint
        assert f"farhand trust {service.host} {key.fingerprint}" in str(caught.value)
        assert nothing_was_said_to(service)
    assert not record(tmp_path).path.exists()


async def test_accept_new_puts_it_on_record(tmp_path: Path) -> None:
    async with tls_service(tmp_path, known=False) as (service, key):
        async with connect(service.host, accept_new=True):
            pass
        assert record(tmp_path).check("127.0.0.1", port(service), key).state == "known"
        async with connect(service.host):
            pass


@pytest.mark.parametrize("answer", [True, False])
async def test_a_person_can_say_whether_it_is_the_right_one(tmp_path: Path, answer: bool) -> None:
    asked: list[HostKeyUnknown] = []

    async def confirm(unknown: HostKeyUnknown) -> bool:
        asked.append(unknown)
        return answer

    async with tls_service(tmp_path, known=False) as (service, key):
        if answer:
            async with connect(service.host, confirm=confirm):
                pass
        else:
            with pytest.raises(HostKeyUnknown):
                await connect(service.host, confirm=confirm)
        assert [one.fingerprint for one in asked] == [key.fingerprint]
        assert record(tmp_path).path.exists() is answer


@pytest.mark.parametrize("accept_new", [True, False])
async def test_a_changed_key_is_a_hard_failure_before_any_byte(tmp_path: Path, accept_new: bool) -> None:
    async with tls_service(tmp_path, known=False) as (service, key):
        other = openssh.make_key(tmp_path / "other")
        record(tmp_path).add("127.0.0.1", port(service), other)
        with pytest.raises(HostKeyChanged) as caught:
            await connect(service.host, accept_new=accept_new)
        assert nothing_was_said_to(service)
    for part in ("HAS CHANGED", key.fingerprint, other.fingerprint, f"{record(tmp_path).path}:1", "Nothing was sent"):
        assert part in str(caught.value)


async def test_a_revoked_key_is_refused(tmp_path: Path) -> None:
    async with tls_service(tmp_path) as (service, _):
        path = record(tmp_path).path
        path.write_text(f"@revoked {path.read_text()}")
        with pytest.raises(HostKeyRevoked, match="is revoked"):
            await connect(service.host, accept_new=True)


async def test_a_record_that_cannot_be_read_trusts_nobody(tmp_path: Path) -> None:
    async with tls_service(tmp_path, known=False) as (service, _):
        record(tmp_path).path.mkdir(parents=True)
        with pytest.raises(ConnectError, match="known_hosts is not a regular file"):
            await connect(service.host, accept_new=True)


async def test_the_record_can_be_elsewhere(tmp_path: Path) -> None:
    async with tls_service(tmp_path, known=False) as (service, _):
        async with connect(service.host, accept_new=True, known_hosts=tmp_path / "mine"):
            pass
        assert (tmp_path / "mine").exists()


async def test_small_messages_do_not_wait_for_more(tmp_path: Path) -> None:
    async with tls_service(tmp_path) as (service, _), connect(service.host) as client:
        link = client._session._link
        assert link is not None
        assert link._transport is not None
        sock = link._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# Login

Judge = Callable[[FakeConnection, m.Login], Awaitable[None] | None]


def asking(judge: Callable[[FakeConnection, m.Login], None]) -> Callable[[FakeConnection, m.AnyMessage], None]:
    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        if isinstance(message, m.Hello):
            client.say(welcome(client, login=True))
        elif isinstance(message, m.Login):
            judge(client, message)

    return greet


def refuse(attempts: int) -> Callable[[FakeConnection, m.Login], None]:
    def judge(client: FakeConnection, message: m.Login) -> None:
        made = sum(isinstance(one, m.Login) for one in client.messages)
        if made < attempts:
            client.say(m.Refused(attempts_left=attempts - made))
        else:
            client.say(m.Error(code=ErrorCode.LOGIN_FAILED, message="no"))

    return judge


async def test_the_proof_is_bound_to_this_connection(tmp_path: Path) -> None:
    key = openssh.make_key(tmp_path / "id")
    said: dict[str, Any] = {}

    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        if isinstance(message, m.Hello):
            said["hello"], said["welcome"] = message, welcome(client, login=True)
            said["frame"] = client.connection.hello_frame
            client.say(said["welcome"])
        elif isinstance(message, m.Login):
            said["login"] = message
            client.say(m.Accepted(user="bob", host="fake"))

    async with (
        tls_service(tmp_path, greet=greet) as (service, host_key),
        connect(f"bob@{service.host}", identities=[tmp_path / "id"]) as client,
    ):
        assert client.user == "bob"
    transcript = login_transcript(
        spki_sha256=sha256(spki_from_host_key(host_key)).digest(),
        server_nonce=said["welcome"].nonce,
        client_nonce=said["hello"].nonce,
        server_name="127.0.0.1",
        user="bob",
        hello_sha256=sha256(said["frame"]).digest(),
        public_key=key.blob,
    )
    assert said["login"].public_key == key.blob
    assert sshsig.decode(said["login"].signature).public_key == key.blob
    assert openssh.verifies(tmp_path, key, said["login"].signature, transcript, NAMESPACE)


async def test_keys_are_tried_until_one_does(tmp_path: Path) -> None:
    keys = [openssh.make_key(tmp_path / name) for name in ("a", "b", "c")]

    def judge(client: FakeConnection, message: m.Login) -> None:
        if message.public_key == keys[1].blob:
            client.say(m.Accepted(user="ann", host="fake"))
        else:
            client.say(m.Refused(attempts_left=5))

    async with (
        tls_service(tmp_path, greet=asking(judge)) as (service, _),
        connect(service.host, identities=[tmp_path / "a", tmp_path / "b", tmp_path / "c"]),
    ):
        pass
    tried = [one.public_key for one in service.connections[0].messages if isinstance(one, m.Login)]
    assert tried == [keys[0].blob, keys[1].blob]


@pytest.mark.parametrize("attempts", [1, 2, 6])
async def test_the_keys_that_were_tried_are_listed(tmp_path: Path, attempts: int) -> None:
    keys = [openssh.make_key(tmp_path / name) for name in ("a", "b")]
    async with tls_service(tmp_path, greet=asking(refuse(attempts))) as (service, _):
        with pytest.raises(AuthenticationError) as caught:
            await connect(service.host, identities=[tmp_path / "a", tmp_path / "b"])
    text = str(caught.value)
    assert f"{service.host} does not let {USER} in with any of the keys that were tried" in text
    assert "farhandd authorize" in text
    assert [key.fingerprint in text for key in keys] == [True, attempts > 1]


async def test_without_keys_it_says_how_to_get_one(tmp_path: Path) -> None:
    async with tls_service(tmp_path, greet=asking(refuse(6))) as (service, _):
        with pytest.raises(AuthenticationError, match=r"there was no key to try\. Make one with ssh-keygen"):
            await connect(service.host)


async def test_a_key_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    openssh.make_key(tmp_path / "secret", passphrase="secret")
    async with tls_service(tmp_path, greet=asking(refuse(6))) as (service, _):
        with pytest.raises(AuthenticationError, match="needs a passphrase and nobody can be asked"):
            await connect(service.host, identities=[tmp_path / "secret"])
        with pytest.raises(AuthenticationError, match="no such file"):
            await connect(service.host, identities=[tmp_path / "none"])


@pytest.mark.needs("ssh-agent", "ssh-add")
async def test_the_agent_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = openssh.make_key(tmp_path / "in-agent")

    def judge(client: FakeConnection, message: m.Login) -> None:
        assert message.public_key == key.blob
        client.say(m.Accepted(user="ann", host="fake"))

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
async def test_why_the_service_takes_nobody_is_passed_on(tmp_path: Path, answer: m.Error) -> None:
    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        client.say(answer)

    async with tls_service(tmp_path, greet=greet) as (service, _):
        with pytest.raises(RequestRefused, match=answer.message) as caught:
            await connect(service.host)
        assert caught.value.code is answer.code


async def test_a_login_on_a_local_socket_is_not_for_us(tmp_path: Path) -> None:
    service = FakeService()
    service.greet = asking(refuse(6))
    async with service.on_socket(tmp_path):
        with pytest.raises(ConnectError, match="is a socket for the edge"):
            await connect(service.host)


@pytest.mark.parametrize("after", [m.Hello, m.Login])
async def test_a_connection_lost_during_the_login_has_run_nothing(tmp_path: Path, after: type[m.Message]) -> None:
    openssh.make_key(tmp_path / "id")

    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        if isinstance(message, after):
            client.cut()
        else:
            client.say(welcome(client, login=True))

    async with tls_service(tmp_path, greet=greet) as (service, _):
        with pytest.raises(ConnectError, match="before the login was done"):
            await connect(service.host, identities=[tmp_path / "id"])


# Cancellation and keepalive


@pytest.mark.parametrize("at", [m.Hello, m.Login])
async def test_cancelled_in_the_login_nothing_stays_open(tmp_path: Path, at: type[m.Message]) -> None:
    openssh.make_key(tmp_path / "id")

    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        if isinstance(message, at):
            task.cancel()
        else:
            client.say(welcome(client, login=True))

    async with tls_service(tmp_path, greet=greet) as (service, _):
        task = asyncio.ensure_future(connect(service.host, identities=[tmp_path / "id"]))
        with pytest.raises(asyncio.CancelledError):
            await task
        await service.connections[0].over.wait()


async def test_cancelled_in_the_handshake_nothing_stays_open() -> None:
    came, gone = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        came.set()
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                pass
        writer.close()
        gone.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        task = asyncio.ensure_future(connect(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        await came.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()


async def test_cancelled_while_a_person_is_asked_nothing_stays_open(tmp_path: Path) -> None:
    async def confirm(unknown: HostKeyUnknown) -> bool:
        assert nothing_was_said_to(service)
        task.cancel()
        await asyncio.Event().wait()
        return True

    async with tls_service(tmp_path, known=False) as (service, _):
        task = asyncio.ensure_future(connect(service.host, confirm=confirm))
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_service_that_falls_silent_is_noticed(tmp_path: Path) -> None:
    async with tls_service(tmp_path) as (service, _), connect(service.host, keepalive=0.05) as client:
        transport = service.connections[0].link._transport  # type: ignore[union-attr]  # it is connected
        assert transport is not None
        transport.pause_reading()
        with pytest.raises(ConnectionLost, match=r"has not answered for 0\.15 seconds"):
            await client.run(["sleep", "9"])


async def test_a_quiet_service_that_answers_is_kept(tmp_path: Path) -> None:
    async def slow(run: Any) -> None:
        run.started()
        await asyncio.sleep(0.3)
        run.ended()

    async with tls_service(tmp_path) as (service, _):
        service.behave = slow
        async with connect(service.host, keepalive=0.02) as client:
            assert (await client.run(["sleep"])).returncode == 0


async def test_older_tls_is_not_spoken(tmp_path: Path) -> None:
    context, _ = tls(tmp_path / "state")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with FakeService().on_tls(context) as service:
        with pytest.raises(ConnectError, match=r"TLS 1\.3"):
            await connect(service.host, accept_new=True)
