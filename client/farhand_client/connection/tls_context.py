"""How TLS is used: version 1.3, without certificate authorities, with the ticket of the last login in the handshake."""

from __future__ import annotations

import os
import ssl

from farhand_protocol import ALPN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from farhand_protocol.tickets import IssuedTicket


def tls_context(ticket: IssuedTicket | None) -> ssl.SSLContext:
    """Return the context for one connection. The caller must compare the key that the service presents."""
    # Not create_default_context: certificate authorities are not used, and loading them takes 20 ms.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # TLS proves that the peer holds the certificate's key, which is pinned
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    offered = [ALPN]
    if ticket is not None:
        from farhand_protocol.tickets import TICKET_NONCE_SIZE

        offered.append(ticket.protocol(os.urandom(TICKET_NONCE_SIZE)))
    context.set_alpn_protocols(offered)
    return context
