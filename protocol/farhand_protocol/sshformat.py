"""SSH's formats: binary encoding (RFC 4251 section 5), public keys (RFC 4253 section 6.6), and patterns of host names.

To keep a client's start fast, this module imports no cryptography: the client shows fingerprints and asks an agent to
sign, which does not need it. For the same reason records are named tuples of our own: each dataclass would add 0.9 ms
to a client's start.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from .records import NamedTuple
from .sentences import counted
from .wildcards import matches_pattern

ED25519 = "ssh-ed25519"
ECDSA_P256 = "ecdsa-sha2-nistp256"
RSA = "ssh-rsa"
SK_ED25519 = "sk-ssh-ed25519@openssh.com"
SK_ECDSA_P256 = "sk-ecdsa-sha2-nistp256@openssh.com"
KEY_TYPES = (ED25519, ECDSA_P256, RSA, SK_ED25519, SK_ECDSA_P256)

# The largest key, RSA with 8192 bits, takes 1,050 bytes; the rest is room for an sk- application name.
MAX_PUBLIC_KEY = 2048
# NIST SP 800-131A disallows smaller keys; larger keys only make verification slow.
RSA_BITS = range(2048, 8193)
# OpenSSL refuses larger exponents for big moduli (OPENSSL_RSA_MAX_PUBEXP_BITS), and they only cost time.
MAX_RSA_EXPONENT_BITS = 64


class SSHFormatError(ValueError):
    """Bytes or text are not in the expected SSH format; the message says what is wrong."""


def pack_u32(value: int) -> bytes:
    """Encode 0 ≤ value < 2**32 as four bytes, big-endian (`uint32`)."""
    return value.to_bytes(4, "big")


def pack_string(value: bytes) -> bytes:
    """Encode bytes as `string`: a uint32 length and the bytes."""
    return pack_u32(len(value)) + value


def pack_mpint(value: int) -> bytes:
    """Encode an integer ≥ 0 as `mpint`: big-endian, with a leading zero byte if the top bit is set."""
    return pack_string(value.to_bytes(value.bit_length() // 8 + 1, "big") if value else b"")


class Reader:
    """Reads values from the front of a buffer.

    Every method raises SSHFormatError if the value is missing or malformed.
    """

    __slots__ = ("_data", "_offset")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        end = self._offset + count
        if end > len(self._data):
            missing = end - len(self._data)
            raise SSHFormatError(
                f"the data is cut off at offset {len(self._data)}, {counted(missing, 'byte')} too early"
            )
        taken = self._data[self._offset : end]
        self._offset = end
        return taken

    def byte(self) -> int:
        """Return one byte, 0 to 255."""
        return self.take(1)[0]

    def u32(self) -> int:
        """Return one `uint32`."""
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """Return one `string`. A length beyond the buffer is refused before anything is copied."""
        return self.take(self.u32())

    def text(self) -> str:
        """Return one `string` of printable ASCII, such as the name of an algorithm (RFC 4251 section 6)."""
        raw = self.string()
        if not raw.isascii() or not (text := raw.decode("ascii")).isprintable():
            raise SSHFormatError("a name holds bytes that are not printable ASCII")
        return text

    def mpint(self) -> int:
        """Return one `mpint` ≥ 0 in its shortest form; negative and padded integers are refused, since no key needs
        them."""
        raw = self.string()
        if raw and raw[0] & 0x80:
            raise SSHFormatError("an integer is negative")
        if raw and raw[0] == 0 and (len(raw) == 1 or not raw[1] & 0x80):
            raise SSHFormatError("an integer has needless leading zeros")
        return int.from_bytes(raw, "big")

    def end(self) -> None:
        """Raise SSHFormatError unless everything has been read."""
        if left := len(self._data) - self._offset:
            raise SSHFormatError(f"{left} bytes follow the end of the data")


class PublicKey(NamedTuple):
    """A public key of one of KEY_TYPES. Two keys are the same if their blobs are equal."""

    type: str
    blob: bytes
    """The whole key as SSH encodes it."""
    point: bytes = b""
    """32 bytes for the Ed25519 types, 65 bytes (an uncompressed point) for the ECDSA types, empty for RSA."""
    exponent: int = 0
    modulus: int = 0
    application: bytes | None = None
    """The application that a security key's key is for, such as `ssh:`; None for every other type."""

    @property
    def fingerprint(self) -> str:
        """`SHA256:` and the unpadded base64 of the blob's SHA-256, as ssh-keygen -l prints it."""
        return key_fingerprint(self.blob)


def parse_public_key(blob: bytes) -> PublicKey:
    """Parse a public key blob.

    Raises SSHFormatError for a type outside KEY_TYPES, an RSA modulus outside RSA_BITS, trailing bytes, and any other
    malformed input. Whether a point lies on its curve is left to the verifier to check. Formats: RFC 8709 (Ed25519),
    RFC 5656 (ECDSA), RFC 4253 (RSA), OpenSSH PROTOCOL.u2f (sk-).
    """
    if len(blob) > MAX_PUBLIC_KEY:
        raise SSHFormatError(f"the public key has {len(blob)} bytes; at most {MAX_PUBLIC_KEY} are allowed")
    reader = Reader(blob)
    kind = reader.text()
    if kind not in KEY_TYPES:
        raise SSHFormatError(f"key type {kind!r} is not supported; supported are {', '.join(KEY_TYPES)}")
    point, exponent, modulus, application = b"", 0, 0, None
    if kind == RSA:
        exponent, modulus = reader.mpint(), reader.mpint()
        _check_rsa(exponent, modulus)
    elif kind in (ED25519, SK_ED25519):
        point = reader.string()
        if len(point) != 32:
            raise SSHFormatError(f"an Ed25519 key must have 32 bytes; this one has {len(point)}")
    else:
        curve = reader.text()
        if curve != "nistp256":
            raise SSHFormatError(f"the key type {kind} needs the curve nistp256, but the key names {curve!r}")
        point = reader.string()
        if len(point) != 65 or point[0] != 4:
            raise SSHFormatError("the ECDSA key is not an uncompressed point of 65 bytes")
    if kind in (SK_ED25519, SK_ECDSA_P256):
        application = reader.string()
    reader.end()
    return PublicKey(kind, blob, point, exponent, modulus, application)


def _check_rsa(exponent: int, modulus: int) -> None:
    bits = modulus.bit_length()
    if bits not in RSA_BITS:
        raise SSHFormatError(f"the RSA key has {bits} bits; 2048 to 8192 are allowed")
    if exponent < 3 or not exponent & 1 or exponent.bit_length() > MAX_RSA_EXPONENT_BITS or not modulus & 1:
        raise SSHFormatError("the RSA key has an impossible exponent or modulus")


def key_fingerprint(blob: bytes) -> str:
    """Return the OpenSSH fingerprint of a public key blob: `SHA256:` and 43 characters of base64."""
    digest = hashlib.sha256(blob).digest()
    return "SHA256:" + base64.b64encode(digest).rstrip(b"=").decode("ascii")


def parse_public_key_fields(kind: str, encoded: str) -> PublicKey:
    """Parse the two fields `keytype base64-key` of authorized_keys, known_hosts and .pub files.

    Raises SSHFormatError if the base64 or the key is malformed, or if the two types differ.
    """
    try:
        blob = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise SSHFormatError("the key is not valid base64") from None
    key = parse_public_key(blob)
    if key.type != kind:
        raise SSHFormatError(f"the line says {kind!r}, but the key says {key.type!r}")
    return key


def parse_public_key_line(line: str) -> tuple[PublicKey, str]:
    """Parse `keytype base64-key [comment]`, the one line of a .pub file, into the key and its comment.

    Raises SSHFormatError.
    """
    fields = line.strip().split(None, 2)
    if len(fields) < 2:
        raise SSHFormatError("a public key line has the form: keytype base64-key [comment]")
    return parse_public_key_fields(fields[0], fields[1]), fields[2] if len(fields) > 2 else ""


def format_public_key_line(key: PublicKey, comment: str = "") -> str:
    """Return the line, without a newline, that parse_public_key_line reads.

    Raises ValueError if the comment is not printable or not on one line.
    """
    if comment and not comment.isprintable():
        raise ValueError("a key's comment must be printable and on one line")
    line = f"{key.type} {base64.b64encode(key.blob).decode('ascii')}"
    return f"{line} {comment}" if comment else line


# RFC 8410 section 4 and 10.1: SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING of 32 bytes }.
_ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")


def host_key_from_spki(spki: bytes) -> PublicKey:
    """Return the SSH form (RFC 8709) of a DER SubjectPublicKeyInfo (RFC 8410), the form in which TLS shows a key.

    Raises SSHFormatError for any but an Ed25519 key.
    """
    prefix, point = spki[: len(_ED25519_SPKI)], spki[len(_ED25519_SPKI) :]
    if prefix != _ED25519_SPKI or len(point) != 32:
        raise SSHFormatError("the certificate's key is not an Ed25519 key")
    return parse_public_key(pack_string(ED25519.encode()) + pack_string(point))


def spki_from_host_key(key: PublicKey) -> bytes:
    """Return the DER SubjectPublicKeyInfo of an SSH public key. Raises SSHFormatError for any but an Ed25519 key."""
    if key.type != ED25519:
        raise SSHFormatError(f"the host key is of type {key.type}; it must be {ED25519}")
    return _ED25519_SPKI + key.point


def matches_host_list(names: tuple[str, ...], patterns: str) -> bool:
    """Return whether a comma-separated list of patterns accepts a host: a pattern matches one of its names, and no
    `!pattern` does.

    Names and patterns are compared in lower case.
    """
    found = False
    for item in patterns.lower().split(","):
        negated = item.startswith("!")
        if any(matches_pattern(name.lower(), item[negated:]) for name in names):
            if negated:
                return False
            found = True
    return found
