import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import login, sshformat
from farhand_protocol.sshformat import PublicKey, pack_string
from farhand_server.auth.verify import SignatureProof, VerificationError, verify_signature
from farhand_server.auth.webauthn import AuthenticatorData, PasskeySite, client_data_beginning, signed_data
from tests.support import openssh
from tests.support.openssh import SoftwarePasskey, SoftwareSecurityKey

NAMESPACE = "auth@farhand-v1"
MESSAGE = b"what is signed"
SITE = PasskeySite("https://farhand.example.net", "farhand.example.net")
PASSKEY = SoftwarePasskey.generate()

OPENSSH_KEY = (
    "sk-ecdsa-sha2-nistp256@openssh.com AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYAAABBBBRGwD"
    "js4HhJFcn4tJ5Gr72KcmRmCS1OirETxaXvnsNApgoOLF1a/7rxldfSMHm73eT1nhHe97W8qicPPEAKDJQAAAALbWluZHJvdC5vcmc="
)
OPENSSH_SIGNATURE = base64.b64decode(
    "U1NIU0lHAAAAAQAAAIYAAAAic2stZWNkc2Etc2hhMi1uaXN0cDI1NkBvcGVuc3NoLmNvbQAAAAhuaXN0cDI1NgAAAEEEFEbAOOzgeEkVyfi0nkavvYpyZ"
    "GYJLU6KsRPFpe+ew0CmCg4sXVr/uvGV19Iwebvd5PWeEd73tbyqJw88QAoMlAAAAAttaW5kcm90Lm9yZwAAAAh1bml0dGVzdAAAAAAAAAAGc2hhNTEyAA"
    "ABhwAAACt3ZWJhdXRobi1zay1lY2RzYS1zaGEyLW5pc3RwMjU2QG9wZW5zc2guY29tAAAASQAAACBj2oMT9tb5wRXe6mdmf4/lgAO8wrgr95ouozwNg4i"
    "tnQAAACEAtU9g5wz3HchUiLfLD6plr9T4TiJ32lVCrATSjpiy0SMBAAADHwAAABdodHRwczovL3d3dy5taW5kcm90Lm9yZwAAAON7InR5cGUiOiJ3ZWJh"
    "dXRobi5nZXQiLCJjaGFsbGVuZ2UiOiJVMU5JVTBsSEFBQUFDSFZ1YVhSMFpYTjBBQUFBQUFBQUFBWnphR0UxTVRJQUFBQkFMTHU4WmdjU3h0Nk1zRlV6d"
    "WlaZ0c2R3dNZEo5ZDd4ZUU3WW9SSXcwZzlpSEpfd3NGRDcxbzRXbHllenZGV0VqYnFRMHFDN0Z3R3Bqa2pVUVAtTmQ2dyIsIm9yaWdpbiI6Imh0dHBzOi"
    "8vd3d3Lm1pbmRyb3Qub3JnIiwiY3Jvc3NPcmlnaW4iOmZhbHNlfQAAAAA="
)
"""A signature that a browser has made, from OpenSSH's own tests (regress/unittests/sshsig/testdata)."""


def verify(blob: bytes, key: PublicKey = PASSKEY.public_key, site: PasskeySite | None = SITE) -> SignatureProof:
    return verify_signature(blob, MESSAGE, key=key, namespace=NAMESPACE, site=site)


def test_the_signature_of_a_browser_in_openssh_s_tests_is_valid() -> None:
    key, _ = sshformat.parse_public_key_line(OPENSSH_KEY)
    site = PasskeySite("https://www.mindrot.org", "mindrot.org")
    message = b"This is a test, this is only a test"
    shown = verify_signature(OPENSSH_SIGNATURE, message, key=key, namespace="unittest", site=site)
    assert shown == SignatureProof(security_key=True, touched=True, passkey=True)


@pytest.mark.needs("ssh-keygen")
@pytest.mark.parametrize(("flags", "extensions"), [(0x05, b""), (0x85, b"\xa1\x63abc\xf5")])
def test_a_passkeys_signature_is_valid_and_ssh_keygen_agrees(tmp_path: Path, flags: int, extensions: bytes) -> None:
    blob = PASSKEY.sign(MESSAGE, NAMESPACE, flags=flags, extensions=extensions)
    assert verify(blob) == SignatureProof(security_key=True, touched=True, verified=True, passkey=True)
    assert openssh.verifies(tmp_path, PASSKEY.public_key, blob, MESSAGE, NAMESPACE)


@pytest.mark.parametrize("flags", [0x00, 0x01, 0x04, 0x1D])
def test_flags_of_backup_touch_and_verification_are_told_and_not_judged(flags: int) -> None:
    shown = verify(PASSKEY.sign(MESSAGE, NAMESPACE, flags=flags))
    assert (shown.touched, shown.verified) == (bool(flags & 1), bool(flags & 4))


BEGINNING = client_data_beginning(login.sshsig_signed_data(MESSAGE, NAMESPACE), SITE.origin)


@pytest.mark.parametrize("rest", [b"}", b',"crossOrigin":false}', b',"crossOrigin":false,"other":"."}'])
def test_what_follows_the_origin_may_be_what_a_browser_likes(rest: bytes) -> None:
    assert verify(PASSKEY.sign(MESSAGE, NAMESPACE, client_data=BEGINNING + rest)).passkey


ANOTHER = SoftwarePasskey(PASSKEY.private, "https://evil.example.net")
FRAMED = PASSKEY.client_data(MESSAGE, NAMESPACE, ',"crossOrigin":true,"topOrigin":"https://evil.example"}')

REFUSED = {
    "used at another site": (ANOTHER.sign(MESSAGE, NAMESPACE), "used at .https://evil.example.net., and not at"),
    "used at another site, which the blob denies": (
        ANOTHER.sign(MESSAGE, NAMESPACE, origin=SITE.origin), "another challenge, or elsewhere"
    ),
    "used at another port": (
        SoftwarePasskey(PASSKEY.private, SITE.origin + ":8443").sign(MESSAGE, NAMESPACE, origin=SITE.origin),
        "another challenge, or elsewhere",
    ),
    "another message": (
        PASSKEY.sign(MESSAGE, NAMESPACE, client_data=PASSKEY.client_data(b"other", NAMESPACE)), "another challenge"
    ),
    "another namespace": (
        PASSKEY.sign(MESSAGE, NAMESPACE, client_data=PASSKEY.client_data(MESSAGE, "file")), "another challenge"
    ),
    "the making of a key": (
        PASSKEY.sign(MESSAGE, NAMESPACE, client_data=BEGINNING.replace(b"webauthn.get", b"webauthn.create") + b"}"),
        "another challenge",
    ),
    "no end after the origin": (PASSKEY.sign(MESSAGE, NAMESPACE, client_data=BEGINNING + b"x}"), "malformed after"),
    "nothing after the origin": (PASSKEY.sign(MESSAGE, NAMESPACE, client_data=BEGINNING), "malformed after"),
    "a frame of another site": (PASSKEY.sign(MESSAGE, NAMESPACE, client_data=FRAMED), "in a frame of another site"),
    "attested data": (PASSKEY.sign(MESSAGE, NAMESPACE, flags=0x45), "attested data follows"),
    "extensions without their flag": (PASSKEY.sign(MESSAGE, NAMESPACE, extensions=b"\xa0"), "contradict each other"),
    "the flag without extensions": (PASSKEY.sign(MESSAGE, NAMESPACE, flags=0x85), "contradict each other"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_signature_that_is_not_for_this_site_and_login_is_refused(what: str) -> None:
    blob, why = REFUSED[what]
    with pytest.raises(VerificationError, match=why):
        verify(blob)


def test_a_service_without_a_site_accepts_no_passkeys() -> None:
    with pytest.raises(VerificationError, match="only through the web door"):
        verify(PASSKEY.sign(MESSAGE, NAMESPACE), site=None)


def test_a_key_for_another_application_is_no_passkey_of_the_site() -> None:
    other = SoftwarePasskey(PASSKEY.private, site="example.net")
    with pytest.raises(VerificationError, match=r"belongs to 'example.net', and not to farhand.example.net"):
        verify(other.sign(MESSAGE, NAMESPACE), key=other.public_key)


def test_bytes_after_a_signature_are_refused() -> None:
    signature = login.decode_sshsig(PASSKEY.sign(MESSAGE, NAMESPACE)).signature + b"x"
    with pytest.raises(VerificationError, match="1 bytes follow the end"):
        verify(login.encode_sshsig(PASSKEY.public_key.blob, NAMESPACE, signature))


def test_only_a_security_key_of_that_curve_may_sign_like_a_passkey() -> None:
    key = SoftwareSecurityKey.ed25519().public_key
    signature = login.decode_sshsig(PASSKEY.sign(MESSAGE, NAMESPACE)).signature
    with pytest.raises(VerificationError, match="must sign with sk-ssh-ed25519"):
        verify(login.encode_sshsig(key.blob, NAMESPACE, signature), key=key)


def test_the_signed_data_has_no_room_to_move_bytes_from_one_part_to_the_next() -> None:
    data = signed_data(b"ssh:", AuthenticatorData(0x81, 7, b"extensions"), b"text")
    assert (len(data), data[32:37], data[37:47]) == (32 + 5 + 10 + 32, b"\x81\0\0\0\x07", b"extensions")


GOOD = PASSKEY.sign(MESSAGE, NAMESPACE)


@given(st.integers(0, len(GOOD) * 8 - 1))
def test_a_signature_with_any_bit_changed_is_refused(bit: int) -> None:
    changed = bytearray(GOOD)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VerificationError):
        verify(bytes(changed))


@given(st.binary(max_size=400))
def test_random_bytes_raise_only_verification_errors(tail: bytes) -> None:
    signature = pack_string(b"webauthn-sk-ecdsa-sha2-nistp256@openssh.com") + tail
    with pytest.raises(VerificationError):
        verify(login.encode_sshsig(PASSKEY.public_key.blob, NAMESPACE, signature))
