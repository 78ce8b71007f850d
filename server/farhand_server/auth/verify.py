"""Verifies SSHSIG signatures with OpenSSH public keys."""

from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from farhand_protocol import login, sshformat
from farhand_protocol.sshformat import PublicKey, Reader, SSHFormatError
from farhand_server.auth.webauthn import (
    USER_PRESENT,
    USER_VERIFIED,
    WEBAUTHN_ECDSA,
    AuthenticatorData,
    PasskeyRefused,
    PasskeySite,
    check_application,
    read_client_data,
    signed_data,
)


class VerificationError(Exception):
    """The signature does not prove what it should. The message is for the log, never for the peer."""


class SignatureProof(NamedTuple):
    """What a valid signature shows besides the key. Of a key that is no security key it shows nothing more."""

    security_key: bool = False
    touched: bool = False
    """Whether somebody has touched the security key for it."""
    verified: bool = False
    """Whether the security key has checked who that was, by a PIN or a finger."""
    passkey: bool = False
    """Whether a browser has had it made."""


def verify_signature(
    blob: bytes, message: bytes, *, key: PublicKey, namespace: str, site: PasskeySite | None = None
) -> SignatureProof:
    """Check that `blob` is an SSHSIG signature over `message`, made by `key` for `namespace` with sha512.

    An RSA key must have signed with rsa-sha2-512. A passkey must have been used at `site`. Whether a security key must
    have been touched depends on its line, so the caller must check that. Raises VerificationError for anything else.
    """
    try:
        parts = login.decode_sshsig(blob)
        if parts.public_key != key.blob:
            raise VerificationError("the signature was made with another key")
        if parts.namespace != namespace.encode():
            raise VerificationError("the signature was made for another namespace")
        if parts.hash_algorithm != login.SSHSIG_HASH_ALGORITHM:
            raise VerificationError("the signature was made with a hash other than sha512")
        return _verify(key, parts.signature, login.sshsig_signed_data(message, namespace), site)
    except SSHFormatError as error:
        raise VerificationError(f"the signature is malformed: {error}") from None
    except PasskeyRefused as error:
        raise VerificationError(str(error)) from None
    except InvalidSignature:
        raise VerificationError("the signature is wrong") from None
    # cryptography raises ValueError for a point that is not on its curve and for numbers that OpenSSL refuses.
    except (ValueError, UnsupportedAlgorithm) as error:
        raise VerificationError(f"the key is not usable: {error}") from None


def _verify(key: PublicKey, signature: bytes, data: bytes, site: PasskeySite | None) -> SignatureProof:
    reader = Reader(signature)
    algorithm = reader.text()
    passkey = algorithm == WEBAUTHN_ECDSA and key.type == sshformat.SK_ECDSA_P256
    expected = "rsa-sha2-512" if key.type == sshformat.RSA else key.type
    if algorithm != expected and not passkey:
        raise VerificationError(f"a {key.type} key must sign with {expected}, not {algorithm}")
    value = reader.string()
    proof = SignatureProof()
    if key.application is not None:
        flags, counter = reader.byte(), reader.u32()
        said = AuthenticatorData(flags, counter)
        if passkey:
            extensions, data = read_client_data(reader, flags, data, site)
            said = AuthenticatorData(flags, counter, extensions)
        data = signed_data(key.application, said, data)
        proof = SignatureProof(True, bool(flags & USER_PRESENT), bool(flags & USER_VERIFIED), passkey)
    reader.end()
    if passkey and site is not None and key.application is not None:
        check_application(key.application, site)
    if key.type in (sshformat.ED25519, sshformat.SK_ED25519):
        ed25519.Ed25519PublicKey.from_public_bytes(key.point).verify(value, data)
    elif key.type == sshformat.RSA:
        _verify_rsa(key, value, data)
    else:
        _verify_ecdsa(key, value, data)
    return proof


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
