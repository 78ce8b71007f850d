"""Verifies SSHSIG signatures with OpenSSH public keys."""

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from farhand_protocol import login, sshformat
from farhand_protocol.sshformat import PublicKey, Reader, SSHFormatError, pack_u32

_USER_PRESENT = 0x01
"""The flag for a touch of the authenticator (PROTOCOL.u2f in the OpenSSH source)."""


class VerificationError(Exception):
    """The signature does not prove what it should. The message is for the log, never for the peer."""


def verify_signature(blob: bytes, message: bytes, *, key: PublicKey, namespace: str) -> None:
    """Check that `blob` is an SSHSIG signature over `message`, made by `key` for `namespace` with sha512.

    An RSA key must have signed with rsa-sha2-512. A security key must have been touched (user presence). Raises
    VerificationError for anything else.
    """
    try:
        parts = login.decode_sshsig(blob)
        if parts.public_key != key.blob:
            raise VerificationError("the signature was made with another key")
        if parts.namespace != namespace.encode():
            raise VerificationError("the signature was made for another namespace")
        if parts.hash_algorithm != login.SSHSIG_HASH_ALGORITHM:
            raise VerificationError("the signature was made with a hash other than sha512")
        _verify(key, parts.signature, login.sshsig_signed_data(message, namespace))
    except SSHFormatError as error:
        raise VerificationError(f"the signature is malformed: {error}") from None
    except InvalidSignature:
        raise VerificationError("the signature is wrong") from None
    # cryptography raises ValueError for a point that is not on its curve and for numbers that OpenSSL refuses.
    except (ValueError, UnsupportedAlgorithm) as error:
        raise VerificationError(f"the key is not usable: {error}") from None


def _verify(key: PublicKey, signature: bytes, data: bytes) -> None:
    reader = Reader(signature)
    algorithm = reader.text()
    expected = "rsa-sha2-512" if key.type == sshformat.RSA else key.type
    if algorithm != expected:
        raise VerificationError(f"a {key.type} key must sign with {expected}, not {algorithm}")
    value = reader.string()
    if key.application is not None:
        flags, counter = reader.byte(), reader.u32()
        if not flags & _USER_PRESENT:
            raise VerificationError("the security key was not touched")
        data = (
            hashlib.sha256(key.application).digest()
            + bytes([flags])
            + pack_u32(counter)
            + hashlib.sha256(data).digest()
        )
    reader.end()
    if key.type in (sshformat.ED25519, sshformat.SK_ED25519):
        ed25519.Ed25519PublicKey.from_public_bytes(key.point).verify(value, data)
    elif key.type == sshformat.RSA:
        _verify_rsa(key, value, data)
    else:
        _verify_ecdsa(key, value, data)


def _verify_ecdsa(key: PublicKey, value: bytes, data: bytes) -> None:
    # RFC 5656 section 3.1.2: the signature is two mpints.
    reader = Reader(value)
    r, s = reader.mpint(), reader.mpint()
    reader.end()
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.point)
    public.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))


def _verify_rsa(key: PublicKey, value: bytes, data: bytes) -> None:
    # RFC 8332 section 3. Some agents strip leading zeros; like OpenSSH, this code restores them.
    public = rsa.RSAPublicNumbers(key.exponent, key.modulus).public_key()
    size = (key.modulus.bit_length() + 7) // 8
    public.verify(value.rjust(size, b"\0"), data, padding.PKCS1v15(), hashes.SHA512())
