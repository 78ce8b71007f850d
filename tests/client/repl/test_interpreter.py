"""Commands for one host: what changes its state, what the remote shell runs, and how each ends."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from farhand_client.options import Args, RunOptions
from farhand_client.repl.commands import ExitRepl
from farhand_client.repl.hosts import ReplHost
from farhand_client.repl.interpreter import Interpreter
from farhand_client.repl.output import StandardOutput
from farhand_client.repl.runner import InterruptGroup, PipeRunner
from farhand_client.results import Result
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, TimedOut
from tests.support.fake_runs import printing
from tests.support.fake_service import FakeRun, FakeService, refusing

Captured = pytest.CaptureFixture[str]


class FakeTerminal:
    """Records the lines that are to run on the terminal; each is left running, or has the result `result`."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.result: Result | None = None

    async def run(self, args: Args, text: str, options: RunOptions) -> Result | None:
        self.lines.append(text)
        return self.result


@pytest.fixture
def interpreter(host: ReplHost, interrupts: InterruptGroup, capfd: Captured) -> Interpreter:
    output = StandardOutput()
    return Interpreter(host, output, PipeRunner(host.connection, output, interrupts))


async def test_a_line_runs_in_a_shell_and_its_outcome_is_recorded(interpreter: Interpreter, capfd: Captured) -> None:
    assert await interpreter.execute("echo out; echo err >&2; exit 3")
    assert capfd.readouterr() == ("out\n", "err\n")
    assert (interpreter.state.code, interpreter.state.outcome) == (3, "")
    assert interpreter.state.duration > 0
    assert not interpreter.interrupted


async def test_blank_text_runs_nothing(interpreter: Interpreter, service: FakeService) -> None:
    assert await interpreter.execute("  # nothing\n")
    assert service.runs == []


@pytest.mark.parametrize(
    ("outcome", "code", "word"),
    [
        (Signaled(signal=11), 139, "SIGSEGV"),
        (TimedOut(timeout=1), 124, "timeout"),
        (Killed(reason="requested", signal=signal.SIGTERM), 143, "stopped"),
    ],
)
async def test_an_outcome_has_an_exit_code_and_a_word(
    interpreter: Interpreter, service: FakeService, outcome: Outcome, code: int, word: str
) -> None:
    service.behave = printing(outcome=outcome)
    assert await interpreter.execute("make")
    assert (interpreter.state.code, interpreter.state.outcome) == (code, word)


class TestBuiltins:
    async def test_directory_and_variables_last(self, interpreter: Interpreter, home: Path, capfd: Captured) -> None:
        (home / "a b").mkdir()
        await interpreter.execute("cd 'a b' && export A=1")
        await interpreter.execute('pwd; echo "$A"')
        assert capfd.readouterr().out == f"{home}/a b\n1\n"

    async def test_the_rest_of_a_line_runs_as_a_shell_would_run_it(
        self, interpreter: Interpreter, capfd: Captured
    ) -> None:
        await interpreter.execute("cd /nowhere/x && echo skipped; echo run")
        assert capfd.readouterr().out == "run\n"

    async def test_cd_minus_returns_and_prints_the_directory(
        self, interpreter: Interpreter, home: Path, capfd: Captured
    ) -> None:
        await interpreter.execute("cd -")
        assert capfd.readouterr().err == "farhand: cd: there is no previous directory\n"
        assert interpreter.state.code == 1
        await interpreter.execute("cd /")
        await interpreter.execute("cd -")
        assert capfd.readouterr().out == f"{home}\n"

    async def test_what_startup_files_print_is_no_part_of_a_directory(
        self, interpreter: Interpreter, service: FakeService, home: Path, capfd: Captured
    ) -> None:
        noisy = home / "noisy"
        noisy.write_text('#!/bin/sh\necho noise\nexec /bin/sh "$@"\n')
        noisy.chmod(0o755)
        service.shell = bytes(noisy)
        for line in ("cd /", "cd -", "cd -", "export A=1"):
            await interpreter.execute(line)
        assert interpreter.state.shown_directory == "/"
        assert interpreter.state.variables == {b"A": b"1"}
        assert capfd.readouterr().out == f"{home}\n/\n"

    async def test_export_alone_is_run_by_the_shell(self, interpreter: Interpreter, capfd: Captured) -> None:
        await interpreter.execute("export")
        assert "HOME=" in capfd.readouterr().out

    async def test_the_output_of_a_builtin_is_shown(self, interpreter: Interpreter, capfd: Captured) -> None:
        await interpreter.execute("cd / $(echo printed >&2)")
        assert capfd.readouterr().err == "printed\n"

    async def test_a_removed_directory_can_be_left_by_an_absolute_path_only(
        self, interpreter: Interpreter, home: Path, capfd: Captured
    ) -> None:
        (home / "gone").mkdir()
        await interpreter.execute("cd gone")
        (home / "gone").rmdir()
        assert await interpreter.execute("cd ..")
        assert interpreter.state.code != 0
        assert await interpreter.execute("cd /")
        assert interpreter.state.shown_directory == "/"

    async def test_a_shell_that_reports_nothing_changes_nothing(
        self, interpreter: Interpreter, service: FakeService, capfd: Captured
    ) -> None:
        service.behave = printing(b"no report")
        assert not await interpreter.execute("cd /")
        assert "the remote shell did not report what changed" in capfd.readouterr().err
        assert interpreter.state.directory is None

    @pytest.mark.parametrize(("text", "code"), [("exit 7", 7), ("exit 256", 0), ("exit", 4), ("exit $((2 + 3))", 5)])
    async def test_exit_ends_the_repl(self, interpreter: Interpreter, text: str, code: int) -> None:
        interpreter.state.code = 4
        with pytest.raises(ExitRepl) as leaving:
            await interpreter.execute(text)
        assert leaving.value.code == code


class TestDirectory:
    @pytest.mark.parametrize("name", ["a b", "$x", "it's"])
    async def test_a_directory_is_taken_literally(self, interpreter: Interpreter, home: Path, name: str) -> None:
        (home / name).mkdir()
        await interpreter.change_directory(name)
        assert interpreter.state.shown_directory == f"~/{name}"

    async def test_a_leading_tilde_is_the_home_directory(self, interpreter: Interpreter, home: Path) -> None:
        (home / "sub").mkdir()
        await interpreter.change_directory("~/sub")
        assert interpreter.state.shown_directory == "~/sub"
        await interpreter.change_directory("~")
        assert interpreter.state.shown_directory == "~"
        await interpreter.change_directory("-")
        assert interpreter.state.shown_directory == "~/sub"

    async def test_home_and_shell_are_asked_for_once(
        self, interpreter: Interpreter, service: FakeService, home: Path
    ) -> None:
        await interpreter.learn_account()
        await interpreter.learn_account()
        assert (interpreter.state.home, interpreter.state.shell) == (bytes(home), b"/bin/sh")
        assert len(service.runs) == 1


class TestFailures:
    async def test_a_refusal_is_printed_and_not_all_ran(
        self, interpreter: Interpreter, service: FakeService, capfd: Captured
    ) -> None:
        service.behave = refusing(ErrorCode.DENIED, "policy says no")
        assert not await interpreter.execute("make")
        assert "policy says no" in capfd.readouterr().err
        assert interpreter.state.code == 255

    async def test_a_lost_connection_is_closed_and_the_next_line_connects(
        self, interpreter: Interpreter, host: ReplHost, service: FakeService
    ) -> None:
        behave = service.behave

        async def vanish(run: FakeRun) -> None:
            run.client.cut()

        service.behave = vanish
        assert not await interpreter.execute("make")
        assert (interpreter.state.outcome, host.connection.client) == ("lost", None)
        service.behave = behave
        assert await interpreter.execute("true")
        assert interpreter.state.code == 0

    async def test_output_that_cannot_be_written_ends_the_repl(
        self, interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch, capfd: Captured
    ) -> None:
        for error, code in ((BrokenPipeError(32, "Broken pipe"), 141), (OSError(28, "No space left"), 255)):

            async def write(*_: object, error: OSError = error) -> None:
                raise error

            monkeypatch.setattr(StandardOutput, "write", write)
            with pytest.raises(ExitRepl) as leaving:
                await interpreter.execute("echo a")
            assert leaving.value.code == code
        assert capfd.readouterr().err == "farhand: cannot write the output: No space left\n"

    async def test_ctrl_c_interrupts_the_run(
        self, interpreter: Interpreter, interrupts: InterruptGroup, service: FakeService
    ) -> None:
        behave = service.behave

        async def press(run: FakeRun) -> None:
            ended = behave(run)
            interrupts()
            await ended

        service.behave = press
        assert await interpreter.execute("exec sleep 1000") is False
        assert (interpreter.state.code, interpreter.state.outcome) == (130, "SIGINT")
        assert interpreter.interrupted


class TestTerminal:
    async def test_lines_run_on_the_terminal_and_one_left_running_counts_as_success(
        self, host: ReplHost, interrupts: InterruptGroup, capfd: Captured
    ) -> None:
        output, fake = StandardOutput(), FakeTerminal()
        here = Interpreter(host, output, PipeRunner(host.connection, output, interrupts), fake, jobs=True)
        assert await here.execute("cd /; vim x")
        assert (fake.lines, host.state.code, host.state.shown_directory) == (["vim x"], 0, "/")
        left = m.LeftProcesses(count=1, names=("ssh-agent",), stopped=True)
        fake.result = Result(Exited(code=3), "id", 1.0, 0, 0, lingered=True, left_processes=left)
        assert await here.execute("make")
        assert host.state.code == 3
        said = "1 process left behind was stopped: ssh-agent; farhand run --leave-processes or policy keeps it"
        assert capfd.readouterr().err == f"farhand: {said}\n"

    async def test_an_ampersand_at_the_end_starts_a_job(
        self, host: ReplHost, service: FakeService, interrupts: InterruptGroup, capfd: Captured
    ) -> None:
        output = StandardOutput()
        here = Interpreter(host, output, PipeRunner(host.connection, output, interrupts), FakeTerminal(), jobs=True)
        assert await here.execute("sleep 0 &")
        name = host.jobs.name(service.runs[0].request.id)
        assert capfd.readouterr().err == f"farhand: [{name}] started\n"
        request = service.runs[0].request
        assert (request.shell, request.on_disconnect, request.terminal) == (b"sleep 0", "keep", None)
