"""Existing runs are listed, attached to, signalled, stopped and awaited, by ids as short as is unambiguous."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from farhand_client import AmbiguousId, ConnectionLost, FarhandError, RequestRefused, SpawnError
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.outcome import SpawnFailed
from tests.support.fake_listing import info, listing
from tests.support.fake_runs import ID, STOPPED, stoppable
from tests.support.fake_service import FakeConnection, FakeRun, client_of
from tests.support.processes import TIMEOUT


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


async def test_a_service_that_repeats_its_runs_for_ever_is_not_asked_for_ever(tmp_path: Path) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        for _ in range(10):
            fake.send(m.Runs(runs=tuple(many(100))), channel)
        fake.send(m.Done(), channel)

    async with client_of(tmp_path) as (client, service):
        service.answer = answer
        async with asyncio.timeout(TIMEOUT):
            assert await client.runs() == many(100)
        assert len(service.questions) <= 2


@pytest.mark.parametrize("pages", [[100] * 11, [0]], ids=["too many", "none"])
async def test_a_list_is_no_longer_than_requested(tmp_path: Path, pages: list[int]) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        for count in pages:
            fake.send(m.Runs(runs=tuple(many(count))), channel)

    async with client_of(tmp_path) as (client, service):
        service.answer = answer
        async with asyncio.timeout(TIMEOUT):
            with pytest.raises(FarhandError, match="more runs than it was asked for"):
                await client.runs()
            await client.ping()


async def test_a_listing_of_all_runs_has_an_end_whatever_the_service_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_client.calls.MAX_ALL_RUNS", 2500)
    service_has = listing(*many(10_000))
    async with client_of(tmp_path) as (client, service):
        service.answer = service_has
        with pytest.raises(FarhandError, match="more than 2500 runs"):
            await client.runs(ended=True)
        assert len(service.questions) == 3
        await client.ping()


@pytest.mark.parametrize(
    "marks",
    [(), (m.OutputMark(at=1, stdout=1),) * 500, (m.OutputMark(at=1, stdin=bytes(1000)),) * 12],
    ids=["none", "many", "typed"],
)
async def test_a_recording_has_an_end_whatever_the_service_says(
    tmp_path: Path, marks: tuple[m.OutputMark, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_client.calls.MAX_RECORDED_MARKS", 2000)
    monkeypatch.setattr("farhand_client.calls.MAX_RECORDED_TYPING", 50_000)

    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        for _ in range(6 if marks else 2500):
            fake.send(m.OutputMarks(marks=marks), channel)

    async with client_of(tmp_path) as (client, service):
        service.answer = answer
        async with asyncio.timeout(TIMEOUT):
            with pytest.raises(FarhandError, match="a longer recording than any service makes"):
                await client.recording(ID)
            await client.ping()


async def test_an_errors_text_is_one_line_that_controls_no_terminal(tmp_path: Path) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        # As another service could write it: this one's own texts have no control characters.
        said = b'{"type":"error","code":"denied","message":"no\\nfarhand: key verified, password: \\u001b[2J\\u2028x"}'
        fake.send_raw(encode_frame(Kind.MESSAGE, channel, said))

    async with client_of(tmp_path) as (client, service):
        service.answer = answer
        with pytest.raises(RequestRefused) as refused:
            await client.runs()
        assert str(refused.value) == r"no\nfarhand: key verified, password: \x1b[2J\u2028x"


async def test_a_list_that_was_cut_off_is_requested_again(tmp_path: Path) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        fake.send(m.Runs(runs=(numbered(1),)), channel)
        if len(service.questions) == 1:
            assert fake.transport is not None
            fake.transport.close()
        else:
            fake.send(m.Done(), channel)

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
        with pytest.raises(AmbiguousId, match=rf"begin with {short}.*\n  {numbered(15).id}  sleep 9") as caught:
            await client.attach(short[:-1] + "0")
        assert len(caught.value.candidates) == 10
        assert isinstance(caught.value, ValueError)
        with pytest.raises(RequestRefused, match="has no run of yours whose id begins with ff") as unknown:
            await client.attach("ff")
        assert unknown.value.code is ErrorCode.UNKNOWN_RUN
        for wrong in ("", "x", "0189*"):
            with pytest.raises(ValueError, match="no run id begins with"):
                await client.wait(wrong)
        service.answer = listing(*many(1))
        assert (await client.stop("0189")).outcome == STOPPED


async def test_waiting_for_a_run_that_never_started_raises_its_error(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.ended(SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no nope"))

    async with client_of(tmp_path, behave) as (client, _):
        with pytest.raises(SpawnError, match="there is no nope"):
            await client.wait(ID)


async def test_a_signal_is_delivered_before_the_call_returns(tmp_path: Path) -> None:
    async with client_of(tmp_path) as (client, service):
        service.answer = lambda fake, channel, _: fake.send(m.Done(), channel)
        await client.signal(ID, 15)
        assert service.questions == [m.Deliver(id=ID, number=15)]
        service.answer = lambda fake, channel, _: fake.send(
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


async def test_the_service_waits_and_returns_the_match(tmp_path: Path) -> None:
    matched = m.Matched(reason="pattern", start=3, end=5)
    async with client_of(tmp_path, stoppable) as (client, service):
        service.answer = lambda fake, channel, _: fake.send(matched, channel)
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
            fake.send(m.Matched(reason="timeout", start=0, end=0), channel)

    async with client_of(tmp_path, reconnect=30) as (client, service):
        service.answer = answer
        assert (await client.wait_for(ID, "x", timeout=60)).reason == "timeout"
        first, second = service.questions
        assert isinstance(first, m.WaitFor)
        assert isinstance(second, m.WaitFor)
        assert first.timeout is not None
        assert second.timeout is not None
        assert 30 < second.timeout < first.timeout <= 60
