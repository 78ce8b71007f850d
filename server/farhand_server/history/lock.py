"""One core to a state directory: a lock that ends with the process, or goes on into the program that replaces it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from .records import HistoryError

NAME: Final = "history.lock"


class InUse(HistoryError):
    """Another core has the state directory."""


def acquire(state_dir: Path) -> int:
    """Lock the state directory and return the lock's descriptor (flock(2)); it is released when that is closed.

    Raises `InUse` where another process has it, and OSError from the file system.
    """
    descriptor = os.open(state_dir / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InUse(
            f"another farhandd has the state directory {state_dir} already; stop it, or give this one another with "
            "--state-dir"
        ) from None
    return descriptor


def adopt(state_dir: Path, descriptor: int) -> int:
    """Take over the lock that the program this one has replaced held under the same number.

    Raises `HistoryError` where the descriptor is not that lock.
    """
    try:
        ours, there = os.fstat(descriptor), os.stat(state_dir / NAME)  # noqa: PTH116  # beside its fstat
        same = (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
    except OSError:
        same = False
    if not same:
        raise HistoryError(f"descriptor {descriptor} is not the lock of the state directory {state_dir}")
    os.set_inheritable(descriptor, False)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor
