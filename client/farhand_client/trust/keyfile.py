"""Private key files in the formats of ssh-keygen. cryptography is imported only when one has to be loaded."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farhand_client.blocking import run_blocking
from farhand_client.trust import IdentityError
from farhand_client.trust.files import read_small_file
from farhand_client.trust.openssh_key import openssh_body, read_container
from farhand_client.trust.public_key_file import MAX_IDENTITY_FILE_SIZE, PUBLIC_KEY_LINES, read_public_key_file
from farhand_protocol import login, sshformat
from farhand_protocol.sshformat import PublicKey, SSHFormatError, pack_mpint, pack_string

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

AskPassphrase = Callable[[str], Awaitable[str | None]]
"""Shows a prompt and returns what was typed, empty if nothing was, or None if there is no terminal to ask at."""

MAX_PASSPHRASE_PROMPTS: Final = 3
"""ssh's NumberOfPasswordPrompts (ssh_config(5))."""

_PEM = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


class KeyFile:
    """An identity in a private key file; created by `read_key_file` and `SealedKeyFile.open`."""

    def __init__(
        self,
        path: Path,
        key: PublicKey,
        load: Callable[[], Awaitable["PrivateKeyTypes"]],
        *,
        encrypted: bool,
        private: "PrivateKeyTypes | None" = None,
    ) -> None:
        self.path = path
        self.public_key = key
        self.encrypted = encrypted
        self._load = load
        self._private = private

    @property
    def description(self) -> str:
        """The file and the key's fingerprint, for messages."""
        return f"{self.path} ({self.public_key.fingerprint})"

    async def sign(self, transcript: bytes) -> bytes:
        """Return the SSHSIG blob over a login transcript; the first call asks for the passphrase, if there is one.

        Raises IdentityError if the key cannot be decrypted, is damaged, or does not match its public key.
        """
        if self._private is None:
            private = await self._load()
            if _public_key(self.path, private) != self.public_key:
                raise IdentityError(f"{self.path} does not match {self.path}.pub: they are different keys")
            self._private = private
        data = login.sshsig_signed_data(transcript, login.LOGIN_NAMESPACE)
        return login.encode_sshsig(self.public_key.blob, login.LOGIN_NAMESPACE, _sign(self._private, data))


class SealedKeyFile:
    """An old PEM file without a .pub file: even its public key is known only once the private key has been loaded."""

    def __init__(self, path: Path, load: Callable[[], Awaitable["PrivateKeyTypes"]], *, encrypted: bool) -> None:
        self.path = path
        self.encrypted = encrypted
        self._load = load

    @property
    def description(self) -> str:
        """The file, for messages."""
        return str(self.path)

    async def open(self) -> KeyFile:
        """Load the key, and ask for the passphrase if there is one. Raises IdentityError."""
        private = await self._load()
        key = _public_key(self.path, private)
        return KeyFile(self.path, key, self._load, encrypted=self.encrypted, private=private)


def read_key_file(path: Path, *, ask: AskPassphrase | None = None) -> KeyFile | SealedKeyFile | None:
    """Return what a private key file holds, without decrypting anything, or None if there is no file.

    The public key is read from the file or from `path`.pub. `ask` asks for the passphrase when the key is used. Raises
    IdentityError if the file is accessible to others, is not a private key, or contains a key that cannot be used: of a
    type or size that is not allowed, or of a security key, which only an agent can use.
    """
    try:
        data = read_small_file(path, MAX_IDENTITY_FILE_SIZE, private=True)
        if data is None:
            return None
        key: PublicKey | None
        if (found := openssh_body(data)) is not None:
            container = read_container(found)
            key, encrypted = container.public_key, container.encrypted
        elif _PEM.search(data):
            # PKCS #1 has Proc-Type: 4,ENCRYPTED (RFC 1421), PKCS #8 BEGIN ENCRYPTED PRIVATE KEY (RFC 7468).
            key, encrypted = read_public_key_file(Path(f"{path}.pub")), b"ENCRYPTED" in data
        else:
            raise IdentityError(_not_a_key(path, data))
    except SSHFormatError as error:
        raise IdentityError(f"{path}: {error}") from None
    except ValueError as error:
        raise IdentityError(str(error)) from None
    if key is not None and key.application is not None:
        raise IdentityError(f"{path} needs its security key; load it into the agent with: ssh-add {path}")

    async def load() -> "PrivateKeyTypes":
        return await _load(path, data, encrypted=encrypted, ask=ask)

    if key is None:
        return SealedKeyFile(path, load, encrypted=encrypted)
    return KeyFile(path, key, load, encrypted=encrypted)


def _not_a_key(path: Path, data: bytes) -> str:
    """Return what is wrong with a file that is no private key, and what to do where that is known."""
    if data.startswith(b"PuTTY-User-Key-File"):
        return f"{path} is a key of PuTTY; convert it with: puttygen {path} -O private-openssh -o NEWFILE"
    if data.startswith(b"-----BEGIN CERTIFICATE"):
        return f"{path} is an X.509 certificate, not a private key"
    if data.startswith((b"-----BEGIN PUBLIC KEY", b"-----BEGIN RSA PUBLIC KEY", b"---- BEGIN SSH2 PUBLIC KEY")):
        return f"{path} is a public key; name the file of the private key"
    if data.startswith(PUBLIC_KEY_LINES):
        return f"{path} is a public key; name the file of the private key"
    return f"{path} is not a private key file"


async def _load(path: Path, data: bytes, *, encrypted: bool, ask: AskPassphrase | None) -> "PrivateKeyTypes":
    if not encrypted:
        return await run_blocking(_decode, path, data, None)
    cause = f"the key {path} is encrypted"
    if ask is None:
        raise IdentityError(f"{cause}, and there is nobody to ask for its passphrase; {_add_to_agent(path)}")
    prompt = f"Passphrase for {path}: "
    for _ in range(MAX_PASSPHRASE_PROMPTS):
        passphrase = await ask(prompt)
        if passphrase is None:
            raise IdentityError(f"{cause}, and there is no terminal to ask for its passphrase; {_add_to_agent(path)}")
        if not passphrase:
            raise IdentityError(f"{cause}, and no passphrase was given")
        try:
            # In a thread: bcrypt is slow by design.
            return await run_blocking(_decode, path, data, passphrase.encode(errors="surrogateescape"))
        except _WrongPassphraseError:
            prompt = f"This passphrase is wrong. Passphrase for {path}: "
    raise IdentityError(f"{cause}, and the passphrase was wrong {MAX_PASSPHRASE_PROMPTS} times")


def _add_to_agent(path: Path) -> str:
    import shlex

    return f"add it to the agent: ssh-add {shlex.quote(str(path))}"


class _WrongPassphraseError(Exception):
    """Decryption failed."""


def _decode(path: Path, data: bytes, passphrase: bytes | None) -> "PrivateKeyTypes":
    from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    load = serialization.load_ssh_private_key if openssh_body(data) is not None else serialization.load_pem_private_key
    try:
        return load(data, passphrase)
    except UnsupportedAlgorithm as error:
        raise IdentityError(f"{path} is encrypted in an unsupported way: {error}") from None
    except (ValueError, TypeError, InvalidTag) as error:
        if passphrase is not None:
            raise _WrongPassphraseError from None
        raise IdentityError(f"{path} is damaged: {error}") from None


def _public_key(path: Path, private: "PrivateKeyTypes") -> PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        return sshformat.parse_public_key_line(line.decode("ascii"))[0]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError(f"{path} contains a key that cannot be used: {error}") from None


def _sign(private: "PrivateKeyTypes", data: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

    if isinstance(private, ed25519.Ed25519PrivateKey):
        return pack_string(sshformat.ED25519.encode()) + pack_string(private.sign(data))
    if isinstance(private, rsa.RSAPrivateKey):
        value = private.sign(data, padding.PKCS1v15(), hashes.SHA512())
        return pack_string(b"rsa-sha2-512") + pack_string(value)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError(f"unexpected private key for a supported public key: {type(private)}")
    r, s = utils.decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA256())))
    return pack_string(sshformat.ECDSA_P256.encode()) + pack_string(pack_mpint(r) + pack_mpint(s))
