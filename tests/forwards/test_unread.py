"""Bytes that nobody takes yet need little more memory than there are bytes, however they arrive."""

from __future__ import annotations

import sys
from collections import deque

import pytest

from farhand_forwards.unread import COALESCED, UnreadBytes, store_unread


@pytest.mark.parametrize("size", [1, 7, COALESCED - 1, COALESCED, COALESCED + 1])
def test_bytes_are_stored_in_their_order_and_in_few_chunks(size: int) -> None:
    stored: UnreadBytes = deque()
    sent = b""
    for number in range(4 * COALESCED // size + 1):
        data = bytes([number % 251]) * size
        sent += data
        store_unread(stored, data)
    assert b"".join(stored) == sent
    assert sum(map(sys.getsizeof, stored)) < 1.5 * len(sent) + 200


def test_what_is_stored_is_a_copy() -> None:
    for size in (10, 2 * COALESCED):
        stored: UnreadBytes = deque()
        source = bytearray(size)
        store_unread(stored, memoryview(source))
        source[0] = 1
        assert stored[0][0] == 0
