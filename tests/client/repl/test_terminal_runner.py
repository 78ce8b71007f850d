"""Lines on the user's terminal: their request, how the user leaves them, and services without terminals."""

from __future__ import annotations

import asyncio

import pytest

from farhand_client.errors import RequestRefused
from farhand_client.options import RunOptions
from farhand_client.repl.hosts import ReplHost
from farhand_client.repl.runner import Interrupted
from farhand_client.repl.session import ReplSession
from farhand_client.repl.terminal_runner import TerminalRunner
from farhand_client.results import Result
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Exited
from tests.support.fake_listing import info
from tests.support.fake_runs import ID, printing
from tests.support.fake_service import FakeRun, FakeService
from tests.support.fake_terminals import echo
from tests.support.ptys import Pty

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def web(session: ReplSession, service: FakeService) -> ReplHost:
    service.behave = echo
    return session.hosts.active[0]


@pytest.fixture
def runner(session: ReplSession, web: ReplHost, capfd: Captured) -> TerminalRunner:
    return session.terminal_runner(web)


def running(runner: TerminalRunner) -> asyncio.Task[Result | None]:
    return asyncio.ensure_future(runner.run(["prog"], "prog x", RunOptions()))


async def test_keys_are_sent_to_the_program_until_it_ends(
    runner: TerminalRunner, service: FakeService, pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    run = running(runner)
    await pty.shows(b"ready")
    pty.type(b"q")
    result = await run
    assert result is not None
    assert result.outcome == Exited(code=3)
    request = service.runs[0].request
    assert request.terminal is not None
    assert request.terminal.name == "xterm-256color"
    assert dict(request.env)[b"LANG"] == b"de_DE.UTF-8"
    assert not pty.raw


async def test_a_program_that_is_left_running_becomes_a_job(
    runner: TerminalRunner, web: ReplHost, pty: Pty, capfd: Captured
) -> None:
    run = running(runner)
    await pty.shows(b"ready")
    pty.type(b"\r~d")
    assert await run is None
    (job,) = web.jobs.running
    assert (job.text, job.kept) == ("prog x", False)
    assert capfd.readouterr().err == f"farhand: [{job.name}] still running; :attach {job.name} returns to it\n"


async def test_a_program_can_be_left_to_be_stopped(runner: TerminalRunner, pty: Pty, capfd: Captured) -> None:
    run = running(runner)
    await pty.shows(b"ready")
    pty.type(b"\r~.")
    with pytest.raises(Interrupted):
        await run
    assert capfd.readouterr().err.endswith("; the service stops it\n")


async def test_the_end_of_this_process_leaves_the_program_running(
    runner: TerminalRunner, web: ReplHost, service: FakeService, pty: Pty, capfd: Captured
) -> None:
    run = running(runner)
    await pty.shows(b"ready")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert capfd.readouterr().err == f"farhand: left run {service.runs[0].request.id} running\n"
    assert not pty.raw
    client = web.connection.client
    assert client is not None
    await client.ping()
    assert not any(isinstance(message, m.Stop) for message in service.runs[0].messages)


async def test_nothing_is_said_to_be_left_on_a_service_that_ends_as_well(
    runner: TerminalRunner, web: ReplHost, pty: Pty, capfd: Captured
) -> None:
    web.private = True
    run = running(runner)
    await pty.shows(b"ready")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert capfd.readouterr().err == ""


async def test_without_terminals_lines_run_on_pipes_and_the_reason_is_printed_once(
    runner: TerminalRunner, web: ReplHost, service: FakeService, capfd: Captured
) -> None:
    async def behave(run: FakeRun) -> None:
        if run.request.terminal is not None:
            run.send(m.Error(code=ErrorCode.NO_TERMINAL, message="no-pty"))
        else:
            await printing(b"out\n")(run)

    service.behave = behave
    for _ in range(2):
        result = await running(runner)
        assert result is not None
    captured = capfd.readouterr()
    assert captured.out == "out\nout\n"
    assert captured.err.startswith("farhand: lines run without a terminal here: ")
    assert captured.err.count("\n") == 1
    assert not web.gives_terminals


async def test_a_service_that_refuses_everything_is_not_without_terminals(
    runner: TerminalRunner, web: ReplHost, service: FakeService
) -> None:
    async def refuse(run: FakeRun) -> None:
        run.send(m.Error(code=ErrorCode.DENIED, message="no"))

    service.behave = refuse
    with pytest.raises(RequestRefused):
        await running(runner)
    assert web.gives_terminals


async def test_another_refusal_is_raised(runner: TerminalRunner, service: FakeService) -> None:
    async def refuse(run: FakeRun) -> None:
        run.send(m.Error(code=ErrorCode.CONFLICT, message="no"))

    service.behave = refuse
    with pytest.raises(RequestRefused):
        await running(runner)
    assert len(service.runs) == 1


async def test_an_attached_run_is_shown_from_its_current_screen(
    runner: TerminalRunner, web: ReplHost, service: FakeService, pty: Pty
) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"screen")
        run.ended(Exited(code=2), stdout=6)

    service.behave = behave
    client = await web.connection.connect()
    size = m.WindowSize(columns=80, rows=24)
    result = await runner.attach(client, info(ID, terminal=size, stdout=6, stderr=0, outcome=None))
    assert result is not None
    assert result.outcome == Exited(code=2)
    attach = service.runs[0].attach
    assert attach is not None
    assert (attach.stdout, attach.stderr, attach.stdin) == (0, None, 0)
    await pty.shows(b"screen")


async def test_a_name_of_a_terminal_that_is_invalid_is_replaced(
    runner: TerminalRunner, service: FakeService, pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "a b")
    run = running(runner)
    await pty.shows(b"ready")
    pty.type(b"q")
    await run
    request = service.runs[0].request
    assert request.terminal is not None
    assert request.terminal.name == "dumb"
