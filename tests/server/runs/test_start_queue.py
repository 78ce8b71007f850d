"""A flood of starts holds up the account that causes it, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from farhand_protocol.loop_time import LoopTime, OwnTime
from farhand_server.runs.plan import RuleShare
from farhand_server.runs.start_queue import MAX_LAUNCHES, StartQueue
from farhand_server.sharing import Rate
from tests.support.clock import virtual_time

ADA, BOB, EVE = 50_001, 50_002, 50_003
FREE = RuleShare("free")


class Launches:
    """A queue, and what it has launched, in order. Unless each `ends`, the launches hang."""

    def __init__(self, time_of: Callable[[int], LoopTime] | None = None, *, ends: bool = True) -> None:
        self.queue = StartQueue(time_of)
        self.done: list[str] = []
        self.times: list[float] = []
        self._ends = ends

    def add(self, uid: int, run_id: str, rule: RuleShare = FREE) -> None:
        self.queue.add(uid, run_id, rule, lambda: self._launch(uid, run_id))

    def _launch(self, uid: int, run_id: str) -> None:
        loop = asyncio.get_running_loop()
        self.done.append(run_id)
        self.times.append(loop.time())
        if self._ends:
            loop.call_soon(self.queue.launched, uid, run_id)


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_accounts_take_turns_and_each_turn_of_the_loop_launches_a_few() -> None:
    launches = Launches()
    for number in range(100):
        launches.add(EVE, f"eve {number}")
    assert launches.done == ["eve 0"], "the first one does not wait"
    launches.add(ADA, "ada 0")
    launches.add(BOB, "bob 0")
    launches.add(ADA, "ada 1")
    await turns(1)
    assert launches.done == ["eve 0", "eve 1", "ada 0", "bob 0", "eve 2"]
    await turns(1)
    assert launches.done[5:] == ["ada 1", "eve 3", "eve 4", "eve 5"]
    await turns(120)
    assert launches.done[9:] == [f"eve {number}" for number in range(6, 100)]


class Slices(OwnTime):
    """An account's share of the loop's time, of which `seconds` are left."""

    def __init__(self) -> None:
        self.seconds = 0.001
        self.waiting: list[Callable[[], None]] = []

    def left(self) -> float:
        return self.seconds

    def spend(self, seconds: float) -> None:
        self.seconds -= seconds

    def wait(self, go_on: Callable[[], None]) -> None:
        self.waiting.append(go_on)


async def test_an_account_that_has_used_its_share_of_the_loop_launches_nothing_until_it_has_time_again() -> None:
    slices = {uid: Slices() for uid in (EVE, ADA)}
    launches = Launches(slices.__getitem__)
    for number in range(3):
        launches.add(EVE, f"eve {number}")
    launches.queue.spend(EVE, 0.002)
    await turns(3)
    launches.add(ADA, "ada")
    await turns(3)
    assert launches.done == ["eve 0", "ada"]
    for number in (1, 2):
        slices[EVE].seconds = 0.001
        slices[EVE].waiting.pop()()
        launches.queue.spend(EVE, 0.002)
        await turns(3)
        assert launches.done[-1] == f"eve {number}", "one launch at a time, if there is no time for more"
    assert not slices[ADA].waiting


async def test_launches_that_hang_hold_up_only_their_account() -> None:
    launches = Launches(ends=False)
    for number in range(MAX_LAUNCHES + 5):
        launches.add(EVE, f"eve {number}")
    await turns(50)
    assert len(launches.done) == MAX_LAUNCHES
    launches.add(ADA, "ada")
    await turns(2)
    assert launches.done[-1] == "ada"
    for _ in range(2):
        launches.queue.launched(EVE, "eve 0")
    await turns(3)
    assert launches.done[MAX_LAUNCHES + 1 :] == [f"eve {MAX_LAUNCHES}"]


@virtual_time
async def test_a_rule_paces_the_starts_of_each_account_and_holds_up_no_other_rule() -> None:
    launches, paced = Launches(), RuleShare("paced", starts=Rate(2, 1.0))
    for number in range(5):
        launches.add(ADA, f"paced {number}", paced)
    assert launches.queue.delay(ADA, paced) == pytest.approx(2.0)
    assert (launches.queue.delay(BOB, paced), launches.queue.delay(ADA, FREE)) == (0.0, 0.0)
    launches.add(ADA, "free")
    launches.add(BOB, "bob", paced)
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(3.0)
    assert launches.done == ["paced 0", "paced 1", "free", "bob", "paced 2", "paced 3", "paced 4"]
    assert [round(at - began, 2) for at in launches.times] == [0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.5]


@virtual_time
async def test_a_service_that_stops_does_not_wait_for_the_pace_of_a_rule() -> None:
    launches, paced = Launches(), RuleShare("paced", starts=Rate(1, 3600.0))
    for number in range(5):
        launches.add(ADA, f"paced {number}", paced)
    await turns(10)
    assert len(launches.done) == 1
    launches.queue.stop_pacing()
    await turns(10)
    assert len(launches.done) == 5
    launches.queue.pace()
    launches.add(ADA, "paced again", paced)
    await turns(10)
    assert len(launches.done) == 5
