import pytest

from farhand_protocol.login import LOGIN_NAMESPACE, login_transcript

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
    with pytest.raises(ValueError, match=f"{name} has 32 bytes, not {size}"):
        transcript(**{name: bytes(size)})


def test_a_name_that_is_no_unicode_text_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        transcript(user="\udc80")
