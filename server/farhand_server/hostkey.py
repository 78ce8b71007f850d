"""The service's Ed25519 host key, by which clients identify the service. It is kept in the state directory.

Clients pin the key, never a certificate: the certificate that TLS needs is created in memory at each start.
`cryptography` is imported only by functions that use the private key, so that a core, which must not read the key, does
not load the library.
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
"""Maximum bytes read from a key file. A PKCS #8 Ed25519 key in PEM has 119."""


class HostKeyFileError(ValueError):
    """The host key cannot be used. The message says which file, why, and what to do."""


@dataclass(frozen=True, slots=True)
class PublicHostKey:
    """The public half of a host key."""

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
        """The SHA-256 of the DER SubjectPublicKeyInfo, 32 bytes. Logins are bound to it."""
        return hashlib.sha256(spki_from_host_key(self.key)).digest()


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host key with its private half."""

    private: Ed25519PrivateKey
    public: PublicHostKey

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the public half, as in `PublicHostKey.fingerprint`."""
        return self.public.fingerprint

    @property
    def public_line(self) -> str:
        """The public half in OpenSSH's syntax, as in `PublicHostKey.public_line`."""
        return self.public.public_line

    @property
    def spki_sha256(self) -> bytes:
        """The SHA-256 of the SubjectPublicKeyInfo, as in `PublicHostKey.spki_sha256`."""
        return self.public.spki_sha256

    def chain_pem(self) -> bytes:
        """Return the private key and a new self-signed certificate for it, in PEM. Never write these to a disk."""
        return _private_pem(self.private) + _certificate_pem(self.private)


def ensure_host_key(state_dir: Path) -> HostKey:
    """Load the host key of a state directory. Create the directory and the key if they are missing.

    Several processes may call this at once; all return the same key. The private key has mode 0600, the public half
    beside it has mode 0644. Raises HostKeyFileError for a key that cannot be used, and OSError from the file system.
    """
    path = state_dir / PRIVATE_KEY_FILE
    if not path.exists():
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(path)
    key = load_host_key(path)
    line = f"{key.public_line}\n".encode("ascii")
    public = state_dir / PUBLIC_KEY_FILE
    if not public.exists() or public.read_bytes() != line:
        _write(public, line, mode=0o644, replace=True)
    return key


def load_host_key(path: Path) -> HostKey:
    """Load a private key file (PKCS #8 PEM).

    Raises HostKeyFileError if it is not a regular file, is readable by others, or is not an unencrypted Ed25519 key,
    and OSError if it cannot be opened.
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
            f"{path}: not an unencrypted Ed25519 key in PEM; remove it, and `farhandd host-key` creates one"
        )
    point = private.public_key().public_bytes_raw()
    return HostKey(private, PublicHostKey(parse_public_key(pack_string(ED25519.encode()) + pack_string(point))))


def load_public_host_key(path: Path) -> PublicHostKey:
    """Load the public half, `host_key.pub`. Raises HostKeyFileError if the file is malformed, and OSError if it is
    missing."""
    with path.open("rb") as file:
        fields = file.read(MAX_HOST_KEY_FILE).split()
    try:
        if len(fields) < 2:
            raise SSHFormatError("it contains no key")
        key = parse_public_key_fields(fields[0].decode("ascii"), fields[1].decode("ascii"))
        spki_from_host_key(key)
    except (SSHFormatError, UnicodeDecodeError) as error:
        raise HostKeyFileError(f"{path}: not a public host key: {error}; `farhandd host-key` writes it again") from None
    return PublicHostKey(key)


def _read_private(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise HostKeyFileError(f"{path}: not a regular file")
        # This is ssh's rule for its own files. If the file has another owner, the group bits may be the mask of an
        # access control list, as with the credentials of systemd.exec(5).
        forbidden = 0o077 if status.st_uid == os.geteuid() else 0o007
        if status.st_mode & forbidden:
            mode = stat.S_IMODE(status.st_mode)
            raise HostKeyFileError(f"{path}: mode {mode:04o} lets others read the private key; run: chmod 600 {path}")
        return file.read(MAX_HOST_KEY_FILE)


def _create(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    # If another process was faster, its key becomes the host key.
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
            path.hardlink_to(temporary)  # unlike rename, this fails if the name exists
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
        # The clock must not decide whether the host is trusted. RFC 5280 (4.1.2.5) defines this end date as "no
        # expiry".
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(9999, 12, 31, 23, 59, 59))
        .sign(private, None)
    )
    return certificate.public_bytes(Encoding.PEM)
