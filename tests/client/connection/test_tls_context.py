"""How TLS is used."""

from __future__ import annotations

import contextlib
import ssl

from farhand_client.connection.tls_context import tls_context
from farhand_protocol.tickets import IssuedTicket


def first_bytes(ticket: IssuedTicket | None) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = tls_context(ticket).wrap_bio(incoming, outgoing, server_hostname="web")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_only_the_newest_version_is_offered_and_no_authority_is_asked() -> None:
    context = tls_context(None)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    assert not context.get_ca_certs()


def test_a_ticket_is_shown_with_another_proof_each_time() -> None:
    assert b"farhand/1" in first_bytes(None)
    assert b"farhand-ticket/" not in first_bytes(None)
    ticket = IssuedTicket(b"ticket", bytes(16))
    shown = {first.partition(b"farhand-ticket/")[2][:40] for first in (first_bytes(ticket), first_bytes(ticket))}
    assert len(shown) == 2
    assert b"" not in shown
