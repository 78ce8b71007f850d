"""A state directory has exactly one host key, whichever process creates it, and no other account can read it."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import stat
import subprocess
import sys
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from farhand_server import hostkey
from farhand_server.hostkey import HostKeyFileError


def _put_fingerprint(state_dir: Path, start: Barrier, fingerprints: SimpleQueue[str]) -> None:
    start.wait()
    fingerprints.put(hostkey.ensure_host_key(state_dir).fingerprint)


def test_the_key_is_created_once_and_loaded_afterwards(tmp_path: Path) -> None:
    made = hostkey.ensure_host_key(tmp_path / "state" / "farhand")
    assert hostkey.ensure_host_key(tmp_path / "state" / "farhand").public == made.public
    assert hostkey.load_host_key(tmp_path / "state" / "farhand" / "host_key").public == made.public
    assert hostkey.load_public_host_key(tmp_path / "state" / "farhand" / "host_key.pub") == made.public


def test_the_private_half_has_mode_0600_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        hostkey.ensure_host_key(tmp_path / "state")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert modes == {"host_key": 0o600, "host_key.pub": 0o644}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_processes_that_start_at_the_same_time_agree_on_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, fingerprints = context.Barrier(4), context.SimpleQueue()
    processes = [
        context.Process(target=_put_fingerprint, args=(tmp_path / "state", start, fingerprints)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    assert len({fingerprints.get() for _ in processes}) == 1
    for process in processes:
        process.join()
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["host_key", "host_key.pub"]


@pytest.mark.parametrize("content", [None, b"ssh-ed25519 of another key"])
def test_the_public_half_is_written_again_if_it_is_missing_or_differs(tmp_path: Path, content: bytes | None) -> None:
    key = hostkey.ensure_host_key(tmp_path)
    if content is None:
        (tmp_path / "host_key.pub").unlink()
    else:
        (tmp_path / "host_key.pub").write_bytes(content)
    hostkey.ensure_host_key(tmp_path)
    assert hostkey.load_public_host_key(tmp_path / "host_key.pub") == key.public


@pytest.mark.needs("ssh-keygen")
def test_openssh_reads_the_public_half_and_prints_the_same_fingerprint(tmp_path: Path) -> None:
    key = hostkey.ensure_host_key(tmp_path)
    printed = subprocess.run(
        ["ssh-keygen", "-lf", tmp_path / "host_key.pub"], check=True, capture_output=True, text=True
    ).stdout
    assert printed.split()[:2] == ["256", key.fingerprint]
    assert (tmp_path / "host_key.pub").read_text() == key.public_line + "\n"


def test_the_certificate_is_self_signed_and_contains_the_key_that_logins_are_bound_to(tmp_path: Path) -> None:
    key = hostkey.ensure_host_key(tmp_path)
    certificate = x509.load_pem_x509_certificate(key.chain_pem())
    certificate.verify_directly_issued_by(certificate)
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert hashlib.sha256(spki).digest() == key.spki_sha256 == key.public.spki_sha256


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_private_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    hostkey.ensure_host_key(tmp_path)
    (tmp_path / "host_key").chmod(mode)
    with pytest.raises(HostKeyFileError, match=f"mode {mode:04o} .* chmod 600"):
        hostkey.load_host_key(tmp_path / "host_key")


def _ec_key() -> bytes:
    return generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _encrypted_key(state_dir: Path) -> bytes:
    return hostkey.ensure_host_key(state_dir).private.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )


@pytest.mark.parametrize("kind", ["empty", "ecdsa", "encrypted", "cut"])
def test_a_file_that_is_not_an_ed25519_key_is_refused(tmp_path: Path, kind: str) -> None:
    encrypted = _encrypted_key(tmp_path / "other")
    content = {"empty": b"", "ecdsa": _ec_key(), "encrypted": encrypted, "cut": encrypted[:50]}[kind]
    file = tmp_path / "host_key"
    file.touch(0o600)
    file.write_bytes(content)
    with pytest.raises(HostKeyFileError, match="not an unencrypted Ed25519 key"):
        hostkey.ensure_host_key(tmp_path)


def test_a_private_key_that_is_not_a_regular_file_is_refused_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "host_key", 0o600)
    with pytest.raises(HostKeyFileError, match="not a regular file"):
        hostkey.load_host_key(tmp_path / "host_key")


@pytest.mark.parametrize(
    "content",
    [b"", b"ssh-ed25519", b"ssh-ed25519 !!!!", b"\xff \xff", b"ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA", b"x" * 5000],
)
def test_a_malformed_public_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "host_key.pub").write_bytes(content)
    with pytest.raises(HostKeyFileError, match="host-key"):
        hostkey.load_public_host_key(tmp_path / "host_key.pub")


def test_the_core_loads_the_public_half_without_cryptography(tmp_path: Path) -> None:
    hostkey.ensure_host_key(tmp_path)
    code = (
        "import sys, pathlib; from farhand_server import hostkey;"
        "hostkey.load_public_host_key(pathlib.Path(sys.argv[1])).spki_sha256; assert 'cryptography' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "host_key.pub"], check=True)
