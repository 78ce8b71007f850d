"""Searches take turns by account and by the time they use, and what an account's patterns may use is bounded."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from farhand_protocol.limits import MiB
from farhand_server.connection.channels.searches import (
    MAX_PATTERNS_PER_ACCOUNT,
    Searches,
    TooManyPatterns,
    searches,
)


class Clock:
    """Stands for `time`: only searches take time, and no busy machine does."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


clock = Clock()


@pytest.fixture
def searches_take_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farhand_server.connection.channels.searches.time", clock)


class Log:
    """Searches that note their names when they are read and found. Each takes a moment, as real ones do."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.found: list[str] = []
        self.turns = Searches()

    async def search(self, user: str, name: str, takes: float = 0.002) -> str:
        def read() -> str:
            self.read.append(name)
            return name

        def find(text: str) -> str:
            time.sleep(takes)
            clock.now += takes
            self.found.append(text)
            return text

        return await self.turns.search(user, read, find)


async def test_the_searches_of_one_account_are_served_in_the_order_of_their_requests() -> None:
    log = Log()
    names = [str(number) for number in range(5)]
    assert await asyncio.gather(*(log.search("ada", name) for name in names)) == names
    assert log.read == log.found == names


async def test_a_search_of_another_account_waits_for_one_search_at_most() -> None:
    log = Log()
    many = [asyncio.create_task(log.search("mallory", f"m{number}")) for number in range(50)]
    await many[0]
    assert await log.search("ada", "a") == "a"
    assert len(log.found) <= 3, "the one that ran, perhaps one more, and this one"
    await asyncio.gather(*many)


@pytest.mark.usefixtures("searches_take_time_alone")
async def test_accounts_alternate_by_the_time_they_use() -> None:
    log = Log()
    long = [asyncio.create_task(log.search("mallory", "long", takes=0.05)) for _ in range(5)]
    short = [asyncio.create_task(log.search("ada", "short", takes=0.0)) for _ in range(20)]
    await asyncio.gather(*short)
    assert log.found.count("long") <= 2, "twenty short searches take less time than one long search"
    await asyncio.gather(*long)


async def test_an_account_that_was_idle_has_saved_up_no_time() -> None:
    log = Log()
    await log.search("ada", "first")
    await asyncio.gather(*(log.search("mallory", "m") for _ in range(20)))
    log.found.clear()
    both = [log.search(user, user, takes=0.01) for user in ("mallory", "ada") for _ in range(6)]
    await asyncio.gather(*both)
    assert log.found[:6].count("mallory") >= 2


async def test_text_is_read_only_when_it_is_the_searchs_turn() -> None:
    log = Log()
    tasks = [asyncio.create_task(log.search("ada", str(number), takes=0.05)) for number in range(3)]
    await asyncio.sleep(0)
    assert log.read == ["0"]
    await asyncio.gather(*tasks)


async def test_a_cancelled_search_keeps_its_turn_until_it_is_over() -> None:
    log, go_on, began = Log(), threading.Event(), threading.Event()

    def find(text: str) -> str:
        began.set()
        assert go_on.wait(20)
        return text

    running = asyncio.create_task(log.turns.search("mallory", lambda: "x", find))
    await asyncio.to_thread(began.wait, 20)
    waiting = [asyncio.create_task(log.search("ada", name)) for name in "abc"]
    await asyncio.sleep(0)
    running.cancel()
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert log.read == [], "the thread still searches"
    go_on.set()
    assert [await waiting[1], await waiting[2]] == ["b", "c"]
    assert log.found == ["b", "c"]


async def test_a_search_cancelled_just_as_its_turn_comes_passes_it_on() -> None:
    log = Log()
    first, second, third = (asyncio.create_task(log.search("ada", name)) for name in "abc")
    first.add_done_callback(lambda _: second.cancel())  # called in the same turn of the loop
    async with asyncio.timeout(20):
        assert [await first, await third] == ["a", "c"]


@pytest.mark.parametrize("where", ["read", "find"])
async def test_a_search_that_fails_passes_its_turn_on(where: str) -> None:
    log = Log()

    def fail(text: object = None) -> str:
        raise OSError(where)

    with pytest.raises(OSError, match=where):
        await (log.turns.search("ada", fail, str) if where == "read" else log.turns.search("ada", str, fail))
    assert await log.search("ada", "next") == "next"


async def test_the_patterns_of_an_account_are_bounded_and_those_of_others_do_not_count() -> None:
    turns = Searches()
    for _ in range(MAX_PATTERNS_PER_ACCOUNT // MiB):
        turns.add_pattern("mallory", MiB)
    with pytest.raises(TooManyPatterns, match="mallory waits for patterns that may use 32 MiB in all, and at most 32"):
        turns.add_pattern("mallory", 1)
    turns.add_pattern("ada", MiB)
    turns.remove_pattern("mallory", MiB)
    turns.add_pattern("mallory", MiB)


async def test_accounts_that_want_nothing_are_forgotten() -> None:
    log = Log()
    for number in range(50):
        log.turns.add_pattern(f"u{number}", MiB)
        await log.search(f"u{number}", "x", takes=0.0)
        log.turns.remove_pattern(f"u{number}", MiB)
    assert vars(log.turns)["_accounts"] == {}


@pytest.mark.parametrize("served", [True, False])
async def test_the_time_of_a_search_counts_also_if_its_client_leaves_meanwhile(served: bool) -> None:
    log, began, go_on = Log(), threading.Event(), threading.Event()

    def find(text: str) -> str:
        began.set()
        assert go_on.wait(20)
        time.sleep(0.3)  # long beside what a search of "a" takes on a busy machine
        return text

    log.turns.add_pattern("mallory", MiB)
    running = asyncio.create_task(log.turns.search("mallory", lambda: "x", find))
    await asyncio.to_thread(began.wait, 20)
    others = [asyncio.create_task(log.search("ada", "a", takes=0.0)) for _ in range(2 * served)]
    await asyncio.sleep(0)
    running.cancel()
    log.turns.remove_pattern("mallory", MiB)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    again = asyncio.create_task(log.search("mallory", "m"))
    others += [asyncio.create_task(log.search("ada", "a", takes=0.0)) for _ in range(3)]
    await asyncio.gather(again, *others)
    assert log.found[-1] == "m", "it has used more time than the others"
    assert await log.search("grace", "g") == "g"


async def test_a_loop_has_one_order_of_searches() -> None:
    assert searches() is searches()
