"""A TLS server context with a new host key, as the edge presents it."""

from __future__ import annotations

import ssl
from pathlib import Path

from farhand_protocol.sshformat import PublicKey
from farhand_server import hostkey


def tls(directory: Path, *, alpn: str | None = "farhand/1") -> tuple[ssl.SSLContext, PublicKey]:
    """Return a server's TLS context with a new host key kept in `directory`, and that key."""
    key = hostkey.ensure_host_key(directory)
    chain = directory / "chain.pem"
    chain.write_bytes(key.chain_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(chain)
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    return context, key.public.key
