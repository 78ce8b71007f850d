"""A descriptor with one digit, under which a program's shell finds its working directory.

A directory on a file system that may hang is entered by the program itself (`launch`), so its descriptor is passed on.
The shell must close it afterwards, and dash can only close descriptors with one digit. Nothing else in the service ever
has this number, so it can be given to each start in turn.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Final

MAX_DIGIT: Final = 9
"""The largest number that dash can close."""

_slot: int | None = None
_nowhere = -1


def reserve() -> None:
    """Reserve the descriptor if there is one left. Call this early, before others take them all."""
    global _slot, _nowhere
    if _slot is not None:
        return
    lowest = os.open("/", os.O_PATH | os.O_CLOEXEC)
    if lowest > MAX_DIGIT:
        os.close(lowest)
        return
    _nowhere = os.dup(lowest)
    _slot = lowest


@contextlib.contextmanager
def holding(fd: int) -> Iterator[int]:
    """Yield a number with one digit that refers to the same file as `fd`. Do not await anything inside.

    Raises OSError if there is none.
    """
    reserve()
    if _slot is None:
        raise OSError(errno.EMFILE, "no descriptor below 10 is free")
    os.dup2(fd, _slot, inheritable=False)
    try:
        yield _slot
    finally:
        os.dup2(_nowhere, _slot, inheritable=False)
