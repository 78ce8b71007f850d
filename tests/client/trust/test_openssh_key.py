"""The container of private keys that ssh-keygen writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from farhand_client.trust.openssh_key import ed25519_seed, openssh_body, read_container
from farhand_protocol.sshformat import SSHFormatError, pack_string, pack_u32
from tests.support import openssh

pytestmark = pytest.mark.needs("ssh-keygen")


def body_of(path: Path) -> bytes:
    body = openssh_body(path.read_bytes())
    assert body is not None
    return body


def test_an_unencrypted_ed25519_key_is_there_to_be_used(tmp_path: Path) -> None:
    key = openssh.make_key(tmp_path / "k")
    container = read_container(body_of(tmp_path / "k"))
    assert (container.public_key, container.encrypted) == (key, False)
    seed = ed25519_seed(container)
    assert seed is not None
    assert Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() == key.point


@pytest.mark.parametrize(("kind", "passphrase"), [("ed25519", "secret"), ("ecdsa", "")])
def test_of_any_other_key_only_the_public_part_is_known(tmp_path: Path, kind: str, passphrase: str) -> None:
    key = openssh.make_key(tmp_path / "k", kind, passphrase=passphrase)
    container = read_container(body_of(tmp_path / "k"))
    assert (container.public_key, container.encrypted) == (key, bool(passphrase))
    assert ed25519_seed(container) is None


def test_a_damaged_private_part_is_not_used(tmp_path: Path) -> None:
    openssh.make_key(tmp_path / "k")
    container = read_container(body_of(tmp_path / "k"))
    point = container.public_key.point
    parts = pack_string(b"ssh-ed25519") + pack_string(point) + pack_string(bytes(32) + point)
    check = pack_u32(7)
    assert ed25519_seed(container._replace(private=check * 2 + parts)) == bytes(32)
    for private in (
        b"",
        check + pack_u32(8) + parts,
        check * 2 + parts[:60],
        check * 2 + pack_string(b"ssh-rsa") + parts[15:],
        check * 2 + pack_string(b"ssh-ed25519") + pack_string(bytes(32)) + pack_string(bytes(64)),
        check * 2 + pack_string(b"ssh-ed25519") + pack_string(point) + pack_string(bytes(64)),
    ):
        assert ed25519_seed(container._replace(private=private)) is None


def test_other_formats_are_told_apart() -> None:
    begin, end = b"-----BEGIN OPENSSH PRIVATE KEY-----", b"-----END OPENSSH PRIVATE KEY-----"
    assert openssh_body(b"x\n" + begin + b"\nabc\n" + end + b"\n") == b"\nabc\n"
    for data in (b"", begin, begin + b"abc" + end, b"abc" + end, b"-----BEGIN RSA PRIVATE KEY-----\n" + end):
        assert openssh_body(data) is None


@pytest.mark.parametrize("body", [b"!", b"AAAA", b"b3BlbnNzaC1rZXktdjEA"])
def test_what_is_no_container_is_refused(body: bytes) -> None:
    with pytest.raises(SSHFormatError):
        read_container(body)
