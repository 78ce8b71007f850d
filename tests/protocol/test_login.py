"""The proof of a login: the transcript binds everything, and SSHSIG blobs are those of OpenSSH."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import login
from farhand_protocol.login import LOGIN_NAMESPACE, login_transcript
from farhand_protocol.sshformat import SSHFormatError, pack_string, pack_u32
from tests.support import openssh
from tests.support.cost import assert_linear

GIVEN = {
    "spki_sha256": b"\x01" * 32,
    "server_nonce": b"\x02" * 32,
    "client_nonce": b"\x03" * 32,
    "server_name": "host",
    "user": "jürgen",
    "hello_sha256": b"\x04" * 32,
    "public_key": b"blob",
}


def transcript(**changed: object) -> bytes:
    return login_transcript(**{**GIVEN, **changed})  # type: ignore[arg-type]  # a table of keyword arguments


def test_the_transcript_is_the_specified_sequence_of_strings() -> None:
    assert transcript() == (
        b"\0\0\0\x0ffarhand-auth-v1"
        + (b"\0\0\0\x20" + b"\x01" * 32)
        + (b"\0\0\0\x20" + b"\x02" * 32)
        + (b"\0\0\0\x20" + b"\x03" * 32)
        + b"\0\0\0\x04host"
        + b"\0\0\0\x07j\xc3\xbcrgen"
        + (b"\0\0\0\x20" + b"\x04" * 32)
        + b"\0\0\0\x04blob"
    )
    assert LOGIN_NAMESPACE == "auth@farhand-v1"


@pytest.mark.parametrize(
    "changed",
    [
        {"spki_sha256": bytes(32)},
        {"server_nonce": bytes(32)},
        {"client_nonce": bytes(32)},
        {"server_name": "hos", "user": "tjürgen"},
        {"user": "root"},
        {"hello_sha256": bytes(32)},
        {"public_key": b"other"},
    ],
)
def test_every_part_changes_what_is_signed(changed: dict[str, object]) -> None:
    assert transcript(**changed) != transcript()


@pytest.mark.parametrize("name", ["spki_sha256", "server_nonce", "client_nonce", "hello_sha256"])
@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_digest_or_nonce_of_another_length_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be 32 bytes long, not {size}"):
        transcript(**{name: bytes(size)})


def test_a_name_that_is_not_valid_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        transcript(user="\udc80")


def parts(*, version: int = 1, reserved: bytes = b"", rest: bytes = b"") -> bytes:
    fields = (b"key", b"ns", reserved, b"sha512", b"sig")
    return b"SSHSIG" + pack_u32(version) + b"".join(map(pack_string, fields)) + rest


def test_the_signed_bytes_are_those_of_the_specification() -> None:
    # SHA-512 of "abc", from FIPS 180-4's examples.
    digest = bytes.fromhex(
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    )
    assert login.sshsig_signed_data(b"abc", "auth@farhand-v1") == (
        b"SSHSIG\0\0\0\x0fauth@farhand-v1\0\0\0\0\0\0\0\x06sha512\0\0\0\x40" + digest
    )


@given(st.binary(max_size=99), st.text(st.characters(codec="ascii"), max_size=20), st.binary(max_size=99))
def test_decoding_inverts_encoding(key: bytes, namespace: str, signature: bytes) -> None:
    blob = login.encode_sshsig(key, namespace, signature)
    assert login.decode_sshsig(blob) == login.SSHSignature(key, namespace.encode(), b"sha512", signature)


@pytest.mark.needs("ssh-keygen")
def test_a_signature_by_ssh_keygen_is_decoded(tmp_path: Path) -> None:
    key = openssh.make_key(tmp_path / "key")
    decoded = login.decode_sshsig(openssh.sign(tmp_path / "key", b"message", "file"))
    assert decoded.public_key == key.blob
    assert (decoded.namespace, decoded.hash_algorithm) == (b"file", b"sha512")


@pytest.mark.parametrize(
    ("blob", "sentence"),
    [
        (b"", "the data is cut off"),
        (b"SSHSAG" + parts()[6:], "not an SSHSIG signature"),
        (parts(version=2), "SSHSIG version 2; only 1 is supported"),
        (parts(version=0), "SSHSIG version 0; only 1 is supported"),
        (parts(reserved=b"x"), "reserved field is not empty"),
        (parts(rest=b"x"), "1 bytes follow the end"),
        (bytes(4097), "the signature has 4097 bytes; at most 4096 are allowed"),
    ],
)
def test_a_malformed_signature_is_refused_with_a_reason(blob: bytes, sentence: str) -> None:
    with pytest.raises(SSHFormatError, match=sentence):
        login.decode_sshsig(blob)


@given(st.binary(max_size=120).flatmap(lambda tail: st.sampled_from([tail, parts()[:10] + tail])))
def test_no_bytes_raise_anything_but_the_format_error(data: bytes) -> None:
    with contextlib.suppress(SSHFormatError):
        login.decode_sshsig(data)


def test_ten_times_the_signature_costs_ten_times_as_much_until_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "MAX_SSHSIG", 1 << 30)

    def decode(blob: bytes) -> None:
        with contextlib.suppress(SSHFormatError):
            login.decode_sshsig(blob)

    assert_linear(decode, lambda n: login.encode_sshsig(b"k" * n, "ns", b"s" * n), 200_000)
    assert_linear(decode, lambda n: b"SSHSIG" + pack_u32(1) + pack_u32(1 << 31) + bytes(n), 200_000)
