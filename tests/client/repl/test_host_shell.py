"""Whether the state of a host's shell is kept, and what the user is told about it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from farhand_client.options import Args, RunOptions
from farhand_client.repl.commands import ExitRepl
from farhand_client.repl.host_connection import HostConnection
from farhand_client.repl.host_shell import (
    EXEC_ENDS,
    FALLBACK,
    NO_STARTUP_FILES,
    SCRIPT_STATE_LOST,
    SMALL_SHELL,
    Carrying,
)
from farhand_client.repl.hosts import ReplHost
from farhand_client.repl.interpreter import Interpreter
from farhand_client.repl.output import StandardOutput
from farhand_client.repl.runner import InterruptGroup, PipeRunner
from farhand_client.results import Result
from farhand_client.ui.printing import print_message
from farhand_protocol.errors import ErrorCode
from farhand_protocol.features import PRELUDE
from tests.support.fake_service import FakeService, refusing
from tests.support.local_programs import connecting_to

pytestmark = pytest.mark.needs("bash")

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def bash(service: FakeService) -> FakeService:
    """The service, whose account has bash."""
    service.features = (PRELUDE,)
    service.shell = b"/bin/bash"
    return service


def on(service: FakeService, carrying: Carrying = "script", *, jobs: bool = False) -> tuple[ReplHost, Interpreter]:
    host = ReplHost("web", HostConnection("web", connecting_to(service), print_message), carrying)
    output = StandardOutput()
    return host, Interpreter(host, output, PipeRunner(host.connection, output, InterruptGroup()), jobs=jobs)


async def test_every_line_begins_with_what_the_last_one_has_left(
    bash: FakeService, home: Path, capfd: Captured
) -> None:
    host, interpreter = on(bash)
    assert await interpreter.execute("mkdir -p nd && cd nd")
    assert host.state.shown_directory == "~/nd"
    assert await interpreter.execute("f() { echo $A; }; export A=5; sh -c 'exit 7'")
    assert (host.state.code, host.state.variables) == (7, {b"A": b"5"})
    assert await interpreter.execute("echo $?; f; pwd; sleep 0 &")
    assert capfd.readouterr() == (f"7\n5\n{home}/nd\n", "")
    assert bash.runs[-1].request.shell == b"echo $?; f; pwd; sleep 0 &"
    await host.close()


@pytest.mark.parametrize("line", ["false || exit 3", "trap 'echo bye' EXIT; A=1\nexit 3"])
async def test_a_line_that_leaves_its_shell_leaves_the_repl(bash: FakeService, home: Path, line: str) -> None:
    host, interpreter = on(bash)
    with pytest.raises(ExitRepl) as leaving:
        await interpreter.execute(line)
    assert leaving.value.code == 3
    await host.close()


async def test_a_shell_that_is_killed_leaves_the_state_and_says_so_if_it_matters(
    bash: FakeService, home: Path, capfd: Captured
) -> None:
    host, interpreter = on(bash)
    assert await interpreter.execute("cd /; kill -KILL $$")
    assert host.state.shown_directory == "~"
    assert "ended without saving its state" in capfd.readouterr().err
    assert await interpreter.execute("kill -KILL $$")
    assert capfd.readouterr().err == ""
    await host.close()


async def test_a_job_begins_with_the_state_and_changes_nothing(bash: FakeService, home: Path, capfd: Captured) -> None:
    host, interpreter = on(bash, jobs=True)
    assert await interpreter.execute("A=1")
    assert await interpreter.execute('test "$A" = 1 && A=2 &')
    await interpreter.execute("wait; echo $A")
    assert capfd.readouterr().out == "1\n"
    await host.close()


async def test_a_removed_directory_can_be_left(bash: FakeService, home: Path, capfd: Captured) -> None:
    host, interpreter = on(bash)
    await interpreter.execute("mkdir gone; cd gone; rmdir ../gone")
    assert await interpreter.execute("echo never")
    assert "No such file or directory" in capfd.readouterr().err
    assert await interpreter.execute("cd /")
    assert host.state.shown_directory == "/"
    await host.close()


async def test_after_the_state_is_lost_directory_and_environment_are_those_of_before(
    bash: FakeService, home: Path, capfd: Captured
) -> None:
    host, interpreter = on(bash, "prompt")
    assert await interpreter.execute("cd /; export A=1; B=2")
    await host.connection.close()
    assert await interpreter.execute("pwd; echo $A ${B-none}")
    captured = capfd.readouterr()
    assert captured.out == "/\n1 none\n"
    assert "the state of the shell is lost" in captured.err
    await host.close()


async def test_a_script_that_has_lost_its_state_does_not_go_on(bash: FakeService, home: Path, capfd: Captured) -> None:
    host, interpreter = on(bash)
    assert await interpreter.execute("cd /; sh -c 'exit 3'")
    await host.connection.close()
    assert not await interpreter.execute("echo never")
    assert (host.state.code, host.state.outcome) == (255, "lost")
    assert capfd.readouterr() == ("", f"farhand: {SCRIPT_STATE_LOST}\n")
    await host.close()


async def test_variables_are_set_and_the_account_is_known(bash: FakeService, home: Path, capfd: Captured) -> None:
    host, interpreter = on(bash)
    await interpreter.set_variables([(b"A", b"a b"), (b"LANG", None)])
    assert (host.state.variables, host.state.removed) == ({b"A": b"a b"}, {b"LANG"})
    await interpreter.learn_account()
    assert (host.state.home, host.state.shell) == (bytes(home), b"/bin/bash")
    assert host.state.environment[b"A"] == b"a b"
    await host.close()


async def test_what_is_kept_without_the_state_is_said_once(bash: FakeService, home: Path, capfd: Captured) -> None:
    bash.features = ()
    host, interpreter = on(bash)
    await interpreter.execute("cd /; pwd")
    await interpreter.execute("pwd")
    captured = capfd.readouterr()
    assert captured.out == "/\n/\n"
    assert captured.err == f"farhand: {FALLBACK}: its service is older than this program\n"
    await host.close()


async def test_a_policy_that_refuses_the_keeper_leaves_lines_as_they_were(
    bash: FakeService, home: Path, capfd: Captured
) -> None:
    behave = bash.behave
    bash.behave = refusing(ErrorCode.DENIED, "policy says no")
    host, interpreter = on(bash)
    await interpreter.execute("true")
    bash.behave = behave
    await interpreter.execute("echo still here")
    captured = capfd.readouterr()
    assert captured.out == "still here\n"
    assert captured.err.count(FALLBACK) == 1
    await host.close()


async def test_a_prompt_reads_the_startup_files_before_the_first_line(
    bash: FakeService, home: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(NO_STARTUP_FILES, raising=False)
    (home / ".bashrc").write_text("echo noise; alias hi='echo hi'\n")
    host, interpreter = on(bash, "prompt")
    await host.connection.connect()
    host.shell.prepare()
    assert await interpreter.execute("hi")
    assert capfd.readouterr() == ("hi\n", "")
    await host.close()


async def test_startup_files_that_do_not_end_are_reported(
    bash: FakeService, home: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(NO_STARTUP_FILES, raising=False)
    (home / ".bashrc").write_text("exit 3\n")
    host, interpreter = on(bash, "prompt")
    async with asyncio.timeout(20):
        assert await interpreter.execute("echo here")
    captured = capfd.readouterr()
    assert (captured.out, captured.err.count("startup files")) == ("here\n", 1)
    await host.close()


@pytest.mark.needs("dash")
async def test_a_small_shell_keeps_functions_of_the_prompt_and_says_that_others_end(
    bash: FakeService, home: Path, capfd: Captured
) -> None:
    bash.shell = b"/bin/dash"
    (home / "lib").write_text("g() { echo g; }\n")
    host, interpreter = on(bash)
    await interpreter.execute("f() { echo f; }; . ./lib; g")
    await interpreter.execute("f; . ./lib")
    assert capfd.readouterr() == ("g\nf\n", f"farhand: {SMALL_SHELL}\n")
    await host.close()


async def test_after_the_state_was_removed_lines_run_in_a_new_shell(
    bash: FakeService, home: Path, capfd: Captured
) -> None:
    host, interpreter = on(bash, "prompt")
    await interpreter.execute("mkdir nd; cd nd; X=1; export Y=2")
    keeper = await host.shell.keeper()
    assert keeper is not None
    shutil.rmtree(keeper.path.decode())
    assert not await interpreter.execute("echo not run")
    assert "the state of the shell is gone" in capfd.readouterr().err
    await interpreter.execute("echo ${PWD##*/} ${X-lost} $Y")
    out, err = capfd.readouterr()
    assert (out, "the state of the shell is lost" in err) == ("nd lost 2\n", True)
    await host.close()


class LeavesRunning:
    """A terminal whose user leaves every line running."""

    async def run(self, args: Args, text: str, options: RunOptions) -> Result | None:
        return None


async def test_it_is_said_that_what_a_line_left_running_changes_does_not_last(
    bash: FakeService, home: Path, capfd: Captured
) -> None:
    host, _ = on(bash)
    output = StandardOutput()
    runner = PipeRunner(host.connection, output, InterruptGroup())
    interpreter = Interpreter(host, output, runner, LeavesRunning())
    await interpreter.execute("sleep 30")
    assert capfd.readouterr().err == ""
    await interpreter.execute("sleep 30; cd /")
    assert capfd.readouterr().err == "farhand: what that line changes in its shell does not last\n"
    await host.close()


async def test_it_is_said_once_that_files_of_exec_end_with_their_line(
    bash: FakeService, home: Path, capfd: Captured
) -> None:
    host, interpreter = on(bash)
    for line in ("exec true >f", "(exec 3>f)", "exec 3>f; echo hi >&3", "exec 2>>f"):
        await interpreter.execute(line)
    assert capfd.readouterr() == ("", f"farhand: {EXEC_ENDS}\n")
    assert (home / "f").read_text() == "hi\n"
    await host.close()


@pytest.mark.needs("fish")
async def test_fish_keeps_its_state_begins_jobs_with_it_and_takes_variables(
    bash: FakeService, home: Path, capfd: Captured
) -> None:
    bash.shell = b"/usr/bin/fish"
    host, interpreter = on(bash, jobs=True)
    assert await interpreter.execute("mkdir -p nd; cd nd; set A 1")
    assert host.state.shown_directory == "~/nd"
    await interpreter.set_variables([(b"B", b"it's")])
    assert await interpreter.execute('test "$A$B" = "1it\'s"; and touch $status &')
    await interpreter.execute("wait; ls; set A 2; sh -c 'exit 3'")
    await interpreter.execute("echo $status $A; functions -q cd; or exit 4")
    with pytest.raises(ExitRepl) as leaving:
        await interpreter.execute("true; and exit 5")
    assert (capfd.readouterr().out, leaving.value.code) == ("0\n3 2\n", 5)
    await host.close()
