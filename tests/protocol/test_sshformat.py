"""SSH formats: encoding, public keys as TLS and as SSH show them, and patterns of host names."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import sshformat
from farhand_protocol.sshformat import PublicKey, Reader, SSHFormatError, pack_mpint, pack_string, pack_u32
from tests.support import openssh
from tests.support.openssh import SoftwareSecurityKey

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS somebody at home"
ED25519_BLOB = sshformat.parse_public_key_line(ED25519)[0].blob


def rsa_blob(bits: int, exponent: int = 65537) -> bytes:
    return pack_string(b"ssh-rsa") + pack_mpint(exponent) + pack_mpint((1 << (bits - 1)) | 1)


# From RFC 4251, section 5.
@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00000000"),
        (0x9A378F9B2E332A7, "0000000809a378f9b2e332a7"),
        (0x80, "000000020080"),
    ],
)
def test_an_mpint_is_encoded_as_the_rfc_shows(value: int, encoded: str) -> None:
    assert pack_mpint(value).hex() == encoded
    assert Reader(bytes.fromhex(encoded)).mpint() == value


@pytest.mark.parametrize(
    ("encoded", "sentence"),
    [
        ("00000002edcc", "an integer is negative"),
        ("00000003000001", "an integer has needless leading zeros"),
        ("0000000100", "an integer has needless leading zeros"),
        ("00000002ff", "the data is cut off at offset 5, 1 byte too early"),
        ("000000", "the data is cut off at offset 3, 1 byte too early"),
    ],
)
def test_an_integer_in_any_other_form_is_refused(encoded: str, sentence: str) -> None:
    with pytest.raises(SSHFormatError, match=sentence):
        Reader(bytes.fromhex(encoded)).mpint()


@given(st.integers(min_value=0, max_value=1 << 300), st.binary(max_size=99), st.integers(0, 2**32 - 1))
def test_packed_values_are_read_back(number: int, data: bytes, word: int) -> None:
    reader = Reader(pack_mpint(number) + pack_string(data) + pack_u32(word) + b"\x07")
    assert (reader.mpint(), reader.string(), reader.u32(), reader.byte()) == (number, data, word, 7)
    reader.end()


def test_a_length_beyond_the_data_is_refused() -> None:
    with pytest.raises(SSHFormatError, match="4294967295 bytes too early"):
        Reader(b"\xff\xff\xff\xff").string()


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(SSHFormatError, match="1 bytes follow the end of the data"):
        Reader(b"x").end()


@pytest.mark.needs("ssh-keygen")
@pytest.mark.parametrize(("kind", "bits"), [("ed25519", None), ("ecdsa", 256), ("rsa", 2048)])
def test_a_key_by_ssh_keygen_has_the_fingerprint_ssh_keygen_prints(tmp_path: Path, kind: str, bits: int | None) -> None:
    key = openssh.make_key(tmp_path / "key", kind, bits=bits, comment="two words")
    line = (tmp_path / "key.pub").read_text().rstrip("\n")
    assert sshformat.format_public_key_line(key, "two words") == line
    assert sshformat.parse_public_key_line(line) == (key, "two words")
    printed = subprocess.check_output(["ssh-keygen", "-l", "-f", tmp_path / "key.pub"], text=True)
    assert key.fingerprint == printed.split()[1]


def test_a_security_key_has_an_application() -> None:
    assert openssh.SoftwareSecurityKey.ed25519().public_key.application == b"ssh:"
    assert openssh.SoftwareSecurityKey.ecdsa().public_key.application == b"ssh:"


@pytest.mark.parametrize("bits", [2048, 8192])
def test_rsa_keys_of_2048_to_8192_bits_are_allowed(bits: int) -> None:
    key = sshformat.parse_public_key(rsa_blob(bits))
    assert (key.exponent, key.modulus.bit_length()) == (65537, bits)


@pytest.mark.parametrize(
    ("blob", "sentence"),
    [
        (rsa_blob(2047), "the RSA key has 2047 bits; 2048 to 8192 are allowed"),
        (rsa_blob(8193), "the RSA key has 8193 bits; 2048 to 8192 are allowed"),
        (rsa_blob(2048, exponent=1), "impossible exponent or modulus"),
        (rsa_blob(2048, exponent=65536), "impossible exponent or modulus"),
        (rsa_blob(2048, exponent=(1 << 64) + 1), "impossible exponent or modulus"),
        (ED25519_BLOB + b"\0", "1 bytes follow the end of the data"),
        (pack_string(b"ssh-ed25519") + pack_string(bytes(31)), "must have 32 bytes; this one has 31"),
        (pack_string(b"ssh-dss"), "key type 'ssh-dss' is not supported"),
        (pack_string(b"\xffnope"), "not printable ASCII"),
        (
            pack_string(b"ecdsa-sha2-nistp256") + pack_string(b"nistp384") + pack_string(b"\x04" + bytes(64)),
            "needs the curve nistp256, but the key names 'nistp384'",
        ),
        (
            pack_string(b"ecdsa-sha2-nistp256") + pack_string(b"nistp256") + pack_string(b"\x02" + bytes(32)),
            "not an uncompressed point of 65 bytes",
        ),
        (bytes(2049), "the public key has 2049 bytes; at most 2048 are allowed"),
        (b"", ", 4 bytes too early"),
    ],
)
def test_any_other_key_is_refused_with_a_sentence(blob: bytes, sentence: str) -> None:
    with pytest.raises(SSHFormatError, match=sentence):
        sshformat.parse_public_key(blob)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "a public key line has the form"),
        ("ssh-ed25519", "a public key line has the form"),
        ("ssh-ed25519 AAA!", "not valid base64"),
        ("ssh-ed25519 ÄÖÜ=", "not valid base64"),
        (ED25519.replace("ssh-ed25519", "ssh-rsa"), "the line says 'ssh-rsa', but the key says 'ssh-ed25519'"),
    ],
)
def test_a_malformed_line_is_refused_with_a_reason(line: str, sentence: str) -> None:
    with pytest.raises(SSHFormatError, match=sentence):
        sshformat.parse_public_key_line(line)


def test_a_comment_with_a_line_break_is_refused() -> None:
    key, _ = sshformat.parse_public_key_line(ED25519)
    with pytest.raises(ValueError, match="on one line"):
        sshformat.format_public_key_line(key, "x\nssh-ed25519 AAAA")


def damaged(blob: bytes) -> st.SearchStrategy[bytes]:
    """Generate a blob with one byte changed: closer to the parser's branches than random bytes."""
    return st.builds(
        lambda at, new: blob[:at] + bytes([new]) + blob[at + 1 :],
        st.integers(0, len(blob) - 1),
        st.integers(0, 255),
    )


@given(st.one_of(st.binary(max_size=200), damaged(ED25519_BLOB), damaged(rsa_blob(2048))))
def test_no_bytes_raise_anything_but_the_format_error(data: bytes) -> None:
    try:
        key = sshformat.parse_public_key(data)
    except SSHFormatError:
        return
    assert isinstance(key, PublicKey)
    assert key.blob == data


@given(st.text())
def test_no_line_raises_anything_but_the_format_error(line: str) -> None:
    for text in (line, f"ssh-ed25519 {line}"):
        with pytest.raises(SSHFormatError):
            sshformat.parse_public_key_line(text)


def test_a_key_has_the_same_fingerprint_in_both_forms() -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    key = sshformat.host_key_from_spki(der)
    assert (key.type, key.point) == ("ssh-ed25519", public.public_bytes_raw())
    assert f"{key.type} ".encode() == line[:12]
    assert sshformat.spki_from_host_key(key) == der


def test_a_key_of_another_type_is_refused_either_way() -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(SSHFormatError, match="not an Ed25519 key"):
        sshformat.host_key_from_spki(other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(SSHFormatError, match="must be ssh-ed25519"):
        sshformat.spki_from_host_key(SoftwareSecurityKey.ed25519().public_key)


@given(st.binary(max_size=80))
def test_no_bytes_as_an_spki_raise_anything_but_the_format_error(data: bytes) -> None:
    with pytest.raises(SSHFormatError):
        sshformat.host_key_from_spki(data)


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ("web1.example.net", True),
        ("WEB1.Example.NET", True),
        ("db1,web?.example.net", True),
        ("*.example.net,!web1.*", False),
        ("!web2.*,*", True),
        ("!*", False),
        ("example.net", False),
        ("", False),
    ],
)
def test_a_host_is_in_a_list_if_a_pattern_matches_and_no_negated_one_does(patterns: str, found: bool) -> None:
    assert sshformat.matches_host_list(("web1.example.net",), patterns) is found


def test_a_host_with_two_names_is_kept_out_by_either() -> None:
    assert not sshformat.matches_host_list(("web1", "10.0.0.1"), "web1,!10.*")
