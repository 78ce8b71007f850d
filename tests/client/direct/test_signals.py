"""Signals that wait until the loop takes them."""

from __future__ import annotations

import os
import select
import signal

import pytest

from farhand_client.direct.signals import CollectedSignals


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def test_signals_make_the_descriptor_readable_and_are_taken_once() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with CollectedSignals() as signals:
        assert signals.take() == []
        send(signal.SIGTERM, signal.SIGINT)
        assert select.select([signals.fd], [], [], 10)[0]
        assert sorted(signals.take()) == [signal.SIGINT, signal.SIGTERM]
        assert signals.take() == []
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert signals.release() == []


def test_what_was_not_taken_acts_afterwards() -> None:
    with pytest.raises(KeyboardInterrupt), CollectedSignals():
        send(signal.SIGINT)


def test_ignored_signals_stay_ignored_but_for_sigterm() -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        with CollectedSignals() as signals:
            send(signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
            assert signals.take() == [signal.SIGTERM]
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_signals_can_be_kept_for_what_comes_next() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    wakeup = signal.set_wakeup_fd(-1)
    try:
        with CollectedSignals() as signals:
            signals.keep()
        send(signal.SIGINT)
        signal.set_wakeup_fd(-1)  # as an event loop does with its own
        assert signals.release() == [signal.SIGINT]
        assert signals.release() == []
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
