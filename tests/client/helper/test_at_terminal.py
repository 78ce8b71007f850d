"""Which commands a child serves at the user's terminal, and how it stops the front's job."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from farhand_client.helper.at_terminal import ToldJob, is_served
from farhand_client.helper.handover import CONTINUED, NO_STOPS, NOT_STOPPED, OWN_STOPS, STOP_JOB
from tests.support.warm import CONTROLLING


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    leader, follower = pty.openpty()
    yield leader, follower
    os.close(leader)
    os.close(follower)


@pytest.fixture
def terminal(ends: tuple[int, int]) -> int:
    return ends[1]


@pytest.mark.parametrize(
    "command",
    [
        "run web -- true",
        "run -n --cwd it web -- ls -lit /proc/1",
        "run -e TERM --timeout 1s web sort -t, -i",
        "ps web",
        "logs -f web 01",
        "wait web 01 --timeout 5",
        "put web a b",
        "get web a -",
        "sync a web:b",
        "rsh -n web true",
        "rsh -nonsense",
    ],
)
def test_what_does_not_read_keys_is_served_at_a_terminal(command: str, terminal: int) -> None:
    assert is_served(command.split(), {0: terminal, 1: terminal, 2: terminal}, os.getpid())


@pytest.mark.parametrize(
    "command",
    [
        "run -i web -- cat",
        "run --stdin web cat",
        "run -it web top",
        "run -nt web top",
        "shell web",
        "attach web 01",
        "repl web",
        "replay web 01",
        "put web - b",
        "cp - web:b",
        "rsh web true",
        "rsh -tt -n web top",
    ],
)
def test_what_reads_keys_is_not_served_at_a_terminal_of_others(command: str, terminal: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    try:
        assert not is_served(command.split(), {0: terminal, 1: null, 2: null}, os.getpid())
        assert not is_served(command.split(), {0: null, 1: terminal}, os.getpid())
        assert is_served(command.split(), {0: null, 1: null, 2: terminal}, os.getpid())
        assert is_served(command.split(), {}, os.getpid())
    finally:
        os.close(null)


@pytest.mark.parametrize(
    "command",
    ["run --status-json /dev/fd/3 web true", "run -I /proc/self/fd/5 web true", "export -o /dev/tty web 01"],
)
def test_files_that_only_the_front_has_are_left_to_it(command: str) -> None:
    assert not is_served(command.split(), {}, os.getpid())


@pytest.fixture
def front(ends: tuple[int, int]) -> Iterator[int]:
    """The pid of a process whose controlling terminal this is."""
    argv = ["sh", "-c", CONTROLLING, os.ttyname(ends[1]), "sh", "-c", "echo begun; exec cat"]
    with subprocess.Popen(argv, start_new_session=True) as process:
        assert os.read(ends[0], 5) == b"begun"
        yield process.pid
        process.kill()


@pytest.mark.parametrize(
    "command", ["shell web", "attach web 01", "repl web", "replay web 01", "run -it web top", "rsh web true"]
)
def test_what_reads_keys_is_served_at_the_fronts_own_terminal(command: str, terminal: int, front: int) -> None:
    assert is_served(command.split(), {0: terminal, 1: terminal, 2: terminal}, front)


@pytest.mark.parametrize("command", ["put - web:b", "cp - web:b"])
def test_what_reads_stdin_without_regard_to_the_job_is_not_served_there(
    command: str, terminal: int, front: int
) -> None:
    assert not is_served(command.split(), {0: terminal, 1: terminal, 2: terminal}, front)


@pytest.fixture
def told() -> Iterator[tuple[ToldJob, socket.socket, int]]:
    ours, theirs = socket.socketpair()
    token = os.eventfd(0, os.EFD_NONBLOCK)
    with ours, theirs:
        told = ToldJob(ours, token, os.getpid())
        yield told, theirs, token
        told.close()


@pytest.mark.parametrize(("said", "stopped"), [(CONTINUED, True), (NOT_STOPPED, False)])
def test_a_stop_lasts_until_the_front_says_that_it_was_continued(
    said: int, stopped: bool, told: tuple[ToldJob, socket.socket, int]
) -> None:
    job, front, token = told
    os.eventfd_write(token, CONTINUED)  # of an earlier stop, of which nobody was told
    answers: list[bool] = []
    stopping = threading.Thread(target=lambda: answers.append(job.stop(signal.SIGTSTP)))
    stopping.start()
    front.settimeout(30)
    assert front.recv(9) == STOP_JOB + bytes([signal.SIGTSTP])
    assert answers == []
    os.eventfd_write(token, said)
    stopping.join(30)
    assert answers == [stopped]


def test_a_job_that_others_have_stopped_is_only_waited_for(told: tuple[ToldJob, socket.socket, int]) -> None:
    job, front, token = told
    os.eventfd_write(token, CONTINUED)
    assert job.stop(None)
    assert not select.select([front], [], [], 0)[0]


def test_the_front_is_told_whose_stops_are(told: tuple[ToldJob, socket.socket, int]) -> None:
    job, front, _ = told
    for own in (True, False):
        job.own_stops(own)
    assert front.recv(9) == OWN_STOPS + NO_STOPS
    front.close()
    with contextlib.suppress(OSError):
        job.own_stops(True)


def test_the_state_of_the_front_is_read_again_each_time(told: tuple[ToldJob, socket.socket, int]) -> None:
    with subprocess.Popen(["sleep", "100"]) as front:
        job = ToldJob(told[1], os.eventfd(0), front.pid)
        assert int(job.state()[1]) == os.getpid()
        os.kill(front.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, front.pid, os.WSTOPPED)
        assert job.state()[0] == b"T"
        front.kill()
        front.wait()
        with pytest.raises(ProcessLookupError):
            job.state()
        job.close()
