"""The execution of typed text: the REPL's own commands, and lines on one or several hosts."""

from __future__ import annotations

import pytest

from farhand_client.repl.commands import ExitRepl
from farhand_client.repl.executor import LineExecutor
from farhand_client.repl.output import StandardOutput
from farhand_client.repl.runner import InterruptGroup
from farhand_client.repl.session import ReplSession
from farhand_protocol import messages as m
from tests.support.fake_service import FakeRun, FakeService
from tests.support.ptys import Pty

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def executor(session: ReplSession, capfd: Captured) -> LineExecutor:
    return LineExecutor(session)


async def test_a_line_runs_on_the_terminal_of_the_only_host(
    executor: LineExecutor, session: ReplSession, service: FakeService, pty: Pty
) -> None:
    assert await executor.execute("echo shown; exit 3")
    await pty.shows(b"shown")
    assert service.runs[-1].request.terminal is not None
    assert session.exit_code == 3


async def test_a_line_runs_on_all_hosts_with_labelled_output(
    executor: LineExecutor, session: ReplSession, capfd: Captured
) -> None:
    await session.hosts.add("db")
    assert await executor.execute("echo a; exit 2")
    captured = capfd.readouterr()
    assert sorted(captured.out.splitlines()) == ["db | a", "web | a"]
    assert captured.err == "farhand: web: exit 2\nfarhand: db: exit 2\n"


async def test_exit_on_several_hosts_ends_the_repl(executor: LineExecutor, session: ReplSession) -> None:
    await session.hosts.add("db")
    with pytest.raises(ExitRepl) as leaving:
        await executor.execute("exit 5")
    assert leaving.value.code == 5


async def test_an_error_is_raised_before_an_exit(
    executor: LineExecutor, session: ReplSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def __init__(self, error: Exception) -> None:
            self._error = error

        async def execute(self, text: str) -> bool:
            raise self._error

    await session.hosts.add("db")
    errors: list[Exception] = [ExitRepl(5), RuntimeError("a defect")]
    monkeypatch.setattr(session, "interpreter", lambda host: Failing(errors.pop(0)))
    with pytest.raises(RuntimeError, match="a defect"):
        await executor.execute("exit 5")


async def test_ctrl_c_reaches_the_runs_on_all_hosts(
    executor: LineExecutor, session: ReplSession, service: FakeService, interrupts: InterruptGroup
) -> None:
    started: list[FakeRun] = []

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"ready\n")
        started.append(run)
        if len(started) == 2:
            interrupts()
        await run.until(m.Signal)
        run.ended()

    await session.hosts.add("db")
    service.behave = behave
    await executor.execute("sleep 1000")
    assert executor.interrupted


class TestOwnCommands:
    async def test_a_command_sets_the_exit_code_of_the_active_hosts(
        self, executor: LineExecutor, session: ReplSession
    ) -> None:
        session.hosts.active[0].state.code = 3
        assert await executor.execute(":help")
        assert session.exit_code == 0

    async def test_an_outcome_that_a_command_recorded_itself_is_kept(
        self, executor: LineExecutor, session: ReplSession
    ) -> None:
        assert await executor.execute(":cd /nowhere/x")
        assert session.exit_code in (1, 2)

    async def test_a_mistake_is_printed(self, executor: LineExecutor, session: ReplSession, capfd: Captured) -> None:
        assert await executor.execute(":hlep")
        assert capfd.readouterr().err == "farhand: there is no command :hlep; did you mean :help?\n"
        assert session.exit_code == 1

    async def test_a_lost_connection_is_closed(
        self, executor: LineExecutor, session: ReplSession, service: FakeService
    ) -> None:
        service.connections[0].cut()
        assert await executor.execute(":jobs")
        assert session.exit_code == 1
        assert session.hosts.active[0].connection.client is None

    async def test_ctrl_c_cancels_a_request(
        self, executor: LineExecutor, session: ReplSession, service: FakeService, interrupts: InterruptGroup
    ) -> None:
        service.answer = lambda connection, channel, question: interrupts()
        assert not await executor.execute(":jobs")
        assert executor.interrupted
        assert (session.exit_code, session.hosts.active[0].state.outcome) == (130, "SIGINT")

    @pytest.mark.parametrize(("error", "code"), [(BrokenPipeError(32, "Broken pipe"), 141), (OSError(28, "full"), 255)])
    async def test_output_that_cannot_be_written_ends_the_repl(
        self, executor: LineExecutor, monkeypatch: pytest.MonkeyPatch, error: OSError, code: int
    ) -> None:
        async def write(*_: object) -> None:
            raise error

        monkeypatch.setattr(StandardOutput, "write", write)
        with pytest.raises(ExitRepl) as leaving:
            await executor.execute(":help")
        assert leaving.value.code == code
