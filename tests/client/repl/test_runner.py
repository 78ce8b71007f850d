"""What Ctrl-C does, to one run and to several."""

from __future__ import annotations

import asyncio

import pytest

from farhand_client.repl.runner import Everyone, Interrupted, Ladder, laddered
from farhand_client.ui.printing import print_message


async def test_before_there_is_a_run_the_request_is_taken_back() -> None:
    everyone = Everyone()
    begun = asyncio.Event()

    async def asked() -> None:
        begun.set()
        await asyncio.Event().wait()

    waiting = asyncio.ensure_future(laddered(everyone, Ladder(print_message), asked()))
    await begun.wait()
    everyone()
    with pytest.raises(Interrupted):
        await waiting


async def test_control_c_is_for_all_that_goes_on_and_for_nothing_that_is_over() -> None:
    everyone = Everyone()
    pressed: list[str] = []
    with everyone.interrupts_to(lambda: pressed.append("one")):
        with everyone.interrupts_to(lambda: pressed.append("other")):
            everyone()
        everyone()
    everyone()
    assert pressed == ["one", "other", "one"]


async def test_what_is_done_is_returned_and_what_goes_wrong_is_raised() -> None:
    async def fails() -> None:
        raise ValueError("wrong")

    async def works() -> int:
        return 3

    assert await laddered(Everyone(), Ladder(print_message), works()) == 3
    with pytest.raises(ValueError, match="wrong"):
        await laddered(Everyone(), Ladder(print_message), fails())


async def test_a_cancellation_from_outside_is_one() -> None:
    ended = asyncio.Event()

    async def asked() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.ensure_future(laddered(Everyone(), Ladder(print_message), asked()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
