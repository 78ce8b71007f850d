"""The edge's TLS: version 1.3, the application protocol of ours, no resumption."""

from __future__ import annotations

import os
import ssl
from typing import Final

from farhand_server.hostkey import HostKey

ALPN: Final = "farhand/1"


def server_context(key: HostKey) -> ssl.SSLContext:
    """Return the context for the edge's connections.

    There is no resumption: neither tickets nor a session cache, so that each connection proves the host key anew
    and its forward secrecy hangs on no ticket key. That a client has chosen `ALPN` is for the caller to check
    after the handshake: OpenSSL goes on without one where the two have none in common.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Without the option, a ticket made elsewhere with the same key would still be taken.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([ALPN])
    # Python loads keys from files only: this one has no name, and is gone with its descriptor.
    descriptor = os.memfd_create("chain", os.MFD_CLOEXEC)
    try:
        chain = key.chain_pem()
        if os.write(descriptor, chain) != len(chain):
            raise OSError("the certificate could not be written to memory")
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context
