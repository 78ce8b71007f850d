"""Gives the memory of discarded output back to the system.

glibc keeps what is freed below anything that is still in use: after a burst of unread output, one small object at the
end of the heap kept all of it. malloc_trim(3) gives back whole pages anywhere, but takes about 0.15 ms for each MiB,
and nothing else can be allocated meanwhile. So much output is not freed at once, but in steps, one in each turn of the
loop.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from farhand_protocol.limits import MiB

TRIM_STEP: Final = 16 * MiB
"""Bytes that are freed and given back in one turn of the loop: about 2.5 ms."""

KEPT_HEAP: Final = 4 * MiB
"""Free bytes at the end of the heap that are not given back, as by the transport (`buffers.RETAINED_HEAP`)."""

TRIM_DELAY: Final = 1.0
"""Seconds after which less than a step is given back. While output flows, its memory is needed again at once, and a
trim a second does not slow it down."""


class HeapTrimmer:
    """Frees discarded output in steps, and gives its memory back."""

    def __init__(self, trim: Callable[[], None] | None = None) -> None:
        self._trim = trim or give_back
        self._discarded: deque[tuple[Sequence[bytes], int]] = deque()
        self._waiting = 0
        """Bytes in `_discarded`."""
        self._freed = 0
        """Bytes that were freed since memory was last given back."""
        self._due: asyncio.Handle | None = None
        self._now = False
        """Whether `_due` is in the next turn."""

    def discard(self, chunks: Sequence[bytes], size: int) -> None:
        """Free these chunks, soon. The caller must drop them."""
        loop = _loop()
        if loop is None:
            return  # the service has ended
        self._discarded.append((chunks, size))
        self._waiting += size
        if self._waiting >= TRIM_STEP and not self._now:
            if self._due is not None:
                self._due.cancel()
            self._due, self._now = loop.call_soon(self._step), True
        else:
            self._step_later(loop)

    def freed(self, size: int) -> None:
        """Note that so much has been freed, or is about to be in this turn."""
        self._freed += size
        if self._due is None and self._freed >= KEPT_HEAP and (loop := _loop()) is not None:
            self._step_later(loop)

    def _step_later(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._due is None:
            self._due, self._now = loop.call_later(TRIM_DELAY, self._step), False

    def _step(self) -> None:
        self._due, self._now = None, False
        size = 0
        while self._discarded and size < TRIM_STEP:
            size += self._discarded.popleft()[1]
        self._waiting -= size
        self._freed += size
        if self._freed >= KEPT_HEAP:
            self._freed = 0
            self._trim()
        if self._discarded:
            self._due, self._now = asyncio.get_running_loop().call_soon(self._step), True


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def give_back() -> None:
    """Give free memory back to the system, except for `KEPT_HEAP` bytes at the end of the heap."""
    trim = _malloc_trim()
    if trim is not None:
        trim(KEPT_HEAP)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    # Only glibc has it, and needs it. CDLL releases the interpreter's lock.
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
