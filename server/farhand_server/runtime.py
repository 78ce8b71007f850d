"""What the service sets in its own process: signals, threads beside the event loop's, the garbage collector."""

from __future__ import annotations

import gc
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Final


def reset_signals() -> None:
    """Give this process default dispositions where it inherited ignored signals, and an empty mask.

    Both survive execve(2) (signal(7)): nohup(1) hands on SIGHUP ignored, a script's `&` SIGINT and SIGQUIT, a careless
    parent a signal mask. The service stops, reloads and upgrades by signals all the same, and the programs it starts
    find what a login would have given them. SIGPIPE and SIGXFSZ, which Python itself ignores, are left alone:
    `subprocess` restores them in what it starts.
    """
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


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


GC_THRESHOLD: Final = 10_000
"""Objects made beyond those freed before the youngest are looked at, about a megabyte; with Python's 700
the collector takes a tenth of the core's CPU time for short runs."""


def freeze_loaded_objects() -> None:
    """Leave modules and models, which stay for good, out of every collection from now on; once all are loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
