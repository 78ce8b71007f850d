"""A wrapper runs the methods of its object in the event loop's thread, and belongs to this process."""

from __future__ import annotations

import asyncio
import pickle
import threading

import pytest

from farhand_client.loop_thread import LoopThread, loop_thread
from farhand_client.sync_wrapper import SyncWrapper, in_loop, waiting


class Inner:
    """An object of the asyncio API."""

    def __repr__(self) -> str:
        return "<Inner of a test>"

    async def slept(self, value: int) -> tuple[int, int]:
        """Return the value and the thread's id, a moment later."""
        await asyncio.sleep(0)
        return value, threading.get_ident()

    def running(self) -> bool:
        """Return whether an event loop runs in this thread."""
        return asyncio.get_running_loop().is_running()

    def failing(self) -> None:
        """Fail."""
        raise ValueError("no")


class Outer(SyncWrapper[Inner]):
    """Its blocking counterpart."""

    _name = "a test's object"
    slept = waiting(Inner.slept)
    running = in_loop(Inner.running)
    failing = in_loop(Inner.failing)


@pytest.fixture
def outer() -> Outer:
    thread: LoopThread = loop_thread()
    return Outer(Inner(), thread)


def test_coroutines_and_plain_methods_run_in_the_loop(outer: Outer) -> None:
    value, thread = outer.slept(3)
    assert value == 3
    assert thread != threading.get_ident()
    assert outer.running()
    with pytest.raises(ValueError, match="no"):
        outer.failing()


def test_it_says_what_it_is_and_refuses_to_be_pickled(outer: Outer) -> None:
    assert repr(outer) == "<blocking Inner of a test>"
    with pytest.raises(TypeError, match="a test's object cannot be pickled"):
        pickle.dumps(outer)
