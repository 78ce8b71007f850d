"""Which clients hold a run, which one feeds it, and how long a lost connection's place is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Outcome
from farhand_server.runs.attachments.attachments import (
    MAX_ATTACHMENTS,
    MAX_REFUSED_TIME,
    Attachment,
    Attachments,
    ClientIdentity,
    Output,
    TooManyAttachments,
)
from farhand_server.runs.output.spool import MemorySpool, SpoolMemory
from farhand_server.runs.plan import RunResult
from tests.support.clock import virtual_time

GRACE = 0.05
MiB = 1 << 20


class Client:
    """A watcher that records whether it was replaced."""

    def __init__(self) -> None:
        self.was_replaced = False

    def started(self) -> None:
        pass

    def stdin_taken(self) -> None:
        pass

    def exited(self, outcome: Outcome) -> None:
        pass

    def ended(self, result: RunResult) -> None:
        pass

    def failed(self, code: ErrorCode, sentence: str) -> None:
        pass

    def replaced(self) -> None:
        self.was_replaced = True


class Run:
    """The attachments of a run and its spools."""

    def __init__(self, grace: float = GRACE) -> None:
        self.stdout, self.stderr = (MemorySpool(2 * MiB, SpoolMemory(1 << 30)) for _ in range(2))
        self.abandoned = asyncio.Event()
        self.all = Attachments({"stdout": self.stdout, "stderr": self.stderr}, grace, self.abandoned.set)

    def attach(
        self,
        key: bytes | None = None,
        *,
        hold: bool = True,
        taken: Mapping[Output, int] | None = None,
        feeds: int | None = None,
    ) -> Attachment:
        """Attach a new client."""
        wanted: Mapping[Output, int] = {"stdout": 0, "stderr": 0} if taken is None else taken
        return self.all.add(Client(), key=key, hold=hold, taken=wanted, feeds=feeds)

    async def wait_until_abandoned(self) -> None:
        """Wait until no client has held the run for the grace period."""
        async with asyncio.timeout(10):
            await self.abandoned.wait()


@pytest.fixture
def run() -> Run:
    return Run()


async def several_graces() -> None:
    """Sleep for several grace periods, so that something that must not happen would have happened."""
    await asyncio.sleep(4 * GRACE)


async def test_the_slowest_holder_determines_what_is_held(run: Run) -> None:
    fast, slow = run.attach(), run.attach()
    run.stdout.append(bytes(2 * MiB))
    run.all.took(fast, "stdout", 2 * MiB)
    assert run.stdout.full
    run.all.took(slow, "stdout", MiB)
    assert (run.stdout.held, run.stdout.full) == (MiB, False)


async def test_a_client_that_only_watches_holds_nothing(run: Run) -> None:
    holder = run.attach()
    run.attach(hold=False)
    run.stdout.append(bytes(2 * MiB))
    run.all.took(holder, "stdout", 2 * MiB)
    assert not run.stdout.full


async def test_a_stream_that_a_holder_does_not_want_is_not_held(run: Run) -> None:
    run.attach(taken={"stdout": 0})
    run.stderr.append(bytes(4 * MiB))
    assert not run.stderr.full
    run.stderr.append(bytes(4 * MiB))
    assert not run.stderr.full


async def test_credit_for_a_stream_that_was_not_requested_changes_nothing(run: Run) -> None:
    holder = run.attach(taken={"stdout": 0})
    run.all.took(holder, "stderr", 5)
    assert holder.taken == {"stdout": 0}


async def test_without_a_holder_a_full_spool_stays_full_until_the_next_one(run: Run) -> None:
    run.all.left(run.attach())
    run.stdout.append(bytes(2 * MiB))
    states = [(run.stdout.full, run.all.held)]
    run.all.took(run.attach(), "stdout", MiB)
    states.append((run.stdout.full, run.all.held))
    assert states == [(True, False), (False, True)]


async def test_a_lost_holder_keeps_its_place(run: Run) -> None:
    lost, other = run.attach(), run.attach()
    run.all.lost(lost)
    run.stdout.append(bytes(2 * MiB))
    run.all.took(other, "stdout", 2 * MiB)
    assert (run.stdout.full, run.all.held, len(run.all)) == (True, True, 1)


async def test_a_lost_holder_that_does_not_return_within_the_grace_period_loses_its_place(run: Run) -> None:
    lost, other = run.attach(), run.attach()
    run.all.lost(lost)
    run.stdout.append(bytes(2 * MiB))
    run.all.took(other, "stdout", 2 * MiB)
    room = asyncio.Event()
    run.stdout.on_room = room.set
    async with asyncio.timeout(10):
        await room.wait()
    assert not run.stdout.full
    assert not run.abandoned.is_set()


async def test_a_run_without_a_holder_for_the_grace_period_is_abandoned(run: Run) -> None:
    started = asyncio.get_running_loop().time()
    run.all.lost(run.attach())
    await run.wait_until_abandoned()
    assert asyncio.get_running_loop().time() - started >= GRACE
    assert not run.all.held


async def test_a_run_whose_last_client_detaches_is_abandoned_after_the_grace_period(run: Run) -> None:
    run.all.left(run.attach())
    assert not run.all.held
    await run.wait_until_abandoned()


async def test_a_client_that_returns_within_the_grace_period_continues(run: Run) -> None:
    lost = run.attach(b"k" * 16)
    run.all.lost(lost)
    reattached = run.attach(b"k" * 16, taken={"stdout": 7, "stderr": 0})
    await several_graces()
    assert not run.abandoned.is_set()
    assert run.all.held
    assert reattached.taken["stdout"] == 7


async def test_another_holder_keeps_the_run_from_being_abandoned(run: Run) -> None:
    run.all.lost(run.attach())
    run.attach()
    await several_graces()
    assert not run.abandoned.is_set()


async def test_a_client_that_only_watches_does_not_keep_a_run_from_being_abandoned(run: Run) -> None:
    run.attach(hold=False)
    run.all.lost(run.attach())
    run.attach(hold=False)
    await run.wait_until_abandoned()


async def test_a_holder_that_is_replaced_without_holding_starts_the_grace_period(run: Run) -> None:
    run.attach(b"k" * 16)
    run.attach(b"k" * 16, hold=False)
    await run.wait_until_abandoned()


async def test_a_client_replaces_itself_although_its_old_connection_seems_alive(run: Run) -> None:
    old = run.attach(b"k" * 16)
    run.attach(b"k" * 16)
    assert isinstance(old.watcher, Client)
    assert old.watcher.was_replaced
    run.all.lost(old)
    run.all.left(old)
    await several_graces()
    assert not run.abandoned.is_set()
    assert len(run.all) == 1


async def test_one_client_at_a_time_feeds_the_run(run: Run) -> None:
    first, second = run.attach(feeds=0), run.attach(feeds=0)
    feeders = [run.all.feeder]
    run.all.left(first)
    feeders.append(run.all.feeder)
    third = run.attach(feeds=5)
    run.all.left(second)
    feeders.append(run.all.feeder)
    assert feeders == [first, None, third]
    assert third.stdin_at == 5


async def test_a_feeder_whose_connection_is_lost_is_waited_for(run: Run) -> None:
    lost = run.attach(b"k" * 16, feeds=0)
    run.all.lost(lost)
    run.attach(feeds=0)
    assert run.all.feeder is lost
    reattached = run.attach(b"k" * 16, feeds=3)
    assert run.all.feeder is reattached


async def test_a_feeder_that_returns_without_stdin_does_not_feed_any_more(run: Run) -> None:
    run.attach(b"k" * 16, feeds=0)
    run.attach(b"k" * 16)
    assert run.all.feeder is None


async def test_a_feeder_that_does_not_return_makes_room_for_another(run: Run) -> None:
    run.all.lost(run.attach(feeds=0))
    await run.wait_until_abandoned()
    another = run.attach(feeds=0)
    assert run.all.feeder is another


async def test_a_finished_run_is_not_abandoned_and_keeps_its_attachments(run: Run) -> None:
    lost, other = run.attach(), run.attach()
    run.stdout.append(bytes(2 * MiB))
    run.all.close()
    run.all.lost(lost)
    run.all.took(other, "stdout", 2 * MiB)
    run.all.left(other)
    await several_graces()
    assert not run.abandoned.is_set()
    assert run.stdout.start == 0


async def test_the_registry_is_notified_when_the_last_client_has_left(run: Run) -> None:
    events = list[str]()
    run.all.on_deserted = lambda: events.append("deserted")
    first, second = run.attach(), run.attach(hold=False)
    run.all.lost(first)
    events.append("one left")
    run.all.left(second)
    assert events == ["one left", "deserted"]


async def test_a_run_has_a_maximum_of_attachments_which_may_always_return(run: Run) -> None:
    for number in range(MAX_ATTACHMENTS):
        run.all.lost(run.attach(number.to_bytes(16, "big")))
    with pytest.raises(TooManyAttachments, match="256 clients"):
        run.attach()
    returned = run.attach(bytes(16))
    run.all.left(returned)
    run.attach()


def refused(who: ClientIdentity) -> bool:
    return who.address == "192.0.2.1:7"


@virtual_time
async def test_the_grace_period_begins_again_while_the_client_is_refused_and_not_forever() -> None:
    run = Run(grace=60.0)
    attachment = run.attach(b"k" * 16)
    attachment.who = ClientIdentity("ada", "SHA256:one", "192.0.2.1:7")
    began = asyncio.get_running_loop().time()
    run.all.lost(attachment)
    for _ in range(30):
        await asyncio.sleep(30)
        run.all.client_refused(refused)
        if run.abandoned.is_set():
            break
    assert run.all.get(b"k" * 16) is None
    assert MAX_REFUSED_TIME <= asyncio.get_running_loop().time() - began <= MAX_REFUSED_TIME + 30


@virtual_time
@pytest.mark.parametrize("address", ["192.0.2.2:7", None])
async def test_the_refusal_of_others_changes_no_grace_period(address: str | None) -> None:
    run = Run(grace=60.0)
    attachment = run.attach(b"k" * 16)
    attachment.who = ClientIdentity("ada", None, address)
    run.all.lost(attachment)
    await asyncio.sleep(50)
    run.all.client_refused(refused)
    await asyncio.sleep(11)
    assert run.abandoned.is_set()


@virtual_time
async def test_a_connected_client_has_no_grace_period_to_begin_again() -> None:
    run = Run(grace=60.0)
    attachment = run.attach(b"k" * 16)
    attachment.who = ClientIdentity("ada", None, "192.0.2.1:7")
    run.all.client_refused(refused)
    await asyncio.sleep(1000)
    assert not run.abandoned.is_set()
    run.all.lost(attachment)
    run.all.client_refused(refused)
    await asyncio.sleep(61)
    assert run.abandoned.is_set()
