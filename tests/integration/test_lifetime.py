"""How long a run lives without its clients, and what each of several clients receives."""

from __future__ import annotations

import asyncio

import pytest

import farhand_client
from farhand_client import PIPE, Gap, RequestRefused, Run
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.outcome import Exited, Killed
from tests.support.client import RawClient, new_id
from tests.support.service import Service

MiB = 1 << 20
GRACE = 0.3


async def orphaned_run(core: Service, command: list[str], **options: object) -> str:
    """Start a run and lose the connection; return the run's id."""
    async with RawClient.connect(core.socket) as client:
        run = client.start(*command, **options)  # type: ignore[arg-type]  # fields of the request
        await run.started()
        return run.request.id


async def test_a_run_is_stopped_once_its_client_has_been_away_for_the_grace_period(core: Service) -> None:
    started = asyncio.get_running_loop().time()
    run_id = await orphaned_run(core, ["sleep", "60"], grace=GRACE)
    async with farhand_client.connect(core.host) as client:
        result = await client.wait(run_id)
    assert asyncio.get_running_loop().time() - started >= GRACE
    assert result.outcome == Killed(reason="disconnected", signal=15)


async def test_waiting_and_read_only_clients_do_not_keep_a_run(core: Service) -> None:
    run_id = await orphaned_run(core, ["sleep", "60"], grace=GRACE)
    async with farhand_client.connect(core.host) as client, client.attach(run_id, read_only=True) as looking:
        assert (await looking.wait()).outcome == Killed(reason="disconnected", signal=15)


async def test_a_run_with_on_disconnect_keep_is_kept(core: Service) -> None:
    run_id = await orphaned_run(core, ["cat", "/dev/zero"], grace=0.0, on_disconnect="keep")
    async with farhand_client.connect(core.host) as client:
        assert [run.outcome for run in await client.runs(prefix=run_id)] == [None]
        result = await client.stop(run_id)
        assert result.outcome == Killed(reason="requested", signal=15)


async def test_a_client_that_returns_within_the_grace_period_finds_the_run_and_its_output(core: Service) -> None:
    grace = 3.0  # in which a busy machine returns, too
    run_id = await orphaned_run(core, ["sh", "-c", "echo out; sleep 60"], grace=grace)
    async with farhand_client.connect(core.host) as client, client.attach(run_id) as run:
        assert await run.stdout.read(4) == b"out\n"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(grace + 1):
                await run.wait()
    async with farhand_client.connect(core.host) as client:
        assert (await client.wait(run_id)).outcome == Killed(reason="disconnected", signal=15)


async def test_two_holding_clients_read_at_their_own_pace_and_get_everything(core: Service) -> None:
    size = 24 * MiB
    async with farhand_client.connect(core.host) as one, farhand_client.connect(core.host) as two:  # noqa: SIM117
        async with (
            one.start(["sh", "-c", f"read go; head -c {size} /dev/zero"], stdin=PIPE) as fast,
            two.attach(fast.id) as slow,
        ):
            assert fast.stdin is not None
            fast.stdin.write(b"go\n")
            counts = {"fast": 0, "slow": 0}

            async def read(name: str, run: Run, limit: int | None = None) -> None:
                while limit is None or counts[name] < limit:
                    chunk = await run.stdout.read(65536)
                    if not chunk:
                        return
                    counts[name] += len(chunk)

            reading = asyncio.ensure_future(read("fast", fast))
            await read("slow", slow, 2 * MiB)
            assert counts["fast"] < size  # it waits for the slow client
            await read("slow", slow)
            await reading
            assert counts == {"fast": size, "slow": size}
            assert (await slow.wait()).outcome == (await fast.wait()).outcome == Exited(code=0)


async def test_a_slow_read_only_client_gets_exact_gaps_and_delays_no_other(core: Service) -> None:
    # Numbered lines of 16 bytes: the data after a gap must be the bytes at its end.
    script = "read go; seq -f %015.0f 0 1999999"
    size = 16 * 2_000_000
    gaps = list[Gap]()
    async with farhand_client.connect(core.host) as one, farhand_client.connect(core.host) as two:  # noqa: SIM117
        async with (
            one.start(["sh", "-c", script], stdin=PIPE) as holding,
            two.attach(holding.id, read_only=True, on_gap=gaps.append) as looking,
        ):
            assert holding.stdin is not None
            holding.stdin.write(b"go\n")
            assert len(await holding.stdout.read()) == size
            assert (await holding.wait()).stdout == size
            position, seen = 0, 0
            while chunk := await looking.stdout.read(65536):
                for gap in gaps[seen:]:
                    assert gap.offset == position
                    position += gap.bytes
                seen = len(gaps)
                whole = b"".join(
                    b"%015d\n" % number for number in range(position // 16, (position + len(chunk)) // 16 + 1)
                )
                assert chunk == whole[position % 16 : position % 16 + len(chunk)]
                position += len(chunk)
            assert position == size
            assert gaps


async def test_a_stream_without_readers_does_not_block_the_program(core: Service) -> None:
    command = ["sh", "-c", f"read go; head -c {32 * MiB} /dev/zero >&2; echo done"]
    run_id = await orphaned_run(core, command, stdin=True, grace=0.0, on_disconnect="keep")
    async with (
        farhand_client.connect(core.host) as client,
        client.attach(run_id, offset=(0, None), stdin=True, hold=True) as run,
    ):
        assert run.stdin is not None
        run.stdin.write(b"go\n")
        assert await run.stdout.read(5) == b"done\n"


async def test_another_client_may_send_stdin_after_the_first_has_left(core: Service) -> None:
    async with farhand_client.connect(core.host) as one, farhand_client.connect(core.host) as two:
        run = await one.start(["cat"], stdin=PIPE, on_disconnect="keep", grace=0)
        assert run.stdin is not None
        run.stdin.write(b"one ")
        assert await run.stdout.read(4) == b"one "
        async with two.attach(run.id, stdin=True) as too_soon:
            assert too_soon.stdin is not None
            with pytest.raises(BrokenPipeError, match="another client feeds it"):
                too_soon.stdin.write(b"ignored")
        await one.close()
        async with two.attach(run.id, offset=4, stdin=4) as next_one:
            assert next_one.stdin is not None
            next_one.stdin.write(b"two")
            next_one.stdin.close()
            assert await next_one.stdout.read() == b"two"
            assert (await next_one.wait()).outcome == Exited(code=0)


async def test_a_read_only_client_can_only_read(core: Service) -> None:
    run_id = await orphaned_run(core, ["sleep", "60"], grace=60, on_disconnect="keep")
    for message in (m.Stop(), m.Signal(number=9), m.End(stream="stdin")):
        async with RawClient.connect(core.socket) as client:
            channel = client.connection.open(m.Attach(id=run_id, stdout=0, read_only=True))
            client.flush()
            client.raw(encode_frame(Kind.MESSAGE, channel, m.encode(message)))
            await client.closed()
    async with farhand_client.connect(core.host) as looking:
        assert [run.outcome for run in await looking.runs(prefix=run_id)] == [None]
        await looking.stop(run_id)


OFFSETS = {"stdout": (5, 0), "stderr": (0, 1)}


@pytest.mark.parametrize("offset", OFFSETS.values(), ids=OFFSETS.keys())
async def test_an_attachment_beyond_the_end_is_refused(core: Service, offset: tuple[int, int]) -> None:
    async with farhand_client.connect(core.host) as client:
        completed = await client.run(["echo", "out"])
        with pytest.raises(RequestRefused, match=r"has [04] bytes, so it cannot be sent from offset [15]") as refused:
            await client.attach(completed.run_id, offset=offset)
        assert refused.value.code == ErrorCode.BAD_OFFSET


async def test_output_no_longer_kept_is_reported_as_a_gap(core: Service) -> None:
    gaps = list[Gap]()
    async with farhand_client.connect(core.host) as client:
        completed = await client.run(["head", "-c", str(8 * MiB), "/dev/zero"])
        async with client.attach(completed.run_id, on_gap=gaps.append) as run:
            rest = await run.stdout.read()
            assert (await run.wait()).outcome == Exited(code=0)
    assert [(gap.offset, gap.bytes + len(rest)) for gap in gaps] == [(0, 8 * MiB)]


async def test_a_run_that_does_not_exist_is_unknown(core: Service) -> None:
    async with farhand_client.connect(core.host) as client:
        with pytest.raises(RequestRefused) as refused:
            await client.attach(new_id())
        assert refused.value.code == ErrorCode.UNKNOWN_RUN


async def test_a_signal_for_an_ended_run_is_refused(core: Service) -> None:
    async with farhand_client.connect(core.host) as client:
        completed = await client.run(["true"])
        with pytest.raises(RequestRefused) as refused:
            await client.signal(completed.run_id, 15)
        assert refused.value.code == ErrorCode.RUN_ENDED


async def test_a_cancelled_client_leaves_nothing(core: Service) -> None:
    async with farhand_client.connect(core.host) as client:
        ids = [new_id() for _ in range(30)]
        for turns, run_id in enumerate(ids):
            task = asyncio.ensure_future(client.run(["sleep", "60"], run_id=run_id, kill_after=0.1))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        known = {run.id: run for run in await client.runs(ended=True)}
        assert [run_id for run_id in ids if run_id in known and known[run_id].outcome is None] == []
        assert [run_id for run_id in ids if run_id in known and known[run_id].attachments] == []
