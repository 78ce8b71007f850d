"""Extracts the service's key from the certificate that TLS has presented, without an X.509 library.

Nothing in the certificate itself is trusted: clients pin the key, and TLS has proved its possession.
"""

from __future__ import annotations

import hashlib

from farhand_client.trust import CertificateError
from farhand_protocol import sshformat
from farhand_protocol.records import NamedTuple
from farhand_protocol.sshformat import PublicKey, SSHFormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_CERTIFICATE: Final = 8192
"""Bytes; a self-signed Ed25519 certificate takes about 300."""

_INTEGER, _SEQUENCE, _VERSION = 0x02, 0x30, 0xA0


class ServiceKey(NamedTuple):
    """The key that a service presented: as a public key for known_hosts, and as the hash to which logins are bound."""

    public_key: PublicKey
    spki_sha256: bytes


def service_key(certificate: bytes) -> ServiceKey:
    """Return the key in a DER certificate (RFC 5280 section 4.1).

    Raises CertificateError unless it is the certificate of an Ed25519 key in strict DER.
    """
    if len(certificate) > MAX_CERTIFICATE:
        raise CertificateError(
            f"the service's certificate has {len(certificate)} bytes; the maximum is {MAX_CERTIFICATE}"
        )
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
    """Return the start, the start of the contents and the end of the DER element at `at`, which must have `tag`."""
    if limit - at < 2 or data[at] != tag:
        raise SSHFormatError(f"the certificate is malformed (offset {at})")
    length, contents = data[at + 1], at + 2
    if length >= 0x80:
        # X.690 section 10.1: the shortest form only. Two bytes of length already exceed MAX_CERTIFICATE.
        size = length - 0x80
        encoded = data[contents : min(contents + size, limit)]
        length = int.from_bytes(encoded, "big")
        if size not in (1, 2) or len(encoded) != size or length < (0x80 if size == 1 else 0x100):
            raise SSHFormatError(f"the certificate contains an invalid length (offset {at})")
        contents += size
    if contents + length > limit:
        raise SSHFormatError(f"the certificate is truncated (offset {at})")
    return at, contents, contents + length
