from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import login, sshformat
from farhand_protocol.sshformat import PublicKey, Reader, pack_mpint, pack_string
from farhand_server.auth.verify import SignatureProof, VerificationError, verify_signature
from tests.support import openssh
from tests.support.openssh import SoftwareSecurityKey

NAMESPACE = "auth@farhand-v1"
MESSAGE = b"what is signed"

SECURITY_KEYS = [
    pytest.param(SoftwareSecurityKey.ed25519(), id="sk-ssh-ed25519"),
    pytest.param(SoftwareSecurityKey.ecdsa(), id="sk-ecdsa"),
]


def verify(blob: bytes, key: PublicKey, message: bytes = MESSAGE, namespace: str = NAMESPACE) -> None:
    verify_signature(blob, message, key=key, namespace=namespace)


def replace(blob: bytes, *, namespace: bytes | None = None, hash_algorithm: bytes | None = None) -> bytes:
    parts = login.decode_sshsig(blob)
    fields = (
        parts.public_key,
        parts.namespace if namespace is None else namespace,
        b"",
        parts.hash_algorithm if hash_algorithm is None else hash_algorithm,
        parts.signature,
    )
    return b"SSHSIG\0\0\0\x01" + b"".join(map(pack_string, fields))


@pytest.mark.needs("ssh-keygen")
@pytest.mark.parametrize(("kind", "bits"), [("ed25519", None), ("ecdsa", 256), ("rsa", 2048), ("rsa", 3072)])
def test_a_signature_by_ssh_keygen_is_valid_and_ssh_keygen_agrees(tmp_path: Path, kind: str, bits: int | None) -> None:
    key = openssh.make_key(tmp_path / "key", kind, bits=bits)
    blob = openssh.sign(tmp_path / "key", MESSAGE, NAMESPACE)
    verify(blob, key)
    assert openssh.verifies(tmp_path, key, blob, MESSAGE, NAMESPACE)
    with pytest.raises(VerificationError, match="the signature is wrong"):
        verify(blob, key, message=MESSAGE + b".")


@pytest.mark.needs("ssh-keygen")
@pytest.mark.parametrize("security_key", SECURITY_KEYS)
def test_a_security_keys_signature_is_valid_and_ssh_keygen_agrees(
    tmp_path: Path, security_key: SoftwareSecurityKey
) -> None:
    blob = security_key.sign(MESSAGE, NAMESPACE)
    verify(blob, security_key.public_key)
    assert openssh.verifies(tmp_path, security_key.public_key, blob, MESSAGE, NAMESPACE)
    with pytest.raises(VerificationError, match="the signature is wrong"):
        verify(blob, security_key.public_key, message=MESSAGE + b".")


@pytest.mark.parametrize("security_key", SECURITY_KEYS)
@pytest.mark.parametrize(
    ("flags", "touched", "verified"),
    [(0x00, False, False), (0x04, False, True), (0x01, True, False), (0x05, True, True)],
)
def test_a_signature_shows_whether_the_security_key_was_touched_and_by_whom(
    security_key: SoftwareSecurityKey, flags: int, touched: bool, verified: bool
) -> None:
    blob = security_key.sign(MESSAGE, NAMESPACE, flags=flags)
    shown = verify_signature(blob, MESSAGE, key=security_key.public_key, namespace=NAMESPACE)
    assert shown == SignatureProof(security_key=True, touched=touched, verified=verified)


@pytest.mark.needs("ssh-keygen")
@pytest.mark.parametrize("security_key", SECURITY_KEYS)
def test_a_security_key_may_have_any_application(tmp_path: Path, security_key: SoftwareSecurityKey) -> None:
    other = SoftwareSecurityKey(security_key.private, b"ssh:other")
    blob = other.sign(MESSAGE, NAMESPACE)
    verify(blob, other.public_key)
    assert openssh.verifies(tmp_path, other.public_key, blob, MESSAGE, NAMESPACE)


@pytest.mark.parametrize("security_key", SECURITY_KEYS)
def test_bytes_after_a_signature_are_refused(security_key: SoftwareSecurityKey) -> None:
    key = security_key.public_key
    blob = login.encode_sshsig(
        key.blob, NAMESPACE, login.decode_sshsig(security_key.sign(MESSAGE, NAMESPACE)).signature + b"x"
    )
    with pytest.raises(VerificationError, match="1 bytes follow the end"):
        verify(blob, key)


def test_bytes_after_an_ecdsa_signatures_numbers_are_refused() -> None:
    security_key = SoftwareSecurityKey.ecdsa()
    key = security_key.public_key
    reader = Reader(login.decode_sshsig(security_key.sign(MESSAGE, NAMESPACE)).signature)
    kind, value, rest = reader.string(), reader.string(), reader.take(5)
    signature = pack_string(kind) + pack_string(value + b"x") + rest
    with pytest.raises(VerificationError, match="1 bytes follow the end"):
        verify(login.encode_sshsig(key.blob, NAMESPACE, signature), key)


@pytest.mark.parametrize("security_key", SECURITY_KEYS)
def test_a_security_key_for_another_application_is_another_key(security_key: SoftwareSecurityKey) -> None:
    other = SoftwareSecurityKey(security_key.private, b"ssh:other")
    parts = login.decode_sshsig(other.sign(MESSAGE, NAMESPACE))
    blob = login.encode_sshsig(security_key.public_key.blob, NAMESPACE, parts.signature)
    with pytest.raises(VerificationError, match="the signature is wrong"):
        verify(blob, security_key.public_key)


def test_a_signature_for_another_namespace_is_refused() -> None:
    key = SoftwareSecurityKey.ed25519()
    with pytest.raises(VerificationError, match="made for another namespace"):
        verify(key.sign(MESSAGE, "file"), key.public_key)
    with pytest.raises(VerificationError, match="the signature is wrong"):
        verify(replace(key.sign(MESSAGE, "file"), namespace=NAMESPACE.encode()), key.public_key)


def test_a_signature_with_another_hash_is_refused() -> None:
    key = SoftwareSecurityKey.ed25519()
    blob = replace(key.sign(MESSAGE, NAMESPACE), hash_algorithm=b"sha256")
    with pytest.raises(VerificationError, match="a hash other than sha512"):
        verify(blob, key.public_key)


def test_a_signature_by_another_key_is_refused() -> None:
    key, other = SoftwareSecurityKey.ed25519(), SoftwareSecurityKey.ed25519()
    blob = other.sign(MESSAGE, NAMESPACE)
    with pytest.raises(VerificationError, match="was made with another key"):
        verify(blob, key.public_key)
    relabelled = login.encode_sshsig(key.public_key.blob, NAMESPACE, login.decode_sshsig(blob).signature)
    with pytest.raises(VerificationError, match="the signature is wrong"):
        verify(relabelled, key.public_key)


class TestRSA:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def key(self) -> PublicKey:
        numbers = self.private.public_key().public_numbers()
        return sshformat.parse_public_key(pack_string(b"ssh-rsa") + pack_mpint(numbers.e) + pack_mpint(numbers.n))

    def signed(self, algorithm: bytes, value: bytes | None = None, hash_: hashes.HashAlgorithm | None = None) -> bytes:
        data = login.sshsig_signed_data(MESSAGE, NAMESPACE)
        value = value or self.private.sign(data, padding.PKCS1v15(), hash_ or hashes.SHA512())
        return login.encode_sshsig(self.key.blob, NAMESPACE, pack_string(algorithm) + pack_string(value))

    def test_a_signature_with_rsa_sha2_512_is_valid(self) -> None:
        verify(self.signed(b"rsa-sha2-512"), self.key)

    @pytest.mark.parametrize("algorithm", [b"ssh-rsa", b"rsa-sha2-256", b"rsa-sha2-512x"])
    def test_any_other_signature_algorithm_is_refused(self, algorithm: bytes) -> None:
        with pytest.raises(VerificationError, match="must sign with rsa-sha2-512, not"):
            verify(self.signed(algorithm), self.key)

    def test_a_weaker_hash_under_the_name_of_sha512_is_refused(self) -> None:
        with pytest.raises(VerificationError, match="the signature is wrong"):
            verify(self.signed(b"rsa-sha2-512", hash_=hashes.SHA256()), self.key)

    def test_leading_zeros_that_an_agent_stripped_are_restored(self) -> None:
        # One signature in 256 starts with a zero byte; find a message whose does.
        for counter in range(10_000):
            message = b"%d" % counter
            data = login.sshsig_signed_data(message, NAMESPACE)
            value = self.private.sign(data, padding.PKCS1v15(), hashes.SHA512())
            if value[0] == 0:
                break
        signature = pack_string(b"rsa-sha2-512") + pack_string(value.lstrip(b"\0"))
        verify(login.encode_sshsig(self.key.blob, NAMESPACE, signature), self.key, message=message)

    @pytest.mark.parametrize("value", [b"\1", b"\xff" * 256, b"\1" * 257])
    def test_a_random_signature_is_refused(self, value: bytes) -> None:
        with pytest.raises(VerificationError):
            verify(self.signed(b"rsa-sha2-512", value), self.key)


def test_a_point_off_its_curve_is_refused() -> None:
    blob = pack_string(b"ecdsa-sha2-nistp256") + pack_string(b"nistp256") + pack_string(b"\4" + b"\7" * 64)
    key = sshformat.parse_public_key(blob)
    signature = pack_string(b"ecdsa-sha2-nistp256") + pack_string(pack_mpint(1) + pack_mpint(1))
    with pytest.raises(VerificationError, match="the key is not usable"):
        verify(login.encode_sshsig(key.blob, NAMESPACE, signature), key)


GOOD_KEYS = [SoftwareSecurityKey.ed25519(), SoftwareSecurityKey.ecdsa()]
GOOD = [(key.public_key, key.sign(MESSAGE, NAMESPACE)) for key in GOOD_KEYS]


@given(st.data(), st.sampled_from(GOOD))
def test_a_signature_with_any_bit_changed_is_refused(data: st.DataObject, good: tuple[PublicKey, bytes]) -> None:
    key, blob = good
    bit = data.draw(st.integers(0, len(blob) * 8 - 1))
    changed = bytearray(blob)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VerificationError):
        verify(bytes(changed), key)


@given(st.binary(max_size=300), st.sampled_from(GOOD))
def test_random_bytes_raise_only_verification_errors(tail: bytes, good: tuple[PublicKey, bytes]) -> None:
    key, _ = good
    for blob in (tail, login.encode_sshsig(key.blob, NAMESPACE, pack_string(key.type.encode()) + tail)):
        with pytest.raises(VerificationError):
            verify(blob, key)
