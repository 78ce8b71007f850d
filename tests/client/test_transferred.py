"""The result of a transfer."""

from __future__ import annotations

from farhand_client import Transferred


def test_the_digest_is_that_of_the_only_file() -> None:
    assert Transferred().digest == ""
    assert Transferred(digests={b"a": "ab"}).digest == "ab"
    assert Transferred(digests={b"a": "ab", b"b": "cd"}).digest == ""
