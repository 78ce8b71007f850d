"""What a client signs to log in: the proof is good for one connection, one service, one user and one key."""

from farhand_protocol.sshwire import pack_string

LOGIN_NAMESPACE = "auth@farhand-v1"
"""The SSHSIG namespace: keeps a signature made for anything else from being a login, and the reverse."""

LOGIN_CONTEXT = b"farhand-auth-v1"
NONCE_SIZE = 32
"""Bytes of randomness from each side, as many as a SHA-256 has: 256 bits never repeat."""


def login_transcript(
    *,
    spki_sha256: bytes,
    server_nonce: bytes,
    client_nonce: bytes,
    server_name: str,
    user: str,
    hello_sha256: bytes,
    public_key: bytes,
) -> bytes:
    """The message that a login's SSHSIG signature is made over, each part an SSH `string`.

    Bound into it are the TLS key of the service (`spki_sha256`, SHA-256 of its SubjectPublicKeyInfo; a relay
    has another), both nonces (a replay has others), the server name as dialled, the user, the exact hello
    frame (`hello_sha256`; negotiation cannot be tampered with) and the public key blob.
    Raises ValueError where a digest or nonce is not 32 bytes or a name is not encodable as UTF-8.
    """
    digests_and_nonces = {
        "spki_sha256": spki_sha256,
        "server_nonce": server_nonce,
        "client_nonce": client_nonce,
        "hello_sha256": hello_sha256,
    }
    for name, value in digests_and_nonces.items():
        if len(value) != NONCE_SIZE:
            raise ValueError(f"{name} has {NONCE_SIZE} bytes, not {len(value)}")
    parts = (
        LOGIN_CONTEXT,
        spki_sha256,
        server_nonce,
        client_nonce,
        server_name.encode(),
        user.encode(),
        hello_sha256,
        public_key,
    )
    return b"".join(pack_string(part) for part in parts)
