"""The .pub files of keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client.trust import IdentityError
from farhand_client.trust.public_key_file import is_public_key_file, read_public_key_file
from farhand_protocol.sshformat import format_public_key_line, pack_string, parse_public_key

KEY = parse_public_key(pack_string(b"ssh-ed25519") + pack_string(bytes(32)))
LINE = format_public_key_line(KEY, "a comment")


def test_a_public_key_is_read(tmp_path: Path) -> None:
    assert read_public_key_file(tmp_path / "k.pub") is None
    (tmp_path / "k").write_text(LINE + "\n")
    assert read_public_key_file(tmp_path / "k") == read_public_key_file(f"{tmp_path}/k") == KEY


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nothing", "is not a public key file"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "is a private key file, whose name must not end with .pub"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "is an OpenSSH certificate"),
        ("x" * 70_000, "is larger than 65536 bytes"),
    ],
)
def test_whatever_else_is_in_the_file_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "k.pub").write_text(text)
    with pytest.raises(IdentityError, match=sentence):
        read_public_key_file(tmp_path / "k.pub")


def test_a_public_key_is_known_by_its_name_or_by_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "k").write_text(LINE)
    (tmp_path / "other").write_text("secret")
    found = [is_public_key_file(tmp_path / name) for name in ("k", "missing.pub", "other", "missing", ".")]
    assert found == [True, True, False, False, False]
