"""The container of private keys that ssh-keygen writes (OpenSSH PROTOCOL.key). It is only taken apart here.

An Ed25519 key that is not encrypted needs nothing else: `ed25519_seed` returns what `Ed25519PrivateKey` wants, and
spares a login the import of everything that loads other keys.
"""

from __future__ import annotations

import base64
import binascii

from farhand_protocol import sshformat
from farhand_protocol.records import NamedTuple
from farhand_protocol.sshformat import PublicKey, Reader, SSHFormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_MAGIC: Final = b"openssh-key-v1\0"
_BEGIN: Final = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_END: Final = b"-----END OPENSSH PRIVATE KEY-----"


class KeyContainer(NamedTuple):
    """What a file holds: the public key, whether the private one is `encrypted`, and its bytes, if they are there."""

    public_key: PublicKey
    encrypted: bool
    private: bytes


def openssh_body(data: bytes) -> bytes | None:
    """Return the base64 in a file of this format; None if the file has another one."""
    at = data.find(_BEGIN)
    end = data.find(_END, at + len(_BEGIN)) if at >= 0 else -1
    body = data[at + len(_BEGIN) : end] if end >= 0 else b""
    return body if body[:1].isspace() else None


def read_container(body: bytes) -> KeyContainer:
    """Return what is in the base64 `body`. Raises SSHFormatError."""
    try:
        reader = Reader(base64.b64decode(body))
    except binascii.Error:
        raise SSHFormatError("the key file is not valid base64") from None
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise SSHFormatError("the key file is not in the format openssh-key-v1")
    cipher, _, _, count = reader.text(), reader.text(), reader.string(), reader.u32()
    if count != 1:
        raise SSHFormatError(f"the key file contains {count} keys; only one is supported")
    public_key = sshformat.parse_public_key(reader.string())
    try:
        private = reader.string()
    except SSHFormatError:
        private = b""  # an agent may hold the key all the same
    return KeyContainer(public_key, cipher != "none", private)


def ed25519_seed(container: KeyContainer) -> bytes | None:
    """Return the 32 bytes of an Ed25519 private key; None for another key, and for one that is encrypted or damaged."""
    if container.encrypted or container.public_key.type != sshformat.ED25519:
        return None
    try:
        reader = Reader(container.private)
        if reader.u32() != reader.u32() or reader.text() != sshformat.ED25519:
            return None
        point, secret = reader.string(), reader.string()
    except SSHFormatError:
        return None
    # The secret is the seed and the public key once more (RFC 8032, section 5.1.5; PROTOCOL.key).
    if point != container.public_key.point or len(secret) != 64 or secret[32:] != point:
        return None
    return secret[:32]
