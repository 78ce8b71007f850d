"""What the service sets up in its own process: signals, threads besides the event loop's, the garbage collector."""

from __future__ import annotations

import gc
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Final

GC_THRESHOLD: Final = 10_000
"""Net new objects, about a megabyte, before the collector examines the youngest generation. With Python's default of
700 it takes a tenth of the core's CPU time for short runs."""

BLOCKING_THREADS: Final = 4
"""Threads for the service's own occasional disk access; no client's work is done in them."""


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


def freeze_loaded_objects() -> None:
    """Exclude everything loaded so far (modules, models) from garbage collection; call it once all is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def block_all_signals() -> None:
    """Block all signals in the calling thread, so that only the main thread receives them.

    Otherwise a signal that the main thread has blocked (see `upgrade.program`) would go to another thread and be lost.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def blocking_executor() -> ThreadPoolExecutor:
    """Return the executor for the event loop's blocking calls."""
    return ThreadPoolExecutor(BLOCKING_THREADS, "blocking", initializer=block_all_signals)
