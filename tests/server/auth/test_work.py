"""The steps of logins are done on another thread, in turn, and for no more than their share of the time."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Awaitable

import pytest

from farhand_server.auth import work as module
from farhand_server.auth.work import KNOWN_HANGING, LOGIN_BURST, LOGIN_SHARE, LOOP_COST, MAX_HANGING, LoginWork

TIMEOUT = 20.0


async def test_a_step_is_done_on_another_thread_and_its_result_returned() -> None:
    work = LoginWork()
    ours = threading.get_ident()
    assert await work.of("a")(threading.get_ident) != ours
    with pytest.raises(ZeroDivisionError):
        await work.of("a")(lambda: 1 // 0)
    assert await work.of("a")(lambda: 7) == 7


async def _order(work: LoginWork, sources: str) -> str:
    """Return in which order steps of these sources are done that all wait at once."""
    done: list[str] = []
    held = threading.Event()
    first = work.of("first")(held.wait)
    waiting: list[Awaitable[object]] = [work.of(source)(functools.partial(done.append, source)) for source in sources]
    held.set()
    async with asyncio.timeout(TIMEOUT):
        await first
        await asyncio.gather(*waiting)
    return "".join(done)


async def test_sources_take_turns() -> None:
    assert await _order(LoginWork(), "aaaabbc") == "abcabaa"


async def test_known_sources_have_every_other_turn() -> None:
    work = LoginWork()
    work.logged_in("k")
    assert await _order(work, "abcdkk") in ("kakbcd", "akbkcd")


async def test_the_known_sources_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN_SOURCES", 2)
    work = LoginWork()
    for source in "kxy":
        work.logged_in(source)
    assert (await _order(work, "abkk")).startswith("abk")


async def test_an_attempt_that_was_given_up_is_skipped() -> None:
    work = LoginWork()
    done: list[str] = []
    held = threading.Event()
    first = work.of("first")(held.wait)
    given_up = asyncio.ensure_future(work.of("a")(lambda: done.append("a")))
    last = work.of("a")(lambda: done.append("b"))
    given_up.cancel()
    held.set()
    async with asyncio.timeout(TIMEOUT):
        await first
        await last
    assert done == ["b"]


async def test_work_takes_no_more_than_its_share_of_the_time() -> None:
    work = LoginWork()

    def busy() -> None:
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass

    began = time.monotonic()
    for _ in range(10):
        await work.of("a")(busy)
    # A loaded machine makes it take longer, never shorter.
    assert time.monotonic() - began >= (9 * 0.02 + 9 * LOOP_COST - LOGIN_BURST) / LOGIN_SHARE


async def test_what_an_attempt_costs_the_loop_is_counted_once() -> None:
    work = LoginWork()
    began = time.monotonic()
    run = work.of("a")
    for _ in range(200):
        await run(int)
    for _ in range(100):
        await work.of("a")(int)
    assert time.monotonic() - began >= (100 * LOOP_COST - LOGIN_BURST) / LOGIN_SHARE


async def test_a_step_that_hangs_does_not_hold_the_loop() -> None:
    work = LoginWork()
    held = threading.Event()
    hanging = work.of("a")(held.wait)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not hanging.done()
    held.set()
    await hanging


async def test_steps_that_hang_hold_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_TIME", 0.01)
    work, held, hung = LoginWork(), threading.Event(), list[str]()
    work.logged_in("known")

    def hang(source: str) -> asyncio.Future[bool]:
        def step() -> bool:
            hung.append(source)
            return held.wait()

        return work.of(source)(step)

    async with asyncio.timeout(TIMEOUT):
        hanging = [hang("a") for _ in range(MAX_HANGING - 1)]
        assert await work.of("b")(lambda: 7) == 7
        hanging.append(hang("a"))
        while len(hung) < MAX_HANGING:  # noqa: ASYNC110  # threads tell no loop
            await asyncio.sleep(0.01)
        stranger = asyncio.ensure_future(work.of("b")(lambda: 8))
        for _ in range(3):
            assert await work.of("known")(lambda: 9) == 9
        assert not stranger.done(), "too many steps of unknown sources hang"
        hanging += [hang("known") for _ in range(KNOWN_HANGING)]
        held.set()
        assert await stranger == 8
        assert await asyncio.gather(*hanging) == [True] * len(hanging)


async def test_as_many_steps_as_may_run_at_once_wait_for_none_of_each_other() -> None:
    work, held = LoginWork(at_once=3), threading.Event()
    assert not work.knows("a")
    hanging = [work.of("a")(held.wait) for _ in range(2)]
    async with asyncio.timeout(TIMEOUT):
        assert [await work.of("b")(lambda: 7) for _ in range(3)] == [7] * 3
    assert not any(each.done() for each in hanging), "they do not count as hanging yet"
    held.set()
    await asyncio.gather(*hanging)
    work.logged_in("a")
    assert work.knows("a")
