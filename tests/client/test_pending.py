"""A `Pending` can be awaited, entered, or made a task."""

from __future__ import annotations

import asyncio
from typing import Self

import pytest

from farhand_client.pending import Pending


class Resource:
    def __init__(self) -> None:
        self.exited_with: object = "not exited"

    async def __aenter__(self) -> Self:
        raise AssertionError("a pending value is entered as it is")

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        self.exited_with = error


async def opened() -> Resource:
    await asyncio.sleep(0)
    return Resource()


async def test_a_pending_value_can_be_awaited() -> None:
    assert (await Pending(opened())).exited_with == "not exited"


async def test_a_pending_value_can_be_a_task() -> None:
    assert (await asyncio.create_task(Pending(opened()))).exited_with == "not exited"


async def test_leaving_the_context_exits_the_value() -> None:
    async with Pending(opened()) as resource:
        pass
    assert resource.exited_with is None
    error = ValueError()
    with pytest.raises(ValueError):  # noqa: PT011  # this very one
        async with Pending(opened()) as resource:
            raise error
    assert resource.exited_with is error


def test_a_pending_value_can_be_closed_without_being_awaited() -> None:
    Pending(opened()).close()
