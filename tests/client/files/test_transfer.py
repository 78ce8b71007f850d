"""A transfer is awaited or followed, goes on in another run if its run is lost, and is stopped with who awaits it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from farhand_client import (
    Client,
    ConnectionLost,
    Finished,
    Moved,
    RequestRefused,
    Signaled,
    TransferIncomplete,
    TransferInterrupted,
    TransferRefused,
    Trouble,
)
from farhand_client.files.attempt import MakeMover
from farhand_client.files.transfer import MAX_FRUITLESS, Transfer, TransferPlan
from farhand_files import wire
from farhand_files.events import Event, Skipped, Totals
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import KiB, MiB
from farhand_protocol.outcome import Exited
from tests.support.fake_runs import STOPPED
from tests.support.fake_service import Behaviour, FakeRun, FakeService, refusing
from tests.support.fake_transfer_worker import (
    OPTIONS,
    READY,
    Exchange,
    Exchanges,
    agree,
    echoing,
    received,
    transferring,
)

COUNT = 300 * KiB


@asynccontextmanager
async def serving(
    directory: Path,
    behave: Behaviour,
    make: MakeMover,
    *,
    operation: str = "put",
    repeatable: bool = True,
    **options: Any,
) -> AsyncIterator[tuple[Callable[..., Transfer], Client, FakeService]]:
    plan = TransferPlan(OPTIONS._replace(operation=operation), make, repeatable)
    async with transferring(directory, behave, **options) as (client, service):

        def transfer(progress: Callable[[Event], None] | None = None, *, check: bool = True) -> Transfer:
            return Transfer(client._connection, plan, progress, check=check)  # noqa: SLF001  # as `Client` does

        yield transfer, client, service


class Failing(Exchange):
    """Reports that two files could not be read."""

    def exchange(self) -> Totals:
        totals = super().exchange()
        for name in (b"\xff", b"secret"):
            self.report(Trouble(name, 13, "permission denied", remote=False))
        totals.failed = 2
        return totals


async def test_awaiting_it_returns_what_was_done(tmp_path: Path) -> None:
    async with serving(tmp_path, echoing(COUNT), Exchanges(COUNT)) as (transfer, _, _):
        awaited = transfer()
        done = await awaited
        assert (done.files, done.bytes, done.sent, done.failed) == (1, COUNT, COUNT, 0)
        assert done.digest == bytes(32).hex()
        assert done.seconds > 0
        assert awaited.done
        assert await awaited is done, "awaiting it again does nothing again"


async def test_it_is_a_coroutine_for_tasks_and_groups(tmp_path: Path) -> None:
    async with serving(tmp_path, echoing(COUNT), Exchanges(COUNT)) as (transfer, _, service):
        task = asyncio.create_task(transfer())
        both = await asyncio.gather(transfer(), transfer())
        assert [done.bytes for done in (*both, await task)] == [COUNT] * 3
        assert len(service.requests) == 3


async def test_one_that_is_never_awaited_is_reported_as_any_coroutine(tmp_path: Path) -> None:
    async with serving(tmp_path, echoing(COUNT), Exchanges(COUNT)) as (transfer, _, service):

        def forget() -> None:
            transfer()
            gc.collect()

        with pytest.warns(RuntimeWarning, match="was never awaited"):
            forget()
        transfer().close()
        assert service.requests == {}


async def test_its_events_can_be_iterated_over(tmp_path: Path) -> None:
    async with serving(tmp_path, echoing(COUNT), Exchanges(COUNT)) as (transfer, _, _):
        seen: list[Event] = []
        async with transfer(seen.append) as followed:
            events = [event async for event in followed]
            assert (await followed).bytes == COUNT
        assert isinstance(events[-1], Finished)
        assert events[-2] == Moved(b"a", COUNT, COUNT)
        assert seen == events


async def test_progress_is_called_with_every_event_before_it_ends(tmp_path: Path) -> None:
    async with serving(tmp_path, echoing(COUNT), Exchanges(COUNT)) as (transfer, _, _):
        seen: list[Event] = []
        await transfer(seen.append)
        assert isinstance(seen[-1], Finished)
        assert Moved(b"a", COUNT, COUNT) in seen


async def test_a_transfer_reports_only_the_events_that_are_wanted(tmp_path: Path) -> None:
    async with serving(tmp_path, echoing(COUNT), Exchanges(COUNT)) as (transfer, _, _):
        seen: list[Event] = []
        wanted = transfer(seen.append)
        wanted.only(Finished)
        assert (await wanted).bytes == COUNT
        assert [type(event) for event in seen] == [Finished]


async def test_what_progress_raises_ends_the_transfer(tmp_path: Path) -> None:
    stopped = asyncio.Event()

    async def behave(run: FakeRun) -> None:
        await agree(run)
        await run.write("stdout", bytes(10))
        await run.until(m.Stop)
        stopped.set()
        run.ended(STOPPED)

    def progress(event: Event) -> None:
        raise ZeroDivisionError(event)

    async with serving(tmp_path, behave, Exchanges(COUNT)) as (transfer, _, _):
        with pytest.raises(ZeroDivisionError, match="Moved"):
            await transfer(progress)
        assert stopped.is_set()


async def test_a_reader_that_stops_reading_does_not_hold_up_the_transfer(tmp_path: Path) -> None:
    class Many(Exchange):
        def exchange(self) -> Totals:
            for at in range(10_000):
                self.report(Skipped(b"%d" % at, 0))
            return super().exchange()

    async def stoppable(run: FakeRun) -> None:
        await agree(run)
        await run.until(m.Stop)
        run.ended(STOPPED)

    async with serving(tmp_path, echoing(COUNT), Exchanges(COUNT, Many)) as (transfer, _, service):
        async with transfer() as followed:
            async for event in followed:
                assert event == Skipped(b"0", 0)
                break
            assert (await followed).bytes == COUNT
        service.behave = stoppable
        async with transfer() as followed:
            assert await anext(aiter(followed)) == Skipped(b"0", 0)
        assert followed.done, "leaving the context stops it"


async def test_what_has_failed_is_an_error_unless_it_is_not_checked(tmp_path: Path) -> None:
    async with serving(tmp_path, echoing(COUNT), Exchanges(COUNT, Failing)) as (transfer, _, _):
        with pytest.raises(
            TransferIncomplete, match="2 of 3 could not be transferred: \udcff: permission denied, and 1 more"
        ):
            await transfer()
        done = await transfer(check=False)
        assert (done.failed, done.files, len(done.errors)) == (2, 1, 2)
        async with transfer() as followed:
            with pytest.raises(TransferIncomplete) as incomplete:
                _ = [event async for event in followed]
        assert incomplete.value.transferred.failed == 2


class Lossy:
    """A worker that is killed some times, each time after it has taken `taken` bytes."""

    def __init__(self, times: int, taken: int) -> None:
        self.times = times
        self.taken = taken
        self.starts = 0

    async def __call__(self, run: FakeRun) -> None:
        self.starts += 1
        if self.starts > self.times:
            await echoing(COUNT)(run)
            return
        await agree(run)
        await run.write("stdout", bytes(self.taken))
        run.ended(Signaled(signal=9))


async def test_a_lost_run_is_followed_by_another_one(tmp_path: Path) -> None:
    worker = Lossy(times=7, taken=1000)
    make = Exchanges(COUNT)
    async with serving(tmp_path, worker, make, operation="get", reconnect=60) as (transfer, _, service):
        done = await transfer()
        assert (done.files, done.bytes, done.sent) == (1, COUNT, COUNT + 7 * 1000)
        assert len(service.requests) == 8, "each run has an id of its own"
        assert len(make.made) == 8


async def test_attempts_that_do_nothing_are_given_up(tmp_path: Path) -> None:
    worker = Lossy(times=100, taken=0)
    async with serving(tmp_path, worker, Exchanges(COUNT), reconnect=60) as (transfer, _, _):
        with pytest.raises(TransferInterrupted, match=r"was terminated by SIGKILL.*the same call again continues it"):
            await transfer()
        assert worker.starts == MAX_FRUITLESS


async def test_attempts_that_all_send_a_little_have_an_end_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farhand_client.files.transfer.MAX_ATTEMPTS", 6)
    worker = Lossy(times=100, taken=1)
    async with serving(tmp_path, worker, Exchanges(COUNT), operation="get", reconnect=60) as (transfer, _, _):
        with pytest.raises(TransferInterrupted):
            await transfer()
        assert worker.starts == 6


async def test_without_reconnecting_there_is_one_attempt(tmp_path: Path) -> None:
    worker = Lossy(times=100, taken=1000)
    async with serving(tmp_path, worker, Exchanges(COUNT), operation="get") as (transfer, _, _):
        with pytest.raises(TransferInterrupted) as interrupted:
            await transfer()
        assert worker.starts == 1
        assert interrupted.value.transferred.sent == 1000


async def test_what_was_read_from_a_pipe_cannot_be_sent_again(tmp_path: Path) -> None:
    worker = Lossy(times=100, taken=1000)
    async with serving(tmp_path, worker, Exchanges(COUNT), repeatable=False, reconnect=60) as (transfer, _, _):
        with pytest.raises(TransferInterrupted) as interrupted:
            await transfer()
        assert worker.starts == 1
        assert "the same call again" not in str(interrupted.value)


async def test_refusals_are_final(tmp_path: Path) -> None:
    async def refuse_options(run: FakeRun) -> None:
        run.started()
        await received(run, 1)
        await run.write("stdout", wire.encode(wire.Problem(0, b"", b"only root can give files away")))
        await run.until(m.Stop)
        run.ended(Exited(code=2))

    async with serving(tmp_path, refuse_options, Exchanges(1), reconnect=60) as (transfer, _, service):
        with pytest.raises(TransferRefused, match="does not do this transfer: only root can give files away"):
            await transfer()
        service.behave = refusing(ErrorCode.DENIED, "ann may not write there")
        with pytest.raises(RequestRefused, match="ann may not write there"):
            await transfer()
        assert len(service.requests) == 2


async def test_a_cut_of_the_connection_is_only_a_pause(tmp_path: Path) -> None:
    cut = asyncio.Event()

    async def behave(run: FakeRun) -> None:
        if run.attach is None:
            await agree(run)
            await asyncio.to_thread(make.began.wait, 20)
            cut.set()
            run.client.cut()
            return
        run.started()
        await run.write_rest("stdout", READY + bytes(9 * MiB))
        run.ended()

    make = Exchanges(9 * MiB)
    async with serving(tmp_path, behave, make, reconnect=60) as (transfer, _, service):
        done = await transfer()
        assert done.bytes == 9 * MiB
        assert cut.is_set()
        assert len(service.requests) == len(make.made) == 1


@pytest.mark.parametrize("how", ["await", "iterate"])
async def test_cancelling_what_waits_for_it_stops_it(tmp_path: Path, how: str) -> None:
    stopped = asyncio.Event()
    make = Exchanges(32 * MiB)

    async def behave(run: FakeRun) -> None:
        await agree(run)
        await asyncio.to_thread(make.began.wait, 20)
        task.cancel()
        await run.until(m.Stop)
        stopped.set()
        run.ended(STOPPED)

    async def follow(transfer: Transfer) -> None:
        async for _ in transfer:
            pass

    async with serving(tmp_path, behave, make) as (transfer, _, _):
        task = asyncio.ensure_future(transfer() if how == "await" else follow(transfer()))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stopped.is_set()
        assert make.made[0].ended.is_set()


async def test_closing_the_client_ends_it(tmp_path: Path) -> None:
    make = Exchanges(32 * MiB)

    async def behave(run: FakeRun) -> None:
        await agree(run)

    async with serving(tmp_path, behave, make, reconnect=60) as (transfer, client, _):
        task = asyncio.ensure_future(transfer())
        await asyncio.to_thread(make.began.wait, 20)
        await client.close()
        with pytest.raises(ConnectionLost, match="closed by this client"):
            await task


async def test_it_says_what_it_does_and_how_it_stands(tmp_path: Path) -> None:
    async with serving(tmp_path, echoing(COUNT), Exchanges(COUNT)) as (transfer, _, service):
        one = transfer()
        assert repr(one) == f"<Transfer: put to {service.host}:there, not begun>"
        async with one:
            assert repr(one).endswith(", under way>")
        assert repr(one).endswith(", ended>")


async def test_a_transfer_of_another_loop_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path, echoing(COUNT), Exchanges(COUNT)) as (transfer, _, _):
        one = transfer()

        def elsewhere() -> None:
            asyncio.run(asyncio.wait_for(one, 10))

        with pytest.raises(RuntimeError, match="made in another event loop"):
            await asyncio.to_thread(elsewhere)
