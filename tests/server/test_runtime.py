"""What the service sets up in its own process."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest

from farhand_server import runtime


@pytest.fixture
def collector() -> Iterator[None]:
    """Restore the garbage collector's settings."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_loaded_objects_are_excluded_from_collection() -> None:
    runtime.freeze_loaded_objects()
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold()[0] == runtime.GC_THRESHOLD


def test_threads_of_the_executor_have_all_signals_blocked() -> None:
    with runtime.blocking_executor() as executor:
        blocked = executor.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result()
    assert blocked >= {signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2}


def test_inherited_ignored_signals_and_mask_are_reset() -> None:
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        runtime.reset_signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    finally:
        signal.signal(signal.SIGHUP, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def test_signals_to_be_handled_later_stay_ignored_until_then() -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (*runtime.UNTIL_HANDLED, signal.SIGQUIT)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        runtime.reset_signals(keep=runtime.UNTIL_HANDLED)
        assert {signal.getsignal(number) for number in runtime.UNTIL_HANDLED} == {signal.SIG_IGN}
        assert signal.getsignal(signal.SIGQUIT) is signal.SIG_DFL
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
