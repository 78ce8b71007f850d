"""Login proofs: what a client signs, and the SSHSIG format of the signature. Without I/O.

The client signs `login_transcript(...)`, which is valid for one connection, one service, one user and one key. The
signature is sent as an SSHSIG blob (OpenSSH's PROTOCOL.sshsig, the format of `ssh-keygen -Y sign`), so any OpenSSH key
or agent can create it: the key signs `sshsig_signed_data(...)`, `encode_sshsig` wraps the signature, and the service
unwraps it with `decode_sshsig`.
"""

from __future__ import annotations

import hashlib

from .records import NamedTuple
from .sshformat import Reader, SSHFormatError, pack_string, pack_u32

LOGIN_NAMESPACE = "auth@farhand-v1"
"""The SSHSIG namespace. It prevents a signature made for another purpose from being used to log in, and the reverse."""

LOGIN_CONTEXT = b"farhand-auth-v1"
NONCE_SIZE = 32
"""Random bytes from each side, the size of a SHA-256 digest: 256 random bits never repeat."""

SSHSIG_MAGIC = b"SSHSIG"
SSHSIG_VERSION = 1
SSHSIG_HASH_ALGORITHM = b"sha512"
MAX_SSHSIG = 4096
"""Maximum size in bytes: the largest blob, from an RSA key of 8192 bits, has about 2,200."""


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
    """Return the message that a login's SSHSIG signature covers, each part encoded as an SSH `string`.

    It binds the TLS key of the service (`spki_sha256`, SHA-256 of its SubjectPublicKeyInfo; a relay has a different
    key), both nonces (a replay has different ones), the server name as dialled, the user, the exact hello frame
    (`hello_sha256`, so that the negotiation cannot be tampered with) and the public key blob. Raises ValueError if a
    digest or nonce is not 32 bytes long or a name cannot be encoded as UTF-8.
    """
    digests_and_nonces = {
        "spki_sha256": spki_sha256,
        "server_nonce": server_nonce,
        "client_nonce": client_nonce,
        "hello_sha256": hello_sha256,
    }
    for name, value in digests_and_nonces.items():
        if len(value) != NONCE_SIZE:
            raise ValueError(f"{name} must be {NONCE_SIZE} bytes long, not {len(value)}")
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


class SSHSignature(NamedTuple):
    """The parts of an SSHSIG blob as received. Nothing in them has been verified."""

    public_key: bytes
    namespace: bytes
    hash_algorithm: bytes
    signature: bytes
    """The signature as SSH encodes it: a `string` with the algorithm and the algorithm's own data."""


def sshsig_signed_data(message: bytes, namespace: str) -> bytes:
    """Return the bytes that a key signs for `message`: magic, namespace, reserved (empty), "sha512",
    SHA-512(message)."""
    digest = hashlib.sha512(message).digest()
    parts = (namespace.encode(), b"", SSHSIG_HASH_ALGORITHM, digest)
    return SSHSIG_MAGIC + b"".join(pack_string(part) for part in parts)


def encode_sshsig(public_key: bytes, namespace: str, signature: bytes) -> bytes:
    """Return the SSHSIG blob for `signature`, an SSH-encoded signature over `sshsig_signed_data(message,
    namespace)`."""
    parts = (public_key, namespace.encode(), b"", SSHSIG_HASH_ALGORITHM, signature)
    return SSHSIG_MAGIC + pack_u32(SSHSIG_VERSION) + b"".join(pack_string(part) for part in parts)


def decode_sshsig(blob: bytes) -> SSHSignature:
    """Return the parts of an SSHSIG blob; the caller must verify them.

    Raises SSHFormatError for a blob that is malformed, is longer than MAX_SSHSIG, has another version, or has a
    non-empty reserved field (the signed bytes would differ from `sshsig_signed_data`).
    """
    if len(blob) > MAX_SSHSIG:
        raise SSHFormatError(f"the signature has {len(blob)} bytes; at most {MAX_SSHSIG} are allowed")
    reader = Reader(blob)
    if reader.take(len(SSHSIG_MAGIC)) != SSHSIG_MAGIC:
        raise SSHFormatError("not an SSHSIG signature")
    if (version := reader.u32()) != SSHSIG_VERSION:
        raise SSHFormatError(f"SSHSIG version {version}; only {SSHSIG_VERSION} is supported")
    public_key, namespace, reserved, hash_algorithm, signature = (reader.string() for _ in range(5))
    reader.end()
    if reserved:
        raise SSHFormatError("the signature's reserved field is not empty")
    return SSHSignature(public_key, namespace, hash_algorithm, signature)
