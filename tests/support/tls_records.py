"""A TLS 1.3 client whose records are made by hand, for what no TLS library would send (RFC 8446, sections 5.2, 7.2)."""

from __future__ import annotations

import hashlib
import hmac
import os
import ssl
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

APPLICATION_DATA, HANDSHAKE = 23, 22


class RecordWriter:
    """Encrypts records with a client's traffic secret. The connection's own TLS object must send nothing any more."""

    def __init__(self, secret: bytes, cipher: str) -> None:
        self._hash = "sha384" if cipher.endswith("SHA384") else "sha256"
        self._key_size = 16 if "AES_128" in cipher else 32
        self._chacha = "CHACHA20" in cipher
        self._use(secret)

    @classmethod
    def after_handshake(cls, tls: ssl.SSLObject | ssl.SSLSocket, key_log: Path) -> RecordWriter:
        """Return the writer for a connection that has sent nothing yet, from its context's `keylog_filename`."""
        name = next(line for line in key_log.read_text().splitlines() if line.startswith("CLIENT_TRAFFIC_SECRET_0 "))
        cipher = tls.cipher()
        assert cipher is not None
        return cls(bytes.fromhex(name.split()[2]), cipher[0])

    def record(self, content: bytes, kind: int = APPLICATION_DATA) -> bytes:
        """Return one record with `content`."""
        inner = content + bytes([kind])
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = (self._sequence ^ int.from_bytes(self._iv, "big")).to_bytes(12, "big")
        self._sequence += 1
        return header + self._aead.encrypt(nonce, inner, header)

    def key_update(self, *, request: bool = False) -> bytes:
        """Return a KeyUpdate, after which new keys are used. With `request` the peer has to send one, too."""
        made = self.record(bytes([24, 0, 0, 1, request]), HANDSHAKE)
        self._use(self._expand(self._secret, "traffic upd", hashlib.new(self._hash).digest_size))
        return made

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        key = self._expand(secret, "key", self._key_size)
        self._aead = ChaCha20Poly1305(key) if self._chacha else AESGCM(key)
        self._iv = self._expand(secret, "iv", 12)
        self._sequence = 0

    def _expand(self, secret: bytes, label: str, size: int) -> bytes:
        # HKDF-Expand-Label (section 7.1), of at most one block.
        full = b"tls13 " + label.encode()
        info = size.to_bytes(2, "big") + bytes([len(full)]) + full + b"\0"
        return hmac.digest(secret, info + b"\1", self._hash)[:size]


def logging_keys(context: ssl.SSLContext, directory: Path) -> Path:
    """Let `context` log its keys to a new file, and return that."""
    path = directory / f"keys-{os.urandom(4).hex()}"
    context.keylog_filename = str(path)
    return path
