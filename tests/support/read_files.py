"""Files that are read for a transfer."""

from __future__ import annotations

import os
from pathlib import Path

from blake3 import blake3

from farhand_files import wire
from farhand_files.reading import Content

CHUNK = wire.CHUNK


LONG_AGO = 1_000_000_000_000_000_000


def made(path: Path, content: bytes, mtime: int = LONG_AGO) -> Path:
    path.write_bytes(content)
    os.utime(path, ns=(mtime, mtime))
    return path


def opened(path: Path, *, known_size: bool = True) -> Content:
    return Content(os.open(path, os.O_RDONLY), known_size=known_size)


def random_bytes(size: int) -> bytes:
    return (os.urandom(1 << 16) * (size // (1 << 16) + 1))[:size] if size > 1 << 20 else os.urandom(size)


def assembled(
    content: Content, basis: int = wire.NOTHING, have: bytes = b"", had: bytes = b""
) -> tuple[bytes, list[str]]:
    """Return what a receiver would have, and of which sorts of parts it came."""
    result = bytearray()
    sorts = []
    for part in content.parts(basis, have):
        assert part.offset == len(result)
        if part.data is not None:
            assert len(part.data) == part.length <= CHUNK
            result += part.data
        elif part.source >= 0:
            assert len(had[part.source : part.source + part.length]) == part.length
            result += had[part.source : part.source + part.length]
        else:
            result += bytes(part.length)
        sorts.append("data" if part.data is not None else "copy" if part.source >= 0 else "hole")
    assert content.hashes.blake3() == blake3(result).digest()
    return bytes(result), sorts
