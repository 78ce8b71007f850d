"""A run on a terminal: what is requested, its size both ways, and that an outage loses neither."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from farhand_client import RequestRefused, TerminalRequest, WindowSize
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import TERMINAL_WINDOW
from tests.support.fake_service import FakeRun, client_of, refusing

TERMINAL = TerminalRequest(name="xterm-256color", size=WindowSize(columns=80, rows=24), modes=(("VERASE", 127),))


async def until_ended(run: FakeRun) -> None:
    run.started()
    await run.until(m.Stop)
    run.ended()


async def test_a_run_on_a_terminal_has_stdin_one_output_and_a_small_window(tmp_path: Path) -> None:
    async with client_of(tmp_path, until_ended) as (client, service):
        async with client.start(["top"], terminal=TERMINAL) as run:
            assert run.stdin is not None
            assert run.stderr is None
        request = service.runs[0].request
    assert (request.terminal, request.stdin, request.merge_stderr) == (TERMINAL, True, True)
    assert (request.argv, request.login, request.window) == ((b"top",), False, TERMINAL_WINDOW)


async def test_a_plain_run_asks_for_no_terminal_and_no_smaller_window(tmp_path: Path) -> None:
    async with client_of(tmp_path) as (client, service):
        await client.run(["true"])
        request = service.runs[0].request
    assert (request.terminal, request.login, request.window, request.record_input) == (None, False, None, False)


async def test_a_shell_has_no_command_and_leaves_its_grace_to_the_service(tmp_path: Path) -> None:
    async with client_of(tmp_path, until_ended) as (client, service):
        async with client.shell(TERMINAL, cwd="/srv", env={"LANG": "C"}, record_input=True):
            pass
        request = service.runs[0].request
    assert (request.login, request.argv, request.shell) == (True, None, None)
    assert (request.cwd, request.env, request.record_input) == (b"/srv", ((b"LANG", b"C"),), True)
    assert (request.on_disconnect, request.grace, request.kill_after) == ("kill", None, None)


async def test_output_stops_at_the_terminals_window_until_it_is_read(tmp_path: Path) -> None:
    async def flood(run: FakeRun) -> None:
        run.started()
        assert run.client.connection.room(run.channel, "stdout") <= TERMINAL_WINDOW
        await run.write("stdout", bytes(1 << 20))
        run.ended()

    async with client_of(tmp_path, flood) as (client, service), client.start(["yes"], terminal=TERMINAL) as run:
        for _ in range(20):
            await client.ping()
        assert service.runs[0].sent["stdout"] == TERMINAL_WINDOW
        assert len(await run.stdout.read()) == 1 << 20


async def test_sizes_are_reported_both_ways(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.send(m.Resize(columns=80, rows=24))
        reported = await run.until(m.Resize)
        assert reported == m.Resize(columns=132, rows=50)
        run.send(m.Resize(columns=100, rows=50))
        await run.until(m.Stop)
        run.ended()

    sizes: list[WindowSize] = []
    smaller = asyncio.Event()

    def record_size(size: WindowSize) -> None:
        sizes.append(size)
        if size.columns == 100:
            smaller.set()

    async with client_of(tmp_path, behave) as (client, _), client.start(["top"], terminal=TERMINAL) as run:
        run.on_resize(record_size)
        run.resize(132, 50)
        await smaller.wait()
        assert run.size == WindowSize(columns=100, rows=50)
    assert sizes[-1] == WindowSize(columns=100, rows=50)


async def test_the_last_size_of_an_outage_is_reported_after_it(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.until(m.Stop)
        run.ended()

    async with client_of(tmp_path, behave, reconnect=30) as (client, service):
        async with client.start(["top"], terminal=TERMINAL) as run:
            service.arrived.clear()
            service.connections[0].cut()
            run.resize(10, 10)
            run.resize(90, 30)
            await service.arrived.wait()
        attach = service.runs[1].attach
        assert attach is not None
        assert (attach.size, attach.window, attach.hold) == (WindowSize(columns=90, rows=30), TERMINAL_WINDOW, True)
        assert not any(isinstance(message, m.Resize) for message in service.runs[1].messages)


async def test_attaching_with_a_size_asks_for_the_terminal(tmp_path: Path) -> None:
    async with client_of(tmp_path, until_ended) as (client, service):
        first = await client.start(["top"], terminal=TERMINAL)
        async with client.attach(first.id, size=WindowSize(columns=40, rows=10), stdin=True, share=True) as run:
            run.resize(50, 11)
            assert await service.runs[1].until(m.Resize) == m.Resize(columns=50, rows=11)
        attach = service.runs[1].attach
        assert attach is not None
        assert (attach.size, attach.share, attach.stdin) == (WindowSize(columns=40, rows=10), True, 0)
        await first.stop()


async def test_a_read_only_attachment_reports_no_new_size(tmp_path: Path) -> None:
    async with client_of(tmp_path, until_ended) as (client, service):
        first = await client.start(["top"], terminal=TERMINAL)
        async with client.attach(first.id, size=WindowSize(columns=40, rows=10), read_only=True) as run:
            run.resize(50, 11)
        await service.runs[1].until(m.Close)
        assert service.runs[1].messages == [m.Close()]
        await first.stop()


@pytest.mark.parametrize(("columns", "rows"), [(-1, 24), (80, 65536)])
async def test_an_impossible_size_is_refused(tmp_path: Path, columns: int, rows: int) -> None:
    async with client_of(tmp_path, until_ended) as (client, _), client.start(["top"], terminal=TERMINAL) as run:
        with pytest.raises(ValueError, match="use 0 to 65535"):
            run.resize(columns, rows)


async def test_a_run_without_a_terminal_has_no_size(tmp_path: Path) -> None:
    async with client_of(tmp_path, until_ended) as (client, _), client.start(["cat"]) as run:
        assert run.size is None
        with pytest.raises(ValueError, match="not requested with a terminal"):
            run.resize(80, 24)


@pytest.mark.parametrize("name", ["../../x", "", "a" * 65, "xterm\n", "x term"])
def test_an_impossible_terminal_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        TerminalRequest(name=name, size=WindowSize(columns=80, rows=24))


async def test_attaching_with_a_size_to_a_run_without_a_terminal_is_refused(tmp_path: Path) -> None:
    behave = refusing(ErrorCode.NO_TERMINAL, "the run has no terminal")
    async with client_of(tmp_path, behave) as (client, _):
        with pytest.raises(RequestRefused) as refused:
            await client.attach("01890000-0000-7000-8000-000000000000", size=WindowSize(columns=1, rows=1))
    assert refused.value.code is ErrorCode.NO_TERMINAL


async def test_a_recording_may_arrive_in_several_messages(tmp_path: Path) -> None:
    def answer(client: object, channel: int, question: m.AnyMessage) -> None:
        assert isinstance(question, m.RecordingRequest)
        send = service.connections[0].send
        send(
            m.OutputMarks(
                marks=(m.OutputMark(at=0, size=WindowSize(columns=80, rows=24)), m.OutputMark(at=5, stdout=10))
            ),
            channel,
        )
        send(m.OutputMarks(marks=(m.OutputMark(at=7, stdout=12),)), channel)
        send(m.Done(), channel)

    async with client_of(tmp_path) as (client, service):
        service.answer = answer
        marks = await client.recording("01890000-0000-7000-8000-000000000000")
    assert [(mark.at, mark.stdout) for mark in marks] == [(0, None), (5, 10), (7, 12)]
