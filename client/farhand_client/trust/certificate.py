"""Find the service's key in the certificate TLS showed, without an X.509 library.

The certificate itself says nothing to be believed: peers pin the key, and TLS has proved its possession.
"""

import hashlib
from typing import NamedTuple

from farhand_client.trust.errors import CertificateError
from farhand_protocol import sshformat
from farhand_protocol.sshformat import PublicKey, SSHFormatError

# A self-signed Ed25519 certificate takes some 300 bytes.
MAX_CERTIFICATE = 8192

_INTEGER, _SEQUENCE, _VERSION = 0x02, 0x30, 0xA0


class ServiceKey(NamedTuple):
    """The key a service showed: as SSH writes it, for known hosts, and as logins are bound to it."""

    public_key: PublicKey
    spki_sha256: bytes


def service_key(certificate: bytes) -> ServiceKey:
    """The key in a DER certificate (RFC 5280 section 4.1).

    Raises CertificateError for whatever is not the certificate of an Ed25519 key in strict DER.
    """
    if len(certificate) > MAX_CERTIFICATE:
        raise CertificateError(f"the service's certificate has {len(certificate)} bytes; at most {MAX_CERTIFICATE}")
    try:
        spki = _subject_public_key_info(certificate)
        return ServiceKey(sshformat.host_key_from_spki(spki), hashlib.sha256(spki).digest())
    except SSHFormatError as error:
        raise CertificateError(f"this is not a Farhand service: {error}") from None


def _subject_public_key_info(certificate: bytes) -> bytes:
    # Certificate ::= SEQUENCE { TBSCertificate, … }; TBSCertificate ::= SEQUENCE { [0] version OPTIONAL,
    # serial INTEGER, and the SEQUENCEs signature, issuer, validity, subject, subjectPublicKeyInfo, … }.
    _, at, end = _element(certificate, 0, len(certificate), _SEQUENCE)
    if end != len(certificate):
        raise SSHFormatError("bytes follow the certificate")
    _, at, end = _element(certificate, at, end, _SEQUENCE)
    if at < end and certificate[at] == _VERSION:
        _, _, at = _element(certificate, at, end, _VERSION)
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE):
        _, _, at = _element(certificate, at, end, tag)
    start, _, stop = _element(certificate, at, end, _SEQUENCE)
    return certificate[start:stop]


def _element(data: bytes, at: int, limit: int, tag: int) -> tuple[int, int, int]:
    """The start, start of the contents and end of the DER element at `at`, which must have this tag."""
    if limit - at < 2 or data[at] != tag:
        raise SSHFormatError(f"the certificate is not laid out as one (offset {at})")
    length, contents = data[at + 1], at + 2
    if length >= 0x80:
        # X.690 section 10.1: the shortest form only. Two bytes of length are beyond MAX_CERTIFICATE already.
        size = length - 0x80
        encoded = data[contents : min(contents + size, limit)]
        length = int.from_bytes(encoded, "big")
        if size not in (1, 2) or len(encoded) != size or length < (0x80 if size == 1 else 0x100):
            raise SSHFormatError(f"the certificate holds an impossible length (offset {at})")
        contents += size
    if contents + length > limit:
        raise SSHFormatError(f"the certificate ends too early (offset {at})")
    return at, contents, contents + length
