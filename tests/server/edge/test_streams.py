"""The edge speaks TLS 1.3 and `farhand/1`, and every connection proves the host key."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from farhand_server import hostkey
from farhand_server.edge.streams import server_context
from tests.server.edge.harness import TEST_TIMEOUT, RunningEdge, client_context


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
    before = set(Path("/proc/self/fd").iterdir())
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.chdir(tmp_path)
    server_context(key)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["host_key", "host_key.pub"]
    assert set(Path("/proc/self/fd").iterdir()) == before
