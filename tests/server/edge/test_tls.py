"""The edge speaks TLS 1.3 and `farhand/1`, every connection proves the host key, and none holds up the others."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from farhand_server import hostkey
from farhand_server.edge import tls as edge_tls
from farhand_server.edge.relay import BEFORE_LOGIN
from farhand_server.edge.tls import (
    DATALESS_RECORDS,
    RECORDS_PER_TURN,
    TLS_RECEIVE_SIZE,
    RecordLimitError,
    TLSStream,
    server_context,
)
from farhand_server.listen.feed import FromCore
from tests.server.edge.harness import TEST_TIMEOUT, RunningEdge, client_context, until
from tests.support.processes import own_descriptors
from tests.support.tls_records import RecordWriter, logging_keys


async def test_the_certificate_contains_the_host_key(edge: RunningEdge, tmp_path: Path) -> None:
    def der() -> bytes | None:
        with edge.connect_blocking() as tls:
            return tls.getpeercert(binary_form=True)

    shown = await asyncio.to_thread(der)
    assert shown is not None
    spki = x509.load_der_x509_certificate(shown).public_key()
    assert (
        hashlib.sha256(spki.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        == hostkey.load_public_host_key(tmp_path / "host_key.pub").spki_sha256
    )


async def test_older_tls_versions_are_refused(edge: RunningEdge) -> None:
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        await edge.connect(context)


@pytest.mark.parametrize("alpn", [None, "http/1.1", "farhand/2"])
async def test_a_peer_without_our_application_protocol_never_reaches_the_core(
    edge: RunningEdge, alpn: str | None
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols([alpn])
    client = await edge.connect(context)
    assert await client.read_to_end() == b""
    assert edge.core.clients.empty()
    assert "no application protocol farhand/1" in edge.log.read_text()


async def test_our_application_protocol_is_chosen_among_others(edge: RunningEdge) -> None:
    client = await edge.connect(client_context("http/1.1", "farhand/1"))
    await edge.core.client()
    assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "farhand/1"


async def test_no_ticket_is_issued_and_no_session_is_resumed(edge: RunningEdge) -> None:
    context = client_context()

    def talk(session: ssl.SSLSession | None) -> tuple[bool, bool | None, ssl.SSLSession | None]:
        raw = socket.create_connection(("127.0.0.1", edge.port), TEST_TIMEOUT)
        with context.wrap_socket(raw, session=session) as tls:
            tls.sendall(b"?")
            tls.recv(1)  # a ticket would have come before
            kept = tls.session
            return kept is not None and kept.has_ticket, tls.session_reused, kept

    session: ssl.SSLSession | None = None
    for _ in range(2):
        task = asyncio.create_task(asyncio.to_thread(talk, session))
        core = await edge.core.client()
        await core.send(await core.receive(1))
        has_ticket, reused, session = await task
        assert not has_ticket
        assert not reused


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLObject:
    """Make a whole connection in memory, with a byte to the client; return the client's side."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, session=session)
    theirs = server.wrap_bio(up, down, server_side=True)
    pending: list[Callable[[], object]] = [ours.do_handshake, theirs.do_handshake, lambda: theirs.write(b"!")]
    while pending:
        for step in tuple(pending):
            try:
                step()
            except ssl.SSLWantReadError:
                break
            pending.remove(step)
        else:
            break
        try:
            theirs.do_handshake()
            ours.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert ours.read(1) == b"!"
    return ours


def test_a_ticket_issued_with_the_same_key_is_not_accepted(tmp_path: Path) -> None:
    server = server_context(hostkey.ensure_host_key(tmp_path))
    options, tickets = server.options, server.num_tickets
    server.options &= ~ssl.OP_NO_TICKET
    server.num_tickets = 1
    client = client_context()
    session = _handshake(server, client, None).session
    assert session is not None
    assert session.has_ticket
    assert _handshake(server, client, session).session_reused
    server.options, server.num_tickets = options, tickets
    assert not _handshake(server, client, session).session_reused


@pytest.mark.needs("openssl")
async def test_early_data_and_compression_are_not_offered(edge: RunningEdge) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{edge.port}", "-alpn", "farhand/1", "-tls1_3"]
    printed = await asyncio.to_thread(
        subprocess.run, command, input=b"", capture_output=True, timeout=TEST_TIMEOUT, check=False
    )
    text = printed.stdout.decode()
    assert "TLSv1.3" in text
    assert "Compression: NONE" in text
    assert "Early data was not sent" in text
    assert "Max Early Data: 0" in text or "Session-ID" not in text


def test_loading_the_private_key_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = hostkey.ensure_host_key(tmp_path)
    before = own_descriptors()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.chdir(tmp_path)
    server_context(key)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["host_key", "host_key.pub"]
    assert own_descriptors() == before


BUFFER = memoryview(bytearray(2 * TLS_RECEIVE_SIZE))


@pytest.fixture
def joined(tmp_path: Path) -> Iterator[tuple[socket.socket, RecordWriter, TLSStream]]:
    """A client's socket and what writes its records, and the edge's stream; the handshake is over."""
    context = client_context()
    keys = logging_keys(context, tmp_path)
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    stream = TLSStream(theirs, server_context(hostkey.ensure_host_key(tmp_path)))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(down, up)
    for _ in range(2):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        ours.sendall(up.read())
        if not stream.handshake():
            down.write(ours.recv(1 << 16))
    assert stream.read_into(BUFFER) is None
    yield ours, RecordWriter.after_handshake(client, keys), stream
    ours.close()
    stream.close()


def test_a_call_uses_few_records_however_many_have_come(
    joined: tuple[socket.socket, RecordWriter, TLSStream],
) -> None:
    client, writer, stream = joined
    client.sendall(b"".join(writer.record(b"x") for _ in range(2 * RECORDS_PER_TURN + 1)))
    for size in (RECORDS_PER_TURN, RECORDS_PER_TURN, 1):
        assert stream.read_into(BUFFER) == size
        assert stream.has_more() is (size != 1)
    assert stream.read_into(BUFFER) is None


@pytest.mark.parametrize("request_keys", [False, True])
def test_key_updates_without_end_are_refused_after_one_call(
    joined: tuple[socket.socket, RecordWriter, TLSStream], *, request_keys: bool
) -> None:
    client, writer, stream = joined
    flood = b"".join(writer.key_update(request=request_keys) for _ in range(20 * DATALESS_RECORDS))
    client.sendall(flood)
    before = stream.received
    assert stream.read_into(BUFFER) is None
    assert stream.received - before == RECORDS_PER_TURN * len(flood) // (20 * DATALESS_RECORDS)
    assert stream.has_more()
    with pytest.raises(RecordLimitError, match="too many TLS records without data"):
        stream.read_into(BUFFER)


def test_key_updates_among_data_are_accepted_as_often_as_time_passes(
    joined: tuple[socket.socket, RecordWriter, TLSStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, writer, stream = joined
    now = [1000.0]
    monkeypatch.setattr("farhand_server.edge.tls.time.monotonic", lambda: now[0])
    for number in range(3 * DATALESS_RECORDS):
        now[0] += 1 / edge_tls.DATALESS_RATE
        client.sendall(writer.key_update(request=True) + writer.record(b"%d" % number))
        assert stream.read_into(BUFFER) == len(b"%d" % number)
        assert stream.write(memoryview(b"!")) == 1
        assert len(client.recv(1 << 16)) == (5 + 5 + 1 + 16) + (5 + 1 + 1 + 16)  # a KeyUpdate, and the data
    now[0] += 1
    client.sendall(b"".join(writer.key_update() + writer.record(b"x") for _ in range(2 * DATALESS_RECORDS)))
    for _ in range(DATALESS_RECORDS * 2 // RECORDS_PER_TURN):
        assert stream.read_into(BUFFER) == RECORDS_PER_TURN // 2
    with pytest.raises(RecordLimitError):
        stream.read_into(BUFFER)


async def test_a_client_that_sends_key_updates_without_end_is_closed_and_named(
    edge: RunningEdge, tmp_path: Path
) -> None:
    context = client_context()
    keys = logging_keys(context, tmp_path)

    def flood() -> None:
        with context.wrap_socket(socket.create_connection(("127.0.0.1", edge.port), TEST_TIMEOUT)) as tls:
            writer = RecordWriter.after_handshake(tls, keys)
            with socket.socket(fileno=os.dup(tls.fileno())) as raw, contextlib.suppress(OSError):
                while True:
                    raw.sendall(b"".join(writer.key_update() for _ in range(1000)))

    flooding = asyncio.create_task(asyncio.to_thread(flood))
    await edge.core.client()
    client, core = await edge.pair()
    await client.send(b"beside it")
    assert await core.receive(9) == b"beside it"
    await flooding
    await until(lambda: len(edge.edge.connections) == 1)
    assert 'reason="too many TLS records without data" peer=127.0.0.1' in edge.log.read_text()


@pytest.mark.parametrize("size", [1, 16000])
async def test_a_handshake_without_end_is_refused(edge: RunningEdge, size: int) -> None:
    hello = b"\x01\x01\xff\xff" + bytes(4 * 16000)
    peer = await edge.connect_bare()
    for at in range(0, min(len(hello), 200 * size), size):
        peer.writer.write(b"\x16\x03\x01" + size.to_bytes(2, "big") + hello[at : at + size])
    await peer.read_to_end()
    assert "TLS failed: too much data in the handshake" in edge.log.read_text()


async def test_a_client_cannot_send_much_before_its_login_is_known(edge: RunningEdge) -> None:
    client, core = await edge.pair(verdict=None)
    sent = await client.fill(64 << 20)
    early = len(await core.receive(BEFORE_LOGIN - (20 << 10)))  # the last record is incomplete
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            while data := await core.reader.read(1 << 16):
                early += len(data)
    assert early < BEFORE_LOGIN + TLS_RECEIVE_SIZE
    assert len(edge.edge.connections) == 1
    await core.send(b"who are you?")
    assert await client.receive(12) == b"who are you?"
    await edge.core.verdict(core, FromCore.LOGGED_IN)
    await core.receive(sent - early)


@pytest.mark.parametrize("reset", [False, True])
async def test_one_that_has_sent_too_much_and_gone_keeps_no_place(edge: RunningEdge, *, reset: bool) -> None:
    client, core = await edge.pair(verdict=None)
    await client.send(bytes(100 << 10))  # the rest fits the socket's buffer, so that the end arrives
    await core.receive(BEFORE_LOGIN - (20 << 10))
    if reset:
        client.reset()
    else:
        client.writer.transport.abort()
    await core.read_to_end()
    await until(lambda: not edge.edge.connections)
