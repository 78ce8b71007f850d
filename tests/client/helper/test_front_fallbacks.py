"""What the fronts leave to the full program, and what never runs twice."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farhand_client.helper.zygote import WAITING
from tests.support.front_lines import line
from tests.support.fronts import FULL, KINDS, Installation, acting_helper, install_front
from tests.support.processes import children, until

pytestmark = [pytest.mark.service, pytest.mark.needs("cc")]


def test_after_a_request_nothing_is_left_to_the_full_program(installation: Installation) -> None:
    assert installation.run("ps", "commit")[0] == 5


@pytest.mark.parametrize(
    "arguments",
    [[], ["--version"], ["local", "--", "true"], ["trust", "web"], ["helper", "status"], ["PS"],
     ["ps", "state", "--no-mux"], ["ps", "x" * 65536], ["ps", "/dev/fd/3"],
     ["run", "--status-json", "/proc/self/fd/3", "web", "--", "true"]],
)  # fmt: skip
def test_what_no_child_serves_is_executed(installation: Installation, arguments: list[str]) -> None:
    code, stdout, stderr = installation.run(*arguments)
    assert (code, stdout.replace(" \n", "\n"), stderr) == (FULL, " ".join(["full", *arguments]).strip() + "\n", "")


@pytest.mark.parametrize(
    "variables",
    [{"FARHAND_MUX": "off"}, {"XDG_RUNTIME_DIR": "run"}, {"XDG_RUNTIME_DIR": "/nonexistent"}, {"LC_ALL": "C"},
     {"PYTHONWARNINGS": "error"}, {"TZ": "Asia/Tokyo"}],
)  # fmt: skip
def test_an_unusual_environment_gets_the_full_program(installation: Installation, variables: dict[str, str]) -> None:
    assert installation.run("ps", "state", env=installation.environment | variables)[0] == FULL


def test_without_a_runtime_directory_the_full_program_is_executed(installation: Installation) -> None:
    environment = {name: value for name, value in installation.environment.items() if name != "XDG_RUNTIME_DIR"}
    assert installation.run("ps", "state", env=environment)[0] == FULL


def test_other_limits_get_the_full_program(installation: Installation) -> None:
    script = f"ulimit -f 1000; exec {installation.front} ps state"
    done = subprocess.run(["sh", "-c", script], env=installation.environment, capture_output=True, timeout=30)
    assert done.returncode == FULL


def test_keys_are_read_by_the_full_program(installation: Installation) -> None:
    leader, follower = pty.openpty()
    try:
        for arguments in (["run", "-i", "web", "cat"], ["run", "-nt", "web", "cat"], ["shell", "web"]):
            assert installation.run(*arguments, stdin=follower)[0] == FULL
        assert installation.run("ps", "exit", "3", stdin=follower)[0] == 3
    finally:
        os.close(leader)
        os.close(follower)


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_that_refuses_a_command_waits_for_the_next(kind: str, tmp_path: Path) -> None:
    installation = Installation.make(kind, tmp_path)
    leader, follower = pty.openpty()
    with acting_helper(installation) as helper:
        (zygote,) = children(helper.pid)
        until(lambda: len(children(zygote)) == WAITING)
        before = children(zygote)
        for _ in range(8):
            assert installation.run("shell", "web", stdin=follower)[0] == FULL
        assert children(zygote) == before
    os.close(leader)
    os.close(follower)


def test_in_the_background_of_a_terminal_the_full_program_is_executed(installation: Installation) -> None:
    script = f"""
import os
if not os.fork():
    os.setpgid(0, 0)
    os.execv({str(installation.front)!r}, ["farhand", "ps", "exit", "3"])
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    leader, follower = pty.openpty()
    done = subprocess.Popen(
        ["setsid", "--ctty", "--wait", "python3", "-c", script],
        stdin=follower, stdout=subprocess.PIPE, env=installation.environment,
    )  # fmt: skip
    os.close(follower)
    assert done.communicate(timeout=30)[0].split()[-1] == str(FULL).encode()
    os.close(leader)


@pytest.mark.parametrize("change", ["directory", "socket", "file"])
def test_a_socket_that_others_could_have_made_is_not_used(
    installation: Installation, tmp_path: Path, change: str
) -> None:
    other = Installation(installation.kind, installation.front, tmp_path)
    other.socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(other.socket))
        listener.listen()
        other.socket.chmod(0o600)
        if change == "directory":
            other.socket.parent.chmod(0o777)
        elif change == "socket":
            other.socket.chmod(0o666)
        else:
            other.socket.unlink()
            other.socket.touch(mode=0o600)
        assert other.run("ps", "state")[0] == FULL
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.fixture
def strange(installation: Installation, tmp_path: Path) -> Iterator[tuple[Installation, socket.socket]]:
    """An installation, and the socket where its front looks for a helper, for whose answers it waits 2 s."""
    other = Installation.make(installation.kind, tmp_path, claim_timeout=2000)
    other.socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(other.socket))
        other.socket.chmod(0o600)
        listener.listen()
        yield other, listener


def test_a_helper_that_does_not_answer_is_passed_by_and_keeps_no_file(
    strange: tuple[Installation, socket.socket],
) -> None:
    installation, _ = strange
    # Its output ends, though the connection stays where it is.
    assert installation.run("ps", "state")[0] == FULL


def test_a_child_that_hangs_with_a_command_is_killed_and_may_not_begin(
    strange: tuple[Installation, socket.socket],
) -> None:
    installation, listener = strange
    with subprocess.Popen(["sleep", "60"]) as child, installation.start("ps", "state") as process:
        fds = receive(listener, child)
        assert process.wait(30) == FULL
        assert child.wait(30) == -signal.SIGKILL
        with pytest.raises(BlockingIOError):
            os.read(fds[-1], 8)
        for fd in fds:
            os.close(fd)


def test_a_command_that_a_child_has_begun_never_runs_again(strange: tuple[Installation, socket.socket]) -> None:
    installation, listener = strange
    with subprocess.Popen(["sleep", "60"]) as child, installation.start("ps", "state") as process:
        fds = receive(listener, child, lambda fds: os.read(fds[-1], 8))
        for fd in fds:
            os.close(fd)
        assert process.wait(30) == 255
        assert line(process) == ""
        child.kill()


def receive(
    listener: socket.socket, child: subprocess.Popen[bytes], then: Callable[[list[int]], object] = lambda fds: None
) -> list[int]:
    """Accept a front's connection as if `child` did so; call `then` with what it sends, and close the connection."""
    connection, _ = listener.accept()
    pidfd = os.pidfd_open(child.pid)
    with connection:
        socket.send_fds(connection, [b"A"], [pidfd])
        os.close(pidfd)
        fds = socket.recv_fds(connection, 65536, 5)[1]
        then(fds)
        return fds


def test_a_missing_full_program_is_said(installation: Installation, tmp_path: Path) -> None:
    if installation.kind == "python":
        return  # it continues in the same process
    front = install_front("native", tmp_path / "bin", "")
    (tmp_path / "bin/farhand-full").unlink()
    done = subprocess.run([front, "--version"], capture_output=True, timeout=30)
    assert done.returncode == 255
    assert done.stderr.decode() == (
        f"farhand: cannot execute {tmp_path}/bin/farhand-full: No such file or directory; install farhand again\n"
    )
