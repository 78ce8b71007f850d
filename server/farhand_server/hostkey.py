"""The service's Ed25519 key, by which clients know it: kept in the state directory, shown in OpenSSH's syntax.

Peers pin the key, never a certificate: the one TLS needs is made in memory at each start. `cryptography` is
imported only where the private key is used, so that a core, which may not read it, does without.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farhand_protocol.sshformat import (
    ED25519,
    PublicKey,
    SSHFormatError,
    pack_string,
    parse_public_key,
    parse_public_key_fields,
    spki_from_host_key,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PRIVATE_KEY_FILE: Final = "host_key"
PUBLIC_KEY_FILE: Final = "host_key.pub"
MAX_HOST_KEY_FILE: Final = 4096
"""Bytes read of a key file; a PKCS #8 Ed25519 key in PEM has 119."""


class HostKeyFileError(ValueError):
    """The host key cannot be used; the message says which file, why, and what to do."""


@dataclass(frozen=True, slots=True)
class PublicHostKey:
    """What anyone may know of a host key."""

    key: PublicKey

    @property
    def fingerprint(self) -> str:
        """`SHA256:` and 43 characters of base64, as ssh-keygen -l prints it."""
        return self.key.fingerprint

    @property
    def public_line(self) -> str:
        """`ssh-ed25519 AAAA…`, OpenSSH's one-line syntax (sshd(8), AUTHORIZED_KEYS FILE FORMAT), without a newline."""
        return f"{self.key.type} {base64.b64encode(self.key.blob).decode('ascii')}"

    @property
    def spki_sha256(self) -> bytes:
        """SHA-256 of the DER SubjectPublicKeyInfo, 32 bytes: what logins are bound to."""
        return hashlib.sha256(spki_from_host_key(self.key)).digest()


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host key with its private half."""

    private: Ed25519PrivateKey
    public: PublicHostKey

    @property
    def fingerprint(self) -> str:
        """See `PublicHostKey.fingerprint`."""
        return self.public.fingerprint

    @property
    def public_line(self) -> str:
        """See `PublicHostKey.public_line`."""
        return self.public.public_line

    @property
    def spki_sha256(self) -> bytes:
        """See `PublicHostKey.spki_sha256`."""
        return self.public.spki_sha256

    def chain_pem(self) -> bytes:
        """Return the private key and a fresh self-signed certificate for it, in PEM. Never write it to a disk."""
        return _private_pem(self.private) + _certificate_pem(self.private)


def ensure(state_dir: Path) -> HostKey:
    """Load the host key of a state directory; make it, and the directory, where there is none.

    Any number of processes may do this at once: all return the same key. The private key has mode 0600, its
    public half beside it 0644. Raises HostKeyFileError for a key that cannot be used and OSError from the file system.
    """
    path = state_dir / PRIVATE_KEY_FILE
    if not path.exists():
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(path)
    key = load(path)
    line = f"{key.public_line}\n".encode("ascii")
    public = state_dir / PUBLIC_KEY_FILE
    if not public.exists() or public.read_bytes() != line:
        _write(public, line, mode=0o644, replace=True)
    return key


def load(path: Path) -> HostKey:
    """Load a private key file (PKCS #8 PEM).

    Raises HostKeyFileError where it is not a regular file, others may read it, or it is not an unencrypted Ed25519
    key, and OSError where it cannot be opened.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read_private(path)
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise HostKeyFileError(
            f"{path}: not an unencrypted Ed25519 key in PEM; `farhandd host-key` makes one where the file is missing"
        )
    point = private.public_key().public_bytes_raw()
    return HostKey(private, PublicHostKey(parse_public_key(pack_string(ED25519.encode()) + pack_string(point))))


def load_public(path: Path) -> PublicHostKey:
    """Load the public half, `host_key.pub`. Raises HostKeyFileError if it is malformed, OSError if it is missing."""
    with path.open("rb") as file:
        fields = file.read(MAX_HOST_KEY_FILE).split()
    try:
        if len(fields) < 2:
            raise SSHFormatError("it holds no key")
        key = parse_public_key_fields(fields[0].decode("ascii"), fields[1].decode("ascii"))
        spki_from_host_key(key)
    except (SSHFormatError, UnicodeDecodeError) as error:
        raise HostKeyFileError(f"{path}: not a public host key: {error}; `farhandd host-key` writes it anew") from None
    return PublicHostKey(key)


def _read_private(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise HostKeyFileError(f"{path}: not a regular file")
        # As ssh does for its own files. Another owner's file may show group bits that are the mask of an access
        # control list: so come the credentials of systemd.exec(5).
        forbidden = 0o077 if status.st_uid == os.geteuid() else 0o007
        if status.st_mode & forbidden:
            mode = stat.S_IMODE(status.st_mode)
            raise HostKeyFileError(f"{path}: mode {mode:04o} lets others at the private key; run: chmod 600 {path}")
        return file.read(MAX_HOST_KEY_FILE)


def _make(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    # Another process may have been first; its key is then the host's.
    with contextlib.suppress(FileExistsError):
        _write(path, _private_pem(Ed25519PrivateKey.generate()), mode=0o600, replace=False)


def _write(path: Path, data: bytes, *, mode: int, replace: bool) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)  # unlike rename, fails where the name is taken
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _private_pem(private: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _certificate_pem(private: Ed25519PrivateKey) -> bytes:
    from datetime import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "farhand")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        # No clock decides whether the host is known. The end is RFC 5280's for "none" (section 4.1.2.5).
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(9999, 12, 31, 23, 59, 59))
        .sign(private, None)
    )
    return certificate.public_bytes(Encoding.PEM)
