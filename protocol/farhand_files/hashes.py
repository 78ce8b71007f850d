"""The digests of a file's content. No I/O."""

from __future__ import annotations

import hashlib
from typing import Final

from blake3 import blake3

_ZEROS: Final = bytes(1 << 20)


class Hashes:
    """The digests of all content that was added."""

    def __init__(self, sha256: bool) -> None:
        self._blake3 = blake3()
        self._sha256 = hashlib.sha256() if sha256 else None

    def update(self, data: bytes | memoryview) -> None:
        """Include the next bytes of the content."""
        self._blake3.update(data)
        if self._sha256 is not None:
            self._sha256.update(data)

    def add_zeros(self, length: int) -> None:
        """Add so many zeros."""
        while length > 0:
            self.update(_ZEROS if length >= len(_ZEROS) else _ZEROS[:length])
            length -= len(_ZEROS)

    def blake3(self) -> bytes:
        """Return the BLAKE3 digest."""
        return self._blake3.digest()

    def sha256(self) -> bytes:
        """Return the SHA-256 digest, empty unless requested."""
        return self._sha256.digest() if self._sha256 is not None else b""
