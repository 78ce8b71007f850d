"""The digests of a file's content."""

from __future__ import annotations

import hashlib

import pytest
from blake3 import blake3

from farhand_files.hashes import Hashes


@pytest.mark.parametrize("zeros", [0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 5])
def test_data_and_zeros_are_hashed_in_their_order(zeros: int) -> None:
    hashes = Hashes(True)
    hashes.update(b"before")
    hashes.add_zeros(zeros)
    hashes.update(memoryview(b"after"))
    content = b"before" + bytes(zeros) + b"after"
    assert hashes.blake3() == blake3(content).digest()
    assert hashes.sha256() == hashlib.sha256(content).digest()


def test_sha256_is_computed_only_on_request() -> None:
    hashes = Hashes(False)
    hashes.update(b"content")
    assert hashes.sha256() == b""
