"""Writes several buffers with one system call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

MAX_VECTORS: Final = 64
"""Buffers passed to one writev(2) call, which accepts 1024 (IOV_MAX): more full data frames than
`transport.WRITE_HIGH` holds."""


def write_at_once(descriptor: int, buffers: Sequence[bytes | memoryview]) -> Sequence[bytes | memoryview]:
    """Write as much as a non-blocking descriptor accepts now, without copying, and return the rest.

    An error is not raised: then everything is left, and whoever writes it will meet the error.
    """
    try:
        count = os.writev(descriptor, buffers[:MAX_VECTORS])
    except OSError:
        return buffers
    at = 0
    while at < len(buffers) and count >= len(buffers[at]):
        count -= len(buffers[at])
        at += 1
    if at == len(buffers):
        return []
    return [memoryview(buffers[at])[count:], *(memoryview(buffer) for buffer in buffers[at + 1 :])]
