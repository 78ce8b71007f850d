"""Both fronts: what they hand over, what they execute the full program for, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.front_lines import line
from tests.support.fronts import FULL, Installation, acting_helper
from tests.support.processes import until

pytestmark = [pytest.mark.service, pytest.mark.needs("cc")]


def state(installation: Installation, **options: Any) -> dict[str, Any]:
    code, stdout, stderr = installation.run("ps", "state", **options)
    assert (code, stderr) == (0, "")
    found: dict[str, Any] = json.loads(stdout)
    return found


def test_the_arguments_arrive_byte_for_byte(installation: Installation) -> None:
    code, stdout, _ = installation.run("ps", "state", "", "a b", "\udcff\n", "é")
    assert (code, json.loads(stdout)["argv"]) == (0, ["ps", "state", "", "a b", "\udcff\n", "é"])


def test_the_environment_replaces_the_childs_own(installation: Installation) -> None:
    own = {name: value for name, value in installation.environment.items() if name != "HOME"} | {"NAME": "a=b\n"}
    assert state(installation, env=own)["environment"] == own


def test_the_directory_and_the_umask_are_taken_over(installation: Installation, tmp_path: Path) -> None:
    found = state(installation, cwd=tmp_path, umask=0o027)
    assert (found["directory"], found["umask"]) == (str(tmp_path), 0o027)


def test_the_child_is_called_farhand_and_knows_the_fronts_parent(installation: Installation) -> None:
    found = state(installation)
    assert (found["name"], found["parent"]) == ("farhand", os.getpid())


def test_the_child_has_no_other_files_than_a_program_would(installation: Installation) -> None:
    # The connection to the front, its token, and what it needs to wait again; and the directory that is being listed.
    assert state(installation)["more"] == 3 + 5 + 1


def test_signals_that_a_script_ignores_stay_ignored(installation: Installation) -> None:
    script = f"trap '' INT HUP QUIT; exec {installation.front} ps state"
    done = subprocess.run(["sh", "-c", script], env=installation.environment, capture_output=True, timeout=30)
    assert json.loads(done.stdout)["ignored"] == [signal.SIGINT, signal.SIGHUP]


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_standard_file_is_closed_in_the_child(installation: Installation, closed: int) -> None:
    script = f"exec {installation.front} ps state >&2 {closed}{'<' if not closed else '>'}&-"
    if closed == 2:
        script = f"exec {installation.front} ps state 2>&-"
    done = subprocess.run(
        ["sh", "-c", script], env=installation.environment, capture_output=True, stdin=subprocess.PIPE, timeout=30
    )
    if closed != 1:
        assert closed not in json.loads(done.stdout + done.stderr)["open"]
    else:
        assert b"Bad file descriptor" in done.stderr


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_the_exit_code_is_the_childs(installation: Installation, code: int) -> None:
    assert installation.run("ps", "exit", str(code)) == (code, "", "")


def test_a_megabyte_passes_through_and_ends_with_the_command(installation: Installation) -> None:
    data = os.urandom(1 << 20)
    done = subprocess.run(
        [installation.front, "ps", "copy"], input=data, env=installation.environment, capture_output=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, data)


def test_signals_are_handed_on_and_the_child_decides(installation: Installation) -> None:
    with installation.start("ps", "signals") as process:
        line(process)
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGWINCH", "SIGUSR2"):
            process.send_signal(getattr(signal, name))
            assert line(process) == name
        assert process.wait(30) == 128 + signal.SIGUSR2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGRTMIN])
def test_a_signal_that_ends_the_child_ends_the_front(installation: Installation, number: signal.Signals) -> None:
    with installation.start("ps", "pid") as process:
        line(process)
        process.send_signal(number)
        assert process.wait(30) == -number


def test_what_a_program_in_python_ignores_does_not_end_the_front(installation: Installation) -> None:
    with installation.start("ps", "signals") as process:
        line(process)
        for name in ("SIGPIPE", "SIGXFSZ", "SIGUSR2"):
            process.send_signal(getattr(signal, name))
        assert line(process) == "SIGUSR2"
        assert process.wait(30) == 128 + signal.SIGUSR2


@pytest.mark.parametrize("installation", ["native"], indirect=True)
def test_a_directory_as_stdin_is_left_to_the_full_program(installation: Installation) -> None:
    with open_directory() as directory:
        assert installation.run("ps", "exit", "3", stdin=directory) == (FULL, "full ps exit 3\n", "")
    assert state(installation)["argv"] == ["ps", "state"]


@contextlib.contextmanager
def open_directory() -> Iterator[int]:
    directory = os.open("/", os.O_RDONLY)
    yield directory
    os.close(directory)


def test_a_killed_front_takes_the_child_with_it(installation: Installation) -> None:
    with installation.start("ps", "ticks") as process:
        child = os.pidfd_open(int(line(process)))
        process.kill()
        assert process.wait(30) == -signal.SIGKILL
        wait_for_end(child)


def wait_for_end(pidfd: int) -> None:
    import select

    ready = select.poll()
    ready.register(pidfd, select.POLLIN)
    assert ready.poll(30_000)
    os.close(pidfd)


def test_a_killed_child_is_reported_and_nothing_runs_again(installation: Installation) -> None:
    with installation.start("ps", "pid") as process:
        os.kill(int(line(process)), signal.SIGKILL)
        assert process.wait(30) == 255
        assert process.stderr is not None
        assert b"has ended unexpectedly; a command that it has started goes on" in process.stderr.read()
        assert line(process) == ""


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "T"


def test_control_z_stops_the_child_and_the_front_and_fg_continues_both(installation: Installation) -> None:
    with installation.start("ps", "ticks", process_group=0) as process:
        child = int(line(process))
        process.send_signal(signal.SIGTSTP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert (os.WIFSTOPPED(status), os.WSTOPSIG(status)) == (True, signal.SIGTSTP)
        until(lambda: stopped(child))
        process.send_signal(signal.SIGCONT)
        until(lambda: not stopped(child) and not stopped(process.pid))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM


@pytest.mark.parametrize("how", ["at once", "asked"])
def test_a_child_that_uses_the_terminal_stops_the_job_itself(how: str, installation: Installation) -> None:
    with installation.start("ps", "suspend", how, process_group=0) as process:
        if how == "asked":
            line(process)
            process.send_signal(signal.SIGTSTP)
            assert line(process) == "asked"
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert (os.WIFSTOPPED(status), os.WSTOPSIG(status)) == (True, signal.SIGTSTP)
        process.send_signal(signal.SIGCONT)
        assert line(process) == "True"
        assert process.wait(30) == 0


def test_a_job_that_nobody_could_continue_is_not_stopped(installation: Installation) -> None:
    with installation.start("ps", "suspend", "at once", start_new_session=True) as process:
        assert line(process) == "False"
        assert process.wait(30) == 0


def test_a_child_that_ends_by_an_interrupt_ends_the_front_by_one(installation: Installation) -> None:
    with installation.start("ps", "interrupted") as process:
        line(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT


def test_a_question_for_a_person_is_left_to_the_full_program(installation: Installation) -> None:
    assert installation.run("ps", "ask") == (FULL, "full ps ask\n", "")


def test_with_a_helper_that_goes_a_running_command_goes_on(tmp_path: Path, installation: Installation) -> None:
    other = Installation.make(installation.kind, tmp_path)
    with acting_helper(other) as helper, other.start("ps", "signals") as process:
        line(process)
        helper.kill()
        process.send_signal(signal.SIGUSR1)
        assert line(process) == "SIGUSR1"
        process.send_signal(signal.SIGUSR2)
        assert process.wait(30) == 128 + signal.SIGUSR2
    until(lambda: other.run("ps", "state")[0] == FULL)


def test_more_fronts_than_children_are_all_served_or_fall_through(installation: Installation) -> None:
    processes = [installation.start("ps", "exit", "3") for _ in range(12)]
    for process in processes:
        with process:
            process.communicate(timeout=30)
            assert process.returncode in (3, FULL)


def test_limits_of_this_process_are_those_of_the_helper() -> None:
    """Otherwise every test above would only see the full program."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_child_that_has_left_nothing_serves_again_as_if_new(installation: Installation, tmp_path: Path) -> None:
    first = [
        state(installation, cwd=tmp_path, umask=0o027, env=installation.environment | {"X": "1"}) for _ in range(9)
    ]
    then = [state(installation, umask=0o022) for _ in range(9)]
    assert len({each["pid"] for each in first + then}) < 18
    assert not any("X" in each["environment"] for each in then)
    assert {(each["umask"], each["more"], each["directory"]) for each in then} == {(0o022, 9, str(Path.cwd()))}


@pytest.mark.parametrize("what", ["loop", "file", "thread", "handler"])
def test_a_child_that_keeps_something_of_its_command_serves_no_other(installation: Installation, what: str) -> None:
    pids = [installation.run("ps", "leave", what)[1] for _ in range(6)]
    assert len(set(pids)) == 6


def test_a_waiting_child_keeps_no_directory_and_no_environment(installation: Installation, tmp_path: Path) -> None:
    pid = state(installation, cwd=tmp_path)["pid"]
    until(lambda: Path(f"/proc/{pid}/cwd").resolve() == Path("/"))
