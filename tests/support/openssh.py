"""Real OpenSSH programs: keys by ssh-keygen, signatures by ssh-keygen -Y, an ssh-agent with its own socket.

Also security keys, for which OpenSSH needs hardware, made in software.
"""

import base64
import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from farhand_protocol import login, sshformat
from farhand_protocol.sshformat import PublicKey, pack_mpint, pack_string, pack_u32

TIMEOUT = 90
"""Seconds an OpenSSH program may take; an RSA key of 4096 bits needs several on a busy machine."""


def make_key(
    path: Path,
    kind: str = "ed25519",
    *,
    bits: int | None = None,
    passphrase: str = "",
    file_format: str | None = None,
    comment: str = "a key made by a test",
) -> PublicKey:
    """Make a key pair at `path` and `path`.pub with ssh-keygen; `kind` and `file_format` are its -t and -m."""
    # -a 1: deriving a key from the passphrase takes a second by default.
    command: list[str | Path] = ["ssh-keygen", "-q", "-a", "1", "-t", kind, "-N", passphrase, "-C", comment, "-f", path]
    command += ["-b", str(bits)] if bits else []
    command += ["-m", file_format] if file_format else []
    subprocess.run(command, check=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    return sshformat.parse_public_key_line(path.with_name(path.name + ".pub").read_text())[0]


def sign(key_file: Path, message: bytes, namespace: str) -> bytes:
    """Return the SSHSIG blob that `ssh-keygen -Y sign` makes."""
    done = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key_file],
        input=message,
        stdout=subprocess.PIPE,
        check=True,
        timeout=TIMEOUT,
    )
    return base64.b64decode(b"".join(done.stdout.splitlines()[1:-1]))


def armored(blob: bytes) -> bytes:
    """Return the text form of an SSHSIG blob: the file that `ssh-keygen -Y verify` reads."""
    return b"-----BEGIN SSH SIGNATURE-----\n" + base64.encodebytes(blob) + b"-----END SSH SIGNATURE-----\n"


def verifies(directory: Path, key: PublicKey, blob: bytes, message: bytes, namespace: str) -> bool:
    """Return whether `ssh-keygen -Y verify` accepts an SSHSIG blob."""
    signers, signature = directory / "allowed_signers", directory / "signature"
    signers.write_text(f"someone {sshformat.format_public_key_line(key)}\n")
    signature.write_bytes(armored(blob))
    done = subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-n", namespace, "-I", "someone", "-f", signers, "-s", signature],
        input=message,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    return done.returncode == 0


@contextlib.contextmanager
def running_agent(directory: Path, *keys: Path) -> Iterator[Path]:
    """Run an ssh-agent in the foreground with these key files loaded; yield its socket."""
    socket = directory / "agent.sock"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE)
    try:
        assert agent.stdout is not None
        agent.stdout.readline()  # printed once the socket listens
        if keys:
            environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
            subprocess.run(["ssh-add", "-q", *keys], env=environment, check=True, timeout=TIMEOUT)
        yield socket
    finally:
        agent.terminate()
        agent.communicate(timeout=TIMEOUT)


@dataclass(frozen=True)
class SoftwareSecurityKey:
    """A FIDO authenticator (OpenSSH's PROTOCOL.u2f) in software."""

    private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    application: bytes = b"ssh:"

    @classmethod
    def ed25519(cls) -> Self:
        return cls(ed25519.Ed25519PrivateKey.generate())

    @classmethod
    def ecdsa(cls) -> Self:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @property
    def public_key(self) -> PublicKey:
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            fields = [b"sk-ssh-ed25519@openssh.com", self.private.public_key().public_bytes_raw()]
        else:
            point = self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            fields = [b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", point]
        return sshformat.parse_public_key(b"".join(pack_string(f) for f in [*fields, self.application]))

    def sign(self, message: bytes, namespace: str, *, flags: int = 0x01, counter: int = 7) -> bytes:
        """Return the SSHSIG blob over `message`; bit 0 of `flags` is user presence."""
        data = (
            hashlib.sha256(self.application).digest()
            + bytes([flags])
            + pack_u32(counter)
            + hashlib.sha256(login.sshsig_signed_data(message, namespace)).digest()
        )
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            value = self.private.sign(data)
        else:
            r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
            value = pack_mpint(r) + pack_mpint(s)
        key = self.public_key
        signature = pack_string(key.type.encode()) + pack_string(value) + bytes([flags]) + pack_u32(counter)
        return login.encode_sshsig(key.blob, namespace, signature)


@dataclass(frozen=True)
class SoftwarePasskey:
    """A passkey and the browser that it is used in, in software."""

    private: ec.EllipticCurvePrivateKey
    origin: str = "https://farhand.example.net"
    site: str = "farhand.example.net"

    @classmethod
    def generate(cls, origin: str = "https://farhand.example.net", site: str = "farhand.example.net") -> Self:
        return cls(ec.generate_private_key(ec.SECP256R1()), origin, site)

    @property
    def public_key(self) -> PublicKey:
        return SoftwareSecurityKey(self.private, self.site.encode()).public_key

    def client_data(self, message: bytes, namespace: str, rest: str = ',"crossOrigin":false}') -> bytes:
        """Return what a browser signs, in Chromium's words."""
        challenge = base64.urlsafe_b64encode(login.sshsig_signed_data(message, namespace)).decode().rstrip("=")
        return f'{{"type":"webauthn.get","challenge":"{challenge}","origin":"{self.origin}"{rest}'.encode()

    def sign(
        self,
        message: bytes,
        namespace: str,
        *,
        flags: int = 0x05,
        counter: int = 7,
        client_data: bytes | None = None,
        extensions: bytes = b"",
        origin: str | None = None,
    ) -> bytes:
        """Return the SSHSIG blob with a `webauthn-sk-ecdsa-sha2-nistp256@openssh.com` signature over `message`.

        `origin` is only what the blob says; what the browser has signed is in the client data.
        """
        text = self.client_data(message, namespace) if client_data is None else client_data
        said = hashlib.sha256(self.site.encode()).digest() + bytes([flags]) + pack_u32(counter) + extensions
        der = self.private.sign(said + hashlib.sha256(text).digest(), ec.ECDSA(hashes.SHA256()))
        r, s = utils.decode_dss_signature(der)
        signature = (
            pack_string(b"webauthn-sk-ecdsa-sha2-nistp256@openssh.com")
            + pack_string(pack_mpint(r) + pack_mpint(s))
            + bytes([flags])
            + pack_u32(counter)
            + pack_string((origin or self.origin).encode())
            + pack_string(text)
            + pack_string(extensions)
        )
        return login.encode_sshsig(self.public_key.blob, namespace, signature)
