"""Runs without a terminal, and what Ctrl-C does to one run and to several."""

from __future__ import annotations

import asyncio

import pytest

from farhand_client.repl.runner import Interrupted, InterruptGroup, InterruptLadder, run_interruptibly
from farhand_client.ui.printing import print_message


async def test_ctrl_c_cancels_a_request() -> None:
    interrupts = InterruptGroup()
    begun = asyncio.Event()

    async def request() -> None:
        begun.set()
        await asyncio.Event().wait()

    waiting = asyncio.ensure_future(run_interruptibly(interrupts, InterruptLadder(print_message), request()))
    await begun.wait()
    interrupts()
    with pytest.raises(Interrupted):
        await waiting


async def test_ctrl_c_reaches_all_targets_that_are_still_running() -> None:
    interrupts = InterruptGroup()
    pressed: list[str] = []
    with interrupts.interrupts_to(lambda: pressed.append("one")):
        with interrupts.interrupts_to(lambda: pressed.append("other")):
            interrupts()
        interrupts()
    interrupts()
    assert pressed == ["one", "other", "one"]


async def test_the_result_is_returned_and_an_error_raised() -> None:
    async def fails() -> None:
        raise ValueError("wrong")

    async def works() -> int:
        return 3

    assert await run_interruptibly(InterruptGroup(), InterruptLadder(print_message), works()) == 3
    with pytest.raises(ValueError, match="wrong"):
        await run_interruptibly(InterruptGroup(), InterruptLadder(print_message), fails())


async def test_a_cancellation_cancels_the_job_and_waits_for_it() -> None:
    ended = asyncio.Event()

    async def request() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.ensure_future(run_interruptibly(InterruptGroup(), InterruptLadder(print_message), request()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
