"""The REPL at a terminal, from its first prompt to its end, with typed keys and a fake service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from farhand_client.cli.colon_transfer import parse_colon_transfer
from farhand_client.errors import FarhandError
from farhand_client.repl.attended import AttendedRepl
from farhand_client.repl.commands import ExitRepl
from farhand_client.repl.session import ReplSession
from farhand_client.ui.interrupts import SignalHandler
from farhand_protocol import messages as m
from farhand_protocol.features import PRELUDE
from tests.support.fake_service import FakeConnection, FakeRun, FakeService, accept_client
from tests.support.local_programs import connecting_to
from tests.support.ptys import Pty

Captured = pytest.CaptureFixture[str]
CTRL_C, CTRL_D = "\x03", "\x04"


@pytest.fixture
def keys(pty: Pty, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured) -> Iterator[PipeInput]:
    """What is typed at the prompt; programs run on `pty`."""
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    with create_pipe_input() as made, create_app_session(input=made, output=DummyOutput()):
        yield made


class FakeSignals(SignalHandler):
    """A handler that a test can give a SIGINT."""

    def press_ctrl_c(self) -> None:
        self._interrupted()


@pytest.fixture
async def signals() -> AsyncIterator[FakeSignals]:
    with FakeSignals() as made:
        yield made


async def exit_code(service: FakeService, signals: SignalHandler) -> int:
    """Run the REPL until it ends."""
    repl = AttendedRepl(
        "web", lambda name, ask_user: connecting_to(service), signals, None, parse_transfer=parse_colon_transfer
    )
    with pytest.raises(ExitRepl) as leaving:
        await asyncio.wait_for(repl.run(), 30)
    return leaving.value.code


async def test_typed_lines_run_on_the_terminal(
    keys: PipeInput, service: FakeService, signals: FakeSignals, pty: Pty
) -> None:
    keys.send_text("echo shown\rexec sh -c 'exit 3'\r" + CTRL_D)
    assert await exit_code(service, signals) == 3
    await pty.shows(b"shown")


async def test_the_first_use_of_all_is_introduced_in_one_line(
    keys: PipeInput, service: FakeService, signals: FakeSignals, capfd: Captured
) -> None:
    keys.send_text("exit 0\r")
    await exit_code(service, signals)
    assert capfd.readouterr().err == "farhand: what you type runs on web, as ann@fake; help says more, exit leaves\n"
    keys.send_text("exit 0\r")
    await exit_code(service, signals)
    assert capfd.readouterr().err == ""


async def test_exit_ends_the_repl(keys: PipeInput, service: FakeService, signals: FakeSignals) -> None:
    keys.send_text("exit 9\r")
    assert await exit_code(service, signals) == 9


async def test_empty_lines_and_discarded_ones_run_nothing(
    keys: PipeInput, service: FakeService, signals: FakeSignals
) -> None:
    keys.send_text(f"\rnever{CTRL_C}exit 2\r")
    assert await exit_code(service, signals) == 2
    assert all(run.request.argv is not None for run in service.runs), "only the branch was requested"


async def test_ctrl_d_before_the_connection_leaves_with_0(
    keys: PipeInput, service: FakeService, signals: FakeSignals
) -> None:
    service.greet = lambda connection, message: None
    keys.send_text(CTRL_D)
    assert await exit_code(service, signals) == 0


async def test_a_line_typed_before_the_connection_runs_once_it_is_made(
    keys: PipeInput, service: FakeService, signals: FakeSignals
) -> None:
    def greet(connection: FakeConnection, message: m.AnyMessage) -> None:
        asyncio.get_running_loop().call_later(0.1, accept_client, connection, message)

    service.greet = greet
    keys.send_text("exit 4\r")
    assert await exit_code(service, signals) == 4


async def test_a_failed_connection_is_raised(keys: PipeInput, service: FakeService, signals: FakeSignals) -> None:
    service.host = "unix:/nowhere/s"
    repl = AttendedRepl(
        "web", lambda name, ask_user: connecting_to(service), signals, None, parse_transfer=parse_colon_transfer
    )
    with pytest.raises(FarhandError):
        await asyncio.wait_for(repl.run(), 30)


async def test_commands_after_one_that_is_interrupted_do_not_run(
    keys: PipeInput, service: FakeService, signals: FakeSignals
) -> None:
    behave = service.behave

    async def interrupted(run: FakeRun) -> None:
        if run.request.shell is None:
            await behave(run)
            return
        run.started()
        await run.until(m.Signal)
        run.ended()

    service.behave = interrupted
    pressing = asyncio.ensure_future(_press_ctrl_c_once_a_command_runs(service, signals))
    keys.send_text("\x1b[200~:host +db\nfirst\nsecond\n\x1b[201~\r")
    keys.send_text(CTRL_D)
    await exit_code(service, signals)
    await pressing
    assert {run.request.shell for run in service.runs} - {None} == {b"first"}


async def _press_ctrl_c_once_a_command_runs(service: FakeService, signals: FakeSignals) -> None:
    while not any(run.request.shell is not None and run.has_started for run in service.runs):
        service.arrived.clear()
        await service.arrived.wait()
        await asyncio.sleep(0)
    signals.press_ctrl_c()


async def test_a_problem_with_the_history_is_printed_once(
    keys: PipeInput, service: FakeService, signals: FakeSignals, home: Path, capfd: Captured
) -> None:
    (home / "state").write_text("in the way")
    keys.send_text("\rexit 0\r")
    assert await exit_code(service, signals) == 0
    assert capfd.readouterr().err.count("farhand: the history ") == 1


async def test_a_text_that_is_too_long_is_reported(
    keys: PipeInput, service: FakeService, signals: FakeSignals, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.setattr("farhand_client.repl.lines.MAX_COMMAND", 10)
    keys.send_text("echo 123456\r" + CTRL_D)
    assert await exit_code(service, signals) == 0
    assert "the command is longer than 10 bytes" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("reason", "code"), [("interrupted", 5), ("incomplete", 5), ("ctrl-c between commands", 130), ("none", 5)]
)
async def test_the_rest_of_a_text_runs_unless_a_command_is_interrupted_or_incomplete(
    keys: PipeInput,
    service: FakeService,
    signals: FakeSignals,
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
    code: int,
) -> None:
    executed: list[str] = []

    class FakeExecutor:
        def __init__(self, session: ReplSession) -> None:
            self.interrupted = reason == "interrupted"
            self._session = session

        async def execute(self, text: str) -> bool:
            executed.append(text)
            self._session.hosts.active[0].state.set_outcome(5)
            if reason.startswith("ctrl-c"):
                signals.press_ctrl_c()
            return reason != "incomplete"

    monkeypatch.setattr("farhand_client.repl.executor.LineExecutor", FakeExecutor)
    keys.send_text("\x1b[200~first\nsecond\x1b[201~\r" + CTRL_D)
    assert await exit_code(service, signals) == code
    assert executed == (["first", "second"] if reason == "none" else ["first"])


@pytest.mark.needs("bash")
async def test_ctrl_d_runs_the_traps_for_the_exit(
    keys: PipeInput, service: FakeService, signals: FakeSignals, pty: Pty
) -> None:
    service.features, service.shell = (PRELUDE,), b"/bin/bash"
    keys.send_text("trap 'echo b''ye' EXIT\r sh -c 'exit 3'\r" + CTRL_D)
    assert await exit_code(service, signals) == 3
    assert service.runs[-1].request.shell == b"exit"
    await pty.shows(b"bye")
