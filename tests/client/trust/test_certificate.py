"""The service's key in its certificate, compared with an X.509 library, and every malformed certificate."""

import contextlib
import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.trust import CertificateError
from farhand_client.trust.certificate import service_key

KEY = ed25519.Ed25519PrivateKey.generate()
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def certificate(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey = KEY, *, name: str = "farhand", serial: int = 7
) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), serial, start, start.replace(year=2036))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


GOOD = certificate()


# Long serial numbers and names move the offsets and need lengths of more than one byte.
@pytest.mark.parametrize("der", [GOOD, certificate(serial=1 << 150), certificate(name="x" * 64)])
def test_the_key_is_the_one_that_an_x509_library_finds(der: bytes) -> None:
    found = service_key(der)
    assert found.public_key.point == KEY.public_key().public_bytes_raw()
    assert found.spki_sha256 == hashlib.sha256(SPKI).digest()


def test_a_key_of_another_type_is_refused() -> None:
    with pytest.raises(CertificateError, match="not a Farhand service: the certificate's key is not an Ed25519 key"):
        service_key(certificate(ec.generate_private_key(ec.SECP256R1())))


def test_a_truncated_certificate_is_refused() -> None:
    for size in range(len(GOOD)):
        with pytest.raises(CertificateError, match="not a Farhand service"):
            service_key(GOOD[:size])


@pytest.mark.parametrize(
    ("der", "sentence"),
    [
        (b"", "the certificate is malformed"),
        (GOOD + b"\0", "bytes follow the certificate"),
        (bytes(8193), "has 8193 bytes; the maximum is 8192"),
        (b"\x30\x80" + GOOD[2:], "contains an invalid length"),
        (b"\x30\x81\x05" + bytes(5), "contains an invalid length"),
        (b"\x30\x83\x00\x00\x80" + bytes(128), "contains an invalid length"),
        (b"\x30\x7f", "is truncated"),
    ],
)
def test_anything_but_strict_der_is_refused_with_a_reason(der: bytes, sentence: str) -> None:
    with pytest.raises(CertificateError, match=sentence):
        service_key(der)


@given(st.one_of(st.binary(), st.binary().map(lambda tail: GOOD[:20] + tail)))
def test_arbitrary_bytes_raise_the_certificate_error(data: bytes) -> None:
    with pytest.raises(CertificateError):
        service_key(data)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte_results_in_the_certificate_error_or_a_key(at: int, value: int) -> None:
    with contextlib.suppress(CertificateError):
        service_key(GOOD[:at] + bytes([value]) + GOOD[at + 1 :])
