"""Users take turns: whoever floods the service waits for others, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from farhand_server.connection.time_shares import (
    ALONE_AFTER,
    DECODE_REST,
    MAX_ARRIVING,
    MAX_OWED,
    MAX_WAITING_TIME,
    TURN_TIME,
    TimeShare,
    TimeShares,
)
from tests.support.clock import VirtualClockLoop, virtual_time


def _loop() -> VirtualClockLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    return loop


class Flood:
    """A connection that always has more to do: `name` is noted for each slice that it gets."""

    def __init__(self, share: TimeShare, name: str, slices: list[str], *, count: int = 1000) -> None:
        self._share, self._name, self._slices, self._count = share, name, slices, count
        share.wait(self.go_on)

    def go_on(self) -> None:
        left = self._share.left()
        if left > 0:
            self._slices.append(self._name)
            self._count -= 1
            _loop().advance(left)
            self._share.spend(left)
        if self._count:
            self._share.wait(self.go_on)


@virtual_time
async def test_a_user_has_the_same_share_with_any_number_of_connections() -> None:
    shares, slices = TimeShares(), list[str]()
    mallory, alice = shares.of("mallory"), shares.of("alice")
    floods = [Flood(mallory, "m", slices) for _ in range(64)]
    floods.append(Flood(alice, "a", slices))
    for _ in range(50):
        await asyncio.sleep(0)
    assert abs(slices.count("a") - slices.count("m")) <= 2


@virtual_time
async def test_the_connections_of_a_user_take_turns() -> None:
    shares, slices = TimeShares(), list[str]()
    share = shares.of("ada")
    floods = [Flood(share, name, slices) for name in "abc"]
    for _ in range(30):
        await asyncio.sleep(0)
    assert "".join(slices[:6]) == "abcabc"
    assert len(floods) == 3


@virtual_time
async def test_many_users_who_wait_do_not_make_a_turn_of_the_loop_long_and_all_have_theirs() -> None:
    shares, slices = TimeShares(), list[str]()
    floods = [Flood(shares.of(name), name, slices) for name in map(str, range(40))]
    longest = 0.0
    for _ in range(60):
        began = _loop().time()
        await asyncio.sleep(0)
        longest = max(longest, _loop().time() - began)
    assert longest <= MAX_WAITING_TIME + TURN_TIME
    counts = [slices.count(str(number)) for number in range(len(floods))]
    assert max(counts) - min(counts) <= 1


@virtual_time
async def test_time_comes_back_with_the_next_turn_and_is_not_saved() -> None:
    shares = TimeShares()
    share = shares.of("ada")
    assert share.left() == MAX_WAITING_TIME
    share.spend(MAX_WAITING_TIME)
    assert share.left() == 0
    await asyncio.sleep(0)
    assert share.left() == MAX_WAITING_TIME
    for _ in range(5):
        await asyncio.sleep(0)
    assert share.left() == MAX_WAITING_TIME


@virtual_time
async def test_what_a_step_took_beyond_the_share_is_taken_from_the_next_turns() -> None:
    shares = TimeShares()
    eve = shares.of("eve")
    shares.of("ada").left()
    assert eve.left() == pytest.approx(TURN_TIME)
    eve.spend(2.5 * TURN_TIME)
    turns = 0
    while eve.left() <= 0:
        eve.wait(lambda: None)
        await asyncio.sleep(0)
        turns += 1
    assert turns == 2
    assert eve.left() == pytest.approx(TURN_TIME / 2)


@virtual_time
async def test_what_is_owed_has_a_bound_and_is_paid_by_waiting() -> None:
    shares = TimeShares()
    eve = shares.of("eve")
    shares.of("ada").left()
    eve.left()
    eve.spend(100.0)
    assert eve.left() >= TURN_TIME - MAX_OWED
    await asyncio.sleep(MAX_OWED)
    assert eve.left() == pytest.approx(TURN_TIME)


@virtual_time
async def test_only_who_is_alone_has_a_long_turn_and_only_the_first_of_others_waits_for_it() -> None:
    shares = TimeShares()
    mallory, alice = shares.of("mallory"), shares.of("alice")
    assert mallory.left() == MAX_WAITING_TIME
    assert alice.left() == TURN_TIME
    for _ in range(3):
        assert mallory.left() == alice.left() == TURN_TIME
    await asyncio.sleep(ALONE_AFTER / 2)
    assert mallory.left() == TURN_TIME
    await asyncio.sleep(ALONE_AFTER)
    assert mallory.left() == MAX_WAITING_TIME
    assert alice.left() == TURN_TIME


@virtual_time
async def test_a_flood_of_one_user_costs_another_short_turns_only() -> None:
    shares, slices = TimeShares(), list[str]()
    Flood(shares.of("mallory"), "m", slices)
    for _ in range(5):
        await asyncio.sleep(0)
    alice = shares.of("alice")
    alice.left()
    for _ in range(20):
        began = _loop().time()
        await asyncio.sleep(0)
        assert _loop().time() - began <= TURN_TIME
        alice.spend(0.0)
    assert len(slices) > 20


@virtual_time
async def test_a_share_belongs_to_a_name_while_anybody_keeps_it() -> None:
    shares = TimeShares()
    one = shares.of("ada")
    assert shares.of("ada") is one
    assert shares.of("bob") is not one


@virtual_time
async def test_an_error_in_one_connection_is_reported_and_the_others_go_on() -> None:
    shares = TimeShares()
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    went_on = asyncio.Event()
    bug = ValueError("a bug")

    def fail() -> None:
        raise bug

    shares.of("ada").wait(fail)
    shares.of("ada").wait(went_on.set)
    shares.of("bob").wait(went_on.set)
    await went_on.wait()
    assert reported == [bug]


async def _decoded(share: TimeShare, work: Callable[[], None]) -> None:
    done = asyncio.Event()
    share.decode(work, done.set)
    await done.wait()


async def test_large_messages_are_decoded_in_one_thread_for_all() -> None:
    shares = TimeShares()
    threads: set[int] = set()
    await asyncio.gather(
        *(_decoded(shares.of(name), lambda: threads.add(threading.get_ident())) for name in "abc"),
        _decoded(shares.of("a"), lambda: threads.add(threading.get_ident())),
    )
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_after_a_large_message_a_user_rests_and_another_does_not() -> None:
    shares = TimeShares()
    order: list[str] = []

    def work(name: str) -> Callable[[], None]:
        def decode() -> None:
            order.append(name)
            end = time.thread_time() + (0.02 if name == "m" else 0.0)
            while time.thread_time() < end:
                pass

        return decode

    mallory, alice = shares.of("mallory"), shares.of("alice")
    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(_decoded(mallory, work("m"))) for _ in range(2)]
    await asyncio.sleep(0)
    began = loop.time()
    tasks += [asyncio.create_task(_decoded(alice, work("a")))]
    await asyncio.gather(*tasks)
    assert order == ["m", "a", "m"]
    assert loop.time() - began >= DECODE_REST * 0.02


async def test_a_connection_that_waits_for_a_message_goes_on_even_if_decoding_it_fails() -> None:
    def fail() -> None:
        raise ValueError("a bug")

    share = TimeShares().of("ada")
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    await _decoded(share, fail)
    await _decoded(share, lambda: None)


@virtual_time
async def test_a_user_has_memory_for_two_large_messages_at_once() -> None:
    shares = TimeShares()
    share = shares.of("ada")
    granted: list[str] = []
    half = MAX_ARRIVING // 2
    assert share.reserve(half, lambda: None)
    assert share.reserve(half, lambda: None)
    assert not share.reserve(half, lambda: granted.append("first"))
    assert not share.reserve(1, lambda: granted.append("second")), "it overtook one that waits"
    assert shares.of("bob").reserve(half, lambda: None)
    share.give_back(half)
    assert granted == ["first"]
    share.give_back(half)
    assert granted == ["first", "second"]
    share.give_back(half)
    share.give_back(1)
    assert share.reserve(3 * MAX_ARRIVING, lambda: None), "one alone has memory whatever its size"


@virtual_time
async def test_any_number_of_lost_connections_that_waited_for_memory_give_it_back() -> None:
    share, granted = TimeShares().of("ada"), 0

    def lost() -> None:
        nonlocal granted
        granted += 1
        share.give_back(MAX_ARRIVING)

    assert share.reserve(MAX_ARRIVING, lambda: None)
    for _ in range(5000):  # more than Python's calls may be nested
        assert not share.reserve(MAX_ARRIVING, lost)
    share.give_back(MAX_ARRIVING)
    assert granted == 5000
    assert share.reserve(MAX_ARRIVING, lambda: None)
