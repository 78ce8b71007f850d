"""Sets up the service's own process: signals, additional threads, the garbage collector."""

from __future__ import annotations

import gc
import signal
from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor
from typing import Final

GC_THRESHOLD: Final = 10_000
"""Net number of new objects, about a megabyte, after which the collector examines the youngest generation. With
Python's default of 700, it takes a tenth of the core's CPU time for short runs."""

UNTIL_HANDLED: Final = frozenset({signal.SIGHUP, signal.SIGINT})
"""Signals that stay ignored until their handlers are installed, if they were ignored before: whoever starts the service
with nohup(1) or a script's `&` must not end it while it starts."""

BLOCKING_THREADS: Final = 4
"""Threads for the service's own occasional disk access. They do no work for clients."""


def reset_signals(*, keep: Container[signal.Signals] = ()) -> None:
    """Reset inherited ignored signals to their default dispositions, except those in `keep`, and empty the signal mask.

    Ignored signals and the mask survive execve(2) (signal(7)): nohup(1) leaves SIGHUP ignored, a script's `&` leaves
    SIGINT and SIGQUIT ignored, and a careless parent may leave signals blocked. After this call, signals stop, reload
    and upgrade the service in any case, and programs start with the same dispositions as after a login. SIGPIPE and
    SIGXFSZ, which Python itself ignores, are left alone: `subprocess` restores them in the programs it starts.
    """
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        if number not in keep and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def freeze_loaded_objects() -> None:
    """Exclude everything loaded so far (modules, models) from garbage collection. Call this once everything is
    loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def block_all_signals() -> None:
    """Block all signals in the calling thread, so that only the main thread receives them.

    Otherwise a signal that the main thread has blocked (see `upgrade.program`) would be delivered to another thread and
    lost.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def blocking_executor() -> ThreadPoolExecutor:
    """Return the executor for the event loop's blocking calls."""
    return ThreadPoolExecutor(BLOCKING_THREADS, "blocking", initializer=block_all_signals)
