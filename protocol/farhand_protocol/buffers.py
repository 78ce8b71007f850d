"""The memory into which the connections of an event loop receive."""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

from .limits import KiB, MiB

RECEIVE_SIZE: Final = 256 * KiB
"""Bytes read at once: four full data frames. All connections of an event loop share one buffer, so idle connections
need none. For a message that is larger, memory is reserved as soon as it begins to arrive."""

RETAINED_HEAP: Final = 4 * MiB
"""Bytes of freed memory that the process keeps. By default glibc returns everything above 128 KiB at the top of the
heap, and the frames of each loop iteration fault their pages in again: two page faults for every three pages
transferred."""

_buffers: WeakKeyDictionary[object, memoryview] = WeakKeyDictionary()


def shared_buffer(loop: object) -> memoryview:
    """Return the buffer of an event loop: the same one each time."""
    buffer = _buffers.get(loop)
    if buffer is None:
        # glibc raises the threshold to twice the largest block freed so far (mallopt(3), M_MMAP_THRESHOLD).
        bytearray(RETAINED_HEAP)
        buffer = _buffers[loop] = memoryview(bytearray(RECEIVE_SIZE))
    return buffer
