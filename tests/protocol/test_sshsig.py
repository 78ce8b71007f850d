from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import sshsig
from farhand_protocol.sshwire import SSHFormatError, pack_string, pack_u32
from tests.support import openssh

# The example in OpenSSH's PROTOCOL.sshsig.
EXAMPLE = b"""-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgJKxoLBJBivUPNTUJUSslQTt2hD
jozKvHarKeN8uYFqgAAAADZm9vAAAAAAAAAFMAAAALc3NoLWVkMjU1MTkAAABAKNC4IEbt
Tq0Fb56xhtuE1/lK9H9RZJfON4o6hE9R4ZGFX98gy0+fFJ/1d2/RxnZky0Y7GojwrZkrHT
FgCqVWAQ==
-----END SSH SIGNATURE-----
"""


def parts(*, version: int = 1, reserved: bytes = b"", rest: bytes = b"") -> bytes:
    fields = (b"key", b"ns", reserved, b"sha512", b"sig")
    return b"SSHSIG" + pack_u32(version) + b"".join(map(pack_string, fields)) + rest


def test_the_signed_bytes_are_those_of_the_specification() -> None:
    # SHA-512 of "abc", from FIPS 180-4's examples.
    digest = bytes.fromhex(
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    )
    assert sshsig.sshsig_signed_data(b"abc", "auth@farhand-v1") == (
        b"SSHSIG\0\0\0\x0fauth@farhand-v1\0\0\0\0\0\0\0\x06sha512\0\0\0\x40" + digest
    )


def test_the_armor_is_that_of_the_specification() -> None:
    blob = sshsig.dearmor(EXAMPLE)
    assert blob.startswith(b"SSHSIG\0\0\0\x01")
    assert sshsig.armor(blob) == EXAMPLE


@given(st.binary(max_size=99), st.text(st.characters(codec="ascii"), max_size=20), st.binary(max_size=99))
def test_what_is_encoded_is_decoded(key: bytes, namespace: str, signature: bytes) -> None:
    blob = sshsig.encode_sshsig(key, namespace, signature)
    assert sshsig.decode_sshsig(blob) == sshsig.SSHSignature(key, namespace.encode(), b"sha512", signature)
    assert sshsig.dearmor(sshsig.armor(blob)) == blob


@pytest.mark.needs("ssh-keygen")
def test_a_signature_by_ssh_keygen_is_taken_apart(tmp_path: Path) -> None:
    key = openssh.make_key(tmp_path / "key")
    decoded = sshsig.decode_sshsig(openssh.sign(tmp_path / "key", b"message", "file"))
    assert decoded.public_key == key.blob
    assert (decoded.namespace, decoded.hash_algorithm) == (b"file", b"sha512")


@pytest.mark.parametrize(
    ("blob", "sentence"),
    [
        (b"", "the data ends"),
        (b"SSHSAG" + parts()[6:], "not an SSHSIG signature"),
        (parts(version=2), "SSHSIG version 2; only 1 is supported"),
        (parts(version=0), "SSHSIG version 0; only 1 is supported"),
        (parts(reserved=b"x"), "reserved field is not empty"),
        (parts(rest=b"x"), "1 bytes follow the end"),
        (bytes(4097), "a signature of 4097 bytes; at most 4096 are allowed"),
    ],
)
def test_a_damaged_signature_is_refused_with_a_sentence(blob: bytes, sentence: str) -> None:
    with pytest.raises(SSHFormatError, match=sentence):
        sshsig.decode_sshsig(blob)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"\n" + EXAMPLE, "BEGIN line is missing"),
        (EXAMPLE.replace(b"-----END", b""), "END line is missing"),
        (EXAMPLE.replace(b"U1NI", b"U1N%"), "not valid base64"),
    ],
)
def test_damaged_armor_is_refused_with_a_sentence(text: bytes, sentence: str) -> None:
    with pytest.raises(SSHFormatError, match=sentence):
        sshsig.dearmor(text)


@given(st.binary(max_size=120).flatmap(lambda tail: st.sampled_from([tail, parts()[:10] + tail])))
def test_no_bytes_raise_anything_but_the_format_error(data: bytes) -> None:
    for parse in (sshsig.decode_sshsig, lambda data: sshsig.dearmor(EXAMPLE[:30] + data)):
        try:
            parse(data)
        except SSHFormatError:
            continue
