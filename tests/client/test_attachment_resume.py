"""An outage is a pause: no output and no stdin is lost, nothing arrives twice, and a command starts once."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from farhand_client import PIPE, Client, Exited, Killed, RequestRefused, connect
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import KiB, Limits, MiB
from tests.support.cutting_proxy import cutting_proxy
from tests.support.fake_runs import ID, STOPPED, Cat, Gate
from tests.support.fake_service import FakeRun, FakeService, client_of


def cuts(seed: int, count: int, limit: int) -> Iterator[tuple[int, int]]:
    """Yield the numbers of bytes in each direction after which a connection is cut."""
    chance = random.Random(seed)
    for _ in range(count):
        # A client that is cut off before it receives anything waits longer each time, so most cuts come later.
        yield chance.randrange(200, 8 * limit), chance.randrange(200, limit)


@pytest.mark.parametrize("seed", range(4))
async def test_cut_anywhere_a_run_continues_byte_for_byte(tmp_path: Path, seed: int) -> None:
    cat, data = Cat(), random.Random(seed).randbytes(6 * MiB)
    async with FakeService(cat).on_socket(tmp_path):
        # Few cuts near the login: the attempts after these wait for the whole back-off.
        plan = itertools.chain(cuts(seed, 3, 4 * KiB), cuts(seed, 9, 600 * KiB))
        async with cutting_proxy(tmp_path / "cut.sock", tmp_path / "fake.sock", plan) as made:
            async with connect(f"unix:{tmp_path}/cut.sock") as client:
                completed = await client.run(["cat"], input=data)
            assert len(made) >= 12
    assert (completed.stdout == data, completed.outcome) == (True, Exited(code=0))
    assert bytes(cat.received) == data


async def test_a_slow_reader_and_writer_survive_cuts(tmp_path: Path) -> None:
    cat, data = Cat(), random.Random(7).randbytes(3 * MiB)
    async with (
        FakeService(cat, limits=Limits(window=64 * KiB)).on_socket(tmp_path),
        cutting_proxy(tmp_path / "cut.sock", tmp_path / "fake.sock", cuts(7, 12, 300 * KiB)),
        connect(f"unix:{tmp_path}/cut.sock") as client,
        client.start(["cat"], stdin=PIPE) as run,
    ):
        received = bytearray()

        async def feed() -> None:
            assert run.stdin is not None
            for at in range(0, len(data), 100_000):
                run.stdin.write(data[at : at + 100_000])
                await run.stdin.drain()
            run.stdin.close()

        feeding = asyncio.ensure_future(feed())
        while chunk := await run.stdout.read(70_001):
            received += chunk
        await feeding
        assert (bytes(received) == data, (await run.wait()).stdout) == (True, len(data))


async def test_unread_output_stays_bounded_over_many_outages(tmp_path: Path) -> None:
    whole = random.Random(1).randbytes(14 * MiB)
    full = asyncio.Event()

    async def behave(run: FakeRun) -> None:
        run.started()
        writing = asyncio.ensure_future(run.write_rest("stdout", whole))
        while run.client.connection.room(run.channel, "stdout"):
            await asyncio.sleep(0)
            if run.sent["stdout"] == len(whole):
                break
        full.set()
        await writing
        if not run.client.closed.is_set():
            run.ended()

    async with client_of(tmp_path, behave, reconnect=30) as (client, service), client.start(["flood"]) as run:
        for _ in range(3):  # without the bound, 12 MiB would be unread after three outages
            full.clear()
            await full.wait()
            await client.ping()
            service.connections[-1].cut()
            await service.connections[-1].closed.wait()
        offsets = [one.attach.stdout for one in service.runs if one.attach is not None]
        assert max(at for at in offsets if at is not None) <= 8 * MiB
        assert await run.stdout.read() == whole


async def test_an_unanswered_start_is_repeated_unchanged(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        if len(service.runs) < 3:
            run.client.cut()
            return
        run.started()
        run.ended()

    async with client_of(tmp_path, behave, reconnect=30) as (client, service):
        assert (await client.run(["true"])).returncode == 0
        assert [run.attach for run in service.runs] == [None, None, None]
        assert len({run.request for run in service.runs}) == 1


async def test_after_an_outage_a_started_run_is_attached_to_at_its_offsets(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write_rest("stdout", b"123456" if run.attach is None else b"123456789")
        await run.write_rest("stderr", b"ab")
        if run.attach is not None:
            run.ended()

    async with client_of(tmp_path, behave, reconnect=30) as (client, service), client.start(["prog"]) as run:
        assert run.stderr is not None
        assert (await run.stdout.read(3), await run.stderr.read(2)) == (b"123", b"ab")
        service.connections[0].cut()
        assert (await run.stdout.read(), await run.stderr.read()) == (b"456789", b"")
        assert (await run.wait()).outcome == Exited(code=0)
        assert service.runs[1].attach == m.Attach(
            id=run.id, attachment=service.runs[0].request.attachment, stdout=6, stderr=2, hold=True
        )


async def test_only_unacknowledged_stdin_and_its_end_are_sent_again(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        if run.attach is not None:
            await run.until(m.End)
            run.ended()

    async with (
        client_of(tmp_path, behave, takes_stdin=False, reconnect=30) as (client, service),
        client.start(["prog"], stdin=PIPE) as run,
    ):
        assert run.stdin is not None
        run.stdin.write(b"acknowledged and not")
        run.stdin.close()
        first = service.runs[0]
        await first.until(m.End)
        first.send(m.Credit(stream="stdin", bytes=12))
        await client.ping()
        service.connections[0].cut()
        await run.wait()
        second = service.runs[1]
        assert second.attach is not None
        assert (second.attach.stdin, second.stdin) == (12, b" and not")


async def test_stdin_that_another_client_feeds_is_a_broken_pipe(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.send(m.Started(pid=1, new=False, stdin=False))
        await run.until(m.Close)

    async with client_of(tmp_path, behave) as (client, _), client.attach(ID, stdin=True) as run:
        assert run.stdin is not None
        with pytest.raises(BrokenPipeError, match="another client feeds it"):
            run.stdin.write(b"x")


async def stopped_late(run: FakeRun) -> None:
    run.started()
    await run.until(m.Stop)
    run.ended(STOPPED)


@pytest.fixture
async def outage(tmp_path: Path) -> AsyncIterator[tuple[Client, FakeService, Gate]]:
    """A client, and a gate that can keep it disconnected."""
    async with client_of(tmp_path, stopped_late, reconnect=30) as (client, service):
        yield client, service, Gate(service)


Outages = tuple[Client, FakeService, Gate]


async def test_signals_sent_during_an_outage_are_delivered_once(outage: Outages) -> None:
    client, service, gate = outage
    async with client.start(["prog"]) as run:
        run.send_signal(1)
        await client.ping()
        await gate.shut()
        assert (client.connected, run.connected) == (False, False)
        run.send_signal(2)
        run.send_signal(10)
        gate.open()
        await client.ping()
        assert (client.connected, run.connected) == (True, True)
        await gate.shut()
        gate.open()
        await client.ping()
    signals = [[one.number for one in run.messages if isinstance(one, m.Signal)] for run in service.runs]
    assert signals == [[1], [2, 10], []]


async def test_a_stop_ordered_during_an_outage_is_delivered(outage: Outages) -> None:
    client, service, gate = outage
    async with client.start(["prog"]) as run:
        await gate.shut()
        stopping = asyncio.ensure_future(run.stop(kill_after=3))
        await asyncio.sleep(0)
        gate.open()
        await stopping
        assert run.outcome == STOPPED
        assert service.runs[1].messages[0] == m.Stop(kill_after=3)


async def test_a_stop_that_was_cut_off_is_sent_again(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.until(m.Stop)
        if run.attach is None:
            run.client.cut()
        else:
            run.ended(STOPPED)

    async with client_of(tmp_path, behave, reconnect=30) as (client, _):
        async with client.start(["prog"]) as run:
            pass
        assert run.outcome == STOPPED


async def test_a_run_abandoned_during_an_outage_is_stopped_after_it(outage: Outages) -> None:
    client, service, gate = outage
    async with client.start(["prog"]) as run:
        await gate.shut()
        run.abandon()
    gate.open()
    await client.ping()
    attached = service.runs[1]
    assert attached.attach == m.Attach(id=run.id, attachment=attached.request.attachment)
    assert [type(one) for one in attached.messages] == [m.Stop, m.Close]


async def test_a_start_cancelled_during_an_outage_is_not_repeated(tmp_path: Path) -> None:
    async with client_of(tmp_path, lambda run: run.lost(), reconnect=30) as (client, service):
        gate = Gate(service)
        starting = asyncio.ensure_future(client.start(["prog"]))
        await service.arrived.wait()
        await gate.shut()
        starting.cancel()
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        gate.open()
        await client.ping()
        assert [type(one.attach) for one in service.runs] == [type(None), m.Attach]


async def test_requests_wait_during_an_outage(outage: Outages) -> None:
    client, service, gate = outage

    async def end(run: FakeRun) -> None:
        run.started()
        run.ended()

    await gate.shut()
    service.behave = end
    asked = asyncio.gather(client.run(["true"]), client.ping(), client.runs())
    await asyncio.sleep(0)
    assert service.runs == []
    gate.open()
    completed, _, runs = await asked
    assert (completed.returncode, runs) == (0, [])


async def test_the_outcome_is_known_before_the_output_ends(tmp_path: Path) -> None:
    known = asyncio.Event()

    async def behave(run: FakeRun) -> None:
        run.started()
        run.send(m.Exit(outcome=Exited(code=4)))
        await known.wait()
        run.ended(Exited(code=4), lingered=True)

    async with client_of(tmp_path, behave) as (client, _), client.start(["daemon"]) as run:
        while run.outcome is None:
            await client.ping()
        assert (run.outcome, run.result) == (Exited(code=4), None)
        known.set()
        assert (await run.wait()).lingered


@pytest.mark.parametrize("code", [ErrorCode.EXPIRED, ErrorCode.UNKNOWN_RUN, ErrorCode.CONFLICT, ErrorCode.REPLACED])
async def test_attaching_after_an_outage_to_a_deleted_run_fails_with_the_services_code(
    tmp_path: Path, code: ErrorCode
) -> None:
    async def behave(run: FakeRun) -> None:
        if run.attach is None:
            run.started()
            run.client.flush()
            await run.lost()
        else:
            run.send(m.Error(code=code, message="no"))

    async with client_of(tmp_path, behave, reconnect=30) as (client, service), client.start(["prog"]) as run:
        service.connections[0].cut()
        with pytest.raises(RequestRefused) as caught:
            await run.wait()
        assert (caught.value.code, caught.value.run_id) == (code, run.id)


async def test_a_run_killed_during_an_outage_has_that_outcome(tmp_path: Path) -> None:
    gone = Killed(reason="disconnected", signal=15)

    async def behave(run: FakeRun) -> None:
        run.started()
        if run.attach is not None:
            run.ended(gone)

    async with client_of(tmp_path, behave, reconnect=30) as (client, service), client.start(["prog"]) as run:
        service.connections[0].cut()
        assert (await run.wait()).outcome == gone
