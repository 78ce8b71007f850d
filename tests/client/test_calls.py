"""Existing runs are listed, attached to, signalled, stopped and awaited, by ids as short as is unambiguous."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from farhand_client import AmbiguousId, Chunk, ConnectionLost, Exited, Gap, RequestRefused, RunGoesOn, SpawnError
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import SpawnFailed
from tests.support.fake_listing import info, listing
from tests.support.fake_runs import ID, STOPPED, so_far, stoppable
from tests.support.fake_service import FakeConnection, FakeRun, client_of


def numbered(number: int) -> m.RunInfo:
    return info(f"01890a5d-ac96-774b-bcce-{number:012x}", command="sleep 9")


def many(count: int) -> list[m.RunInfo]:
    """Return that many runs, newest first."""
    return [numbered(number) for number in range(count, 0, -1)]


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 2001])
async def test_a_long_list_is_fetched_in_pages(tmp_path: Path, count: int) -> None:
    async with client_of(tmp_path) as (client, service):
        service.answer = listing(*many(count))
        runs = await client.runs(ended=True)
        assert [run.id for run in runs] == [run.id for run in many(count)]
        assert len(service.questions) == count // 1000 + 1
        await client.ping()
        assert service.connections[0].connection.open_channels == 0


async def test_a_list_that_was_cut_off_is_requested_again(tmp_path: Path) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        fake.say(m.Runs(runs=(numbered(1),)), channel)
        if len(service.questions) == 1:
            assert fake.link is not None
            fake.link.close()
        else:
            fake.say(m.Done(), channel)

    async with client_of(tmp_path, reconnect=30) as (client, service):
        service.answer = answer
        assert await client.runs(prefix="0189") == [numbered(1)]
        assert service.questions == [m.List(prefix="0189")] * 2


async def test_an_id_may_be_shortened_as_long_as_it_is_unambiguous(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, service):
        service.answer = listing(*many(20))
        async with client.attach(numbered(7).id[:-1] + "7") as run:
            assert run.id == numbered(7).id
        short = numbered(10).id[:-1]
        with pytest.raises(AmbiguousId, match=rf"begins with {short}.*\n  {numbered(15).id}  sleep 9") as caught:
            await client.attach(short[:-1] + "0")
        assert len(caught.value.candidates) == 10
        assert isinstance(caught.value, ValueError)
        with pytest.raises(RequestRefused, match="knows no run of yours whose id begins with ff") as unknown:
            await client.attach("ff")
        assert unknown.value.code is ErrorCode.UNKNOWN_RUN
        for wrong in ("", "x", "0189*"):
            with pytest.raises(ValueError, match="no run id begins with"):
                await client.wait(wrong)
        service.answer = listing(*many(1))
        assert (await client.stop("0189")).outcome == STOPPED


async def test_attach_requests_what_its_arguments_say(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, service):
        asked: list[dict[str, Any]] = [
            {},
            {"read_only": True},
            {"follow": False},
            {"offset": 5},
            {"offset": (3, None), "hold": False},
            {"stdin": True},
            {"stdin": 7},
        ]
        for options in asked:
            async with client.attach(ID, **options) as run:
                assert (run.id, run.new, run.kept) == (ID, False, True)
        whole = {"id": ID, "stdout": 0, "stderr": 0, "hold": True}
        expected: list[dict[str, Any]] = [
            whole,
            whole | {"read_only": True, "hold": False},
            whole | {"follow": False, "hold": False},
            whole | {"stdout": 5},
            whole | {"stdout": 3, "stderr": None, "hold": False},
            whole | {"stdin": 0},
            whole | {"stdin": 7},
        ]
        keys = [one.attach.attachment for one in service.runs if one.attach is not None]
        assert len(set(keys)) == len(asked)
        wanted = [m.Attach(attachment=key, **fields) for key, fields in zip(keys, expected, strict=True)]
        assert [one.attach for one in service.runs] == wanted
        with pytest.raises(ValueError, match="read-only"):
            client.attach(ID, read_only=True, stdin=True)
        with pytest.raises(ValueError, match="it must be 0 or more"):
            client.attach(ID, offset=-1)


async def test_attached_output_begins_at_the_offset_and_the_outcome_is_known(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.rest("stdout", b"0123456789")
        await run.rest("stderr", b"err")
        run.ended(Exited(code=3))

    async with client_of(tmp_path, behave) as (client, _):
        async with client.attach(ID, offset=(4, None)) as run:
            assert (await run.stdout.read(), run.stderr) == (b"456789", None)
            assert (await run.wait()).outcome == Exited(code=3)
        assert (await client.wait(ID)).outcome == Exited(code=3)


async def test_without_follow_the_output_ends_where_it_stands(tmp_path: Path) -> None:
    async with client_of(tmp_path, so_far) as (client, service), client.attach(ID, follow=False) as run:
        assert await run.stdout.read() == b"so far"
        with pytest.raises(RunGoesOn, match="goes on"):
            await run.wait()
        items = [item async for item in run.output(2, follow=False)]
        assert items == [Chunk("stdout", 2, b" far")]
        await client.ping()
        assert service.connections[0].connection.open_channels == 0


async def test_output_is_read_independently_of_the_streams(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        if run.attach is None:
            await run.until(m.Stop)
            run.ended(STOPPED, stdout=110, stderr=2)
            return
        run.say(m.GapNotice(stream="stdout", offset=0, bytes=100))
        run.sent["stdout"] = 100
        await run.write("stdout", b"0123456789")
        await run.rest("stderr", b"ab")
        if run.attach.stderr is None:
            run.ended(stderr=2)
        else:
            await run.until(m.Close)

    async with client_of(tmp_path, behave) as (client, _), client.start(["prog"]) as run:
        items: list[Chunk | Gap] = []
        async with contextlib.aclosing(run.output()) as output:
            async for item in output:
                items.append(item)
                if len(items) == 2:
                    break
        assert items == [Gap("stdout", 0, 100), Chunk("stdout", 100, b"0123456789")]
        assert [item async for item in run.output((0, None))] == items
        run.stdout.discard()


async def test_waiting_for_a_run_that_never_started_raises_its_error(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.ended(SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no nope"))

    async with client_of(tmp_path, behave) as (client, _):
        with pytest.raises(SpawnError, match="there is no nope"):
            await client.wait(ID)


async def test_a_signal_is_delivered_before_the_call_returns(tmp_path: Path) -> None:
    async with client_of(tmp_path) as (client, service):
        service.answer = lambda fake, channel, _: fake.say(m.Done(), channel)
        await client.signal(ID, 15)
        assert service.questions == [m.Deliver(id=ID, number=15)]
        service.answer = lambda fake, channel, _: fake.say(
            m.Error(code=ErrorCode.RUN_ENDED, message="it is over"), channel
        )
        with pytest.raises(RequestRefused, match="it is over") as caught:
            await client.signal(ID, 15)
        assert (caught.value.code, caught.value.run_id) == (ErrorCode.RUN_ENDED, ID)
        with pytest.raises(ValueError, match="is not a signal"):
            await client.signal(ID, 65)


async def test_a_signal_that_may_have_arrived_is_not_sent_twice(tmp_path: Path) -> None:
    async with client_of(tmp_path, reconnect=30) as (client, service):
        service.answer = lambda fake, *_: fake.cut()
        with pytest.raises(ConnectionLost, match=f"whether signal 2 reached run {ID} is unknown"):
            await client.signal(ID, 2)
        await client.ping()
        assert len(service.questions) == 1


async def test_the_service_waits_and_says_what_came(tmp_path: Path) -> None:
    matched = m.Matched(reason="pattern", start=3, end=5)
    async with client_of(tmp_path, stoppable) as (client, service):
        service.answer = lambda fake, channel, _: fake.say(matched, channel)
        assert await client.wait_for(ID, r"a\d", stream="stderr", offset=2, idle=3) == matched
        assert service.questions[0] == m.WaitFor(id=ID, stream="stderr", offset=2, pattern=rb"a\d", idle=3)
        async with client.start(["prog"]) as run:
            assert await run.wait_for(b"\xff") == matched
            assert service.questions[1] == m.WaitFor(id=run.id, pattern=b"\xff")
        with pytest.raises(ValueError, match="idle"):
            await client.wait_for(ID, idle=-1)


async def test_a_wait_that_was_cut_off_continues_for_the_rest_of_its_time(tmp_path: Path) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        if len(service.questions) == 1:
            fake.cut()
        else:
            fake.say(m.Matched(reason="timeout", start=0, end=0), channel)

    async with client_of(tmp_path, reconnect=30) as (client, service):
        service.answer = answer
        assert (await client.wait_for(ID, "x", timeout=60)).reason == "timeout"
        first, second = service.questions
        assert isinstance(first, m.WaitFor)
        assert isinstance(second, m.WaitFor)
        assert first.timeout is not None
        assert second.timeout is not None
        assert 59 < second.timeout < first.timeout <= 60


async def test_a_run_that_is_left_goes_on(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", bytes(1 << 20))
        await run.until(m.Close)

    async with client_of(tmp_path, behave) as (client, service):
        for options in ({"on_disconnect": "keep"}, {}):
            run = await client.start(["prog"], **options)  # type: ignore[arg-type]  # as a script would
            run.detach()
            with pytest.raises(ConnectionLost, match="it goes on" if options else "stops it after its grace period"):
                await run.wait()
        async with client.start(["prog"], on_disconnect="keep") as kept:
            pass
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(0.05):
                await client.run(["prog"], on_disconnect="keep")
        assert kept.kept
        await asyncio.gather(*service.tasks)
        assert {type(one) for run in service.runs for one in run.messages} == {m.Close}
