"""Threads beside the one that runs the event loop."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Final

BLOCKING_THREADS: Final = 4
"""For what waits for a disk now and then; nothing of a client's does."""


def block_all_signals() -> None:
    """Leave all signals to the main thread, to be called in another.

    A signal that the main thread holds back (see `upgrade.program`) would be taken by any other, and be forgotten.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def blocking_executor() -> ThreadPoolExecutor:
    """Return where the event loop may have its blocking calls done."""
    return ThreadPoolExecutor(BLOCKING_THREADS, "blocking", initializer=block_all_signals)
