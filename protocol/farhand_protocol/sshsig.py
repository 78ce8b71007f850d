"""SSHSIG, OpenSSH's signature format (its PROTOCOL.sshsig, `ssh-keygen -Y sign`). Pure."""

import base64
import binascii
import hashlib
from typing import NamedTuple

from farhand_protocol.sshwire import Reader, SSHFormatError, pack_string, pack_u32

SSHSIG_MAGIC = b"SSHSIG"
SSHSIG_VERSION = 1
SSHSIG_HASH_ALGORITHM = b"sha512"
# The largest, by an RSA key of 8192 bits, takes about 2,200 bytes.
MAX_SSHSIG = 4096

_BEGIN = b"-----BEGIN SSH SIGNATURE-----"
_END = b"-----END SSH SIGNATURE-----"
_LINE = 70
"""Characters of base64 a line in the armor, as ssh-keygen writes them."""


class SSHSignature(NamedTuple):
    """The parts of an SSHSIG blob, as they came: nothing in them has been verified."""

    public_key: bytes
    namespace: bytes
    hash_algorithm: bytes
    signature: bytes
    """The signature as SSH encodes it: a string with the algorithm and what belongs to it."""


def sshsig_signed_data(message: bytes, namespace: str) -> bytes:
    """The bytes a key signs for `message`: magic, namespace, reserved (empty), "sha512", SHA-512(message)."""
    return SSHSIG_MAGIC + b"".join(
        pack_string(part) for part in (namespace.encode(), b"", SSHSIG_HASH_ALGORITHM, hashlib.sha512(message).digest())
    )


def encode_sshsig(public_key: bytes, namespace: str, signature: bytes) -> bytes:
    """The SSHSIG blob for a signature, as SSH encodes it, over `sshsig_signed_data(message, namespace)`."""
    parts = (public_key, namespace.encode(), b"", SSHSIG_HASH_ALGORITHM, signature)
    return SSHSIG_MAGIC + pack_u32(SSHSIG_VERSION) + b"".join(pack_string(part) for part in parts)


def decode_sshsig(blob: bytes) -> SSHSignature:
    """Take an SSHSIG blob apart.

    Raises SSHFormatError for one longer than MAX_SSHSIG, of another version, with anything in the reserved
    field (the signed bytes would not be those of `sshsig_signed_data`), or malformed.
    """
    if len(blob) > MAX_SSHSIG:
        raise SSHFormatError(f"a signature of {len(blob)} bytes; at most {MAX_SSHSIG} are allowed")
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


def armor(blob: bytes) -> bytes:
    """The file form of an SSHSIG blob, as `ssh-keygen -Y verify` reads it."""
    text = base64.b64encode(blob)
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    return b"\n".join([_BEGIN, *lines, _END, b""])


def dearmor(data: bytes) -> bytes:
    """The SSHSIG blob in a signature file. Raises SSHFormatError where any part of it is damaged."""
    if not data.startswith(_BEGIN + b"\n"):
        raise SSHFormatError("the signature's BEGIN line is missing")
    body, end, _ = data[len(_BEGIN) :].partition(b"\n" + _END)
    if not end:
        raise SSHFormatError("the signature's END line is missing")
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        raise SSHFormatError("the signature is not valid base64") from None
