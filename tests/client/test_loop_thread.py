"""A blocking call gets the result or the error of its coroutine, and what interrupts it cancels the coroutine first."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from farhand_client import NotUsableHere
from farhand_client.loop_thread import CANCEL_TIMEOUT, LoopThread, loop_thread


class Interrupted(BaseException):
    """What the handler of SIGUSR1 raises, as that of SIGINT raises KeyboardInterrupt."""


@pytest.fixture
def interrupting() -> Iterator[None]:
    def handler(number: int, frame: object) -> None:
        raise Interrupted

    former = signal.signal(signal.SIGUSR1, handler)
    yield
    signal.signal(signal.SIGUSR1, former)


async def interrupt() -> None:
    """Interrupt the main thread, which waits for this coroutine."""
    ident = threading.main_thread().ident
    assert ident is not None
    while True:  # a signal is noticed late by a thread that is just about to wait
        signal.pthread_kill(ident, signal.SIGUSR1)
        await asyncio.sleep(1)


def test_a_call_returns_or_raises_what_the_coroutine_does() -> None:
    async def fail() -> None:
        raise ValueError("no")

    assert loop_thread() is loop_thread()
    assert loop_thread().call(asyncio.sleep(0, "result")) == "result"
    with pytest.raises(ValueError, match="no"):
        loop_thread().call(fail())


def test_an_interrupt_is_raised_after_the_coroutine_has_cleaned_up(interrupting: None) -> None:
    cleaned = []

    async def clean() -> None:
        try:
            await interrupt()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    with pytest.raises(Interrupted):
        loop_thread().call(clean())
    assert cleaned == [True]


def test_a_clean_up_that_hangs_is_given_up(interrupting: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farhand_client.loop_thread.CANCEL_TIMEOUT", 0.01)
    released = threading.Event()

    async def hang() -> None:
        try:
            await interrupt()
        finally:
            await asyncio.to_thread(released.wait, 30)

    with pytest.raises(Interrupted):
        loop_thread().call(hang())
    released.set()


def test_a_call_from_the_loop_thread_is_refused() -> None:
    async def call() -> Any:
        return loop_thread().call(asyncio.sleep(0))

    with pytest.raises(NotUsableHere, match="use the asyncio API"):
        loop_thread().call(call())


def test_a_forked_child_is_refused_and_gets_a_thread_of_its_own() -> None:
    thread = loop_thread()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert thread.in_child
            with pytest.raises(NotUsableHere, match="connect again here, in the child"):
                thread.call(asyncio.sleep(0))
            if loop_thread().call(asyncio.sleep(0, 7)) == 7:
                code = 7
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert not thread.in_child


@pytest.mark.parametrize("scheduled", [True, False])
def test_an_interrupt_before_the_coroutine_begins_closes_it(monkeypatch: pytest.MonkeyPatch, scheduled: bool) -> None:
    thread = loop_thread()
    begun = []

    async def begin() -> None:
        begun.append(True)

    class Interrupting:
        """The loop's method, interrupted the first time."""

        def __init__(self, method: Callable[..., object]) -> None:
            self.method = method
            self.calls = 0
            self.blocked = threading.Event()

        def __call__(self, *args: object) -> None:
            self.calls += 1
            if self.calls > 1:
                self.method(*args)
                self.blocked.set()
                return
            if scheduled:
                self.method(self.blocked.wait)  # the loop does not come to the coroutine before its cancellation
                self.method(*args)
            raise Interrupted

    loop = thread.call(running_loop())
    monkeypatch.setattr(loop, "call_soon_threadsafe", Interrupting(loop.call_soon_threadsafe))
    started = time.monotonic()
    with pytest.raises(Interrupted):
        thread.call(begin())
    assert (begun, time.monotonic() - started < CANCEL_TIMEOUT) == ([], True)


async def running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_the_loop_is_of_uvloop_and_without_it_of_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert isinstance(loop_thread().call(running()), uvloop.Loop)
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert isinstance(LoopThread().call(running()), asyncio.SelectorEventLoop)


def test_a_forked_child_ends_in_order_while_the_loop_of_its_parent_runs() -> None:
    script = """
import asyncio, multiprocessing, os, sys
from farhand_client.loop_thread import loop_thread

def work():
    loop_thread().call(asyncio.sleep(0))

loop_thread().call(asyncio.sleep(0))
child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
pid = os.fork()
if pid == 0:
    sys.exit(7)
print(child.exitcode, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("0 7\n", "")
