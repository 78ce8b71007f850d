"""Whether a command may use the terminal, and how its job is stopped, for itself and for a front."""

from __future__ import annotations

import os
import signal

import pytest

from farhand_client import caller, job


class Told(caller.FrontJob):
    """A front whose state, group and terminal's group are `state`; stopping it makes them `then`."""

    def __init__(self, state: str, then: str = "S 7 7", *, stopped: bool = True) -> None:
        self.reported = state
        self.asked: list[int | None] = []
        self.own: list[bool] = []
        self._then = then
        self._stopped = stopped

    def stop(self, number: int | None) -> bool:
        self.asked.append(number)
        self.reported = self._then
        return self._stopped

    def own_stops(self, own: bool) -> None:
        self.own.append(own)

    def front_state(self) -> list[bytes]:
        state, group, foreground = self.reported.encode().split()
        return [state, b"1", group, b"1", b"34816", foreground]


def acting(told: Told, monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(caller, "_job", told)
    monkeypatch.setattr(caller, "front_state", told.front_state)
    return told


def test_for_itself_the_kernel_sees_to_it() -> None:
    assert job.may_use_terminal(signal.SIGTTIN)
    assert job.may_read(0)
    assert job.may_set_modes()
    job.set_own_stops(True)


def test_in_the_foreground_the_terminal_is_used_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told = acting(Told("R 7 7"), monkeypatch)
    assert job.may_set_modes()
    assert told.asked == []


@pytest.mark.parametrize(
    ("state", "asked"), [("S 7 9", signal.SIGTTOU), ("T 7 7", None), ("t 7 7", None), ("T 7 9", None)]
)
def test_in_the_background_the_job_stops_until_it_is_continued(
    state: str, asked: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = acting(Told(state), monkeypatch)
    assert job.may_set_modes()
    assert told.asked == [asked]


def test_continued_in_the_background_it_may_still_not_use_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    acting(Told("S 7 9", "S 7 9"), monkeypatch)
    assert not job.may_set_modes()


def test_where_nobody_could_continue_it_using_the_terminal_fails_as_in_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    acting(Told("S 7 9", "S 7 9", stopped=False), monkeypatch)
    with pytest.raises(OSError, match="Input/output error"):
        job.may_set_modes()


def test_files_that_are_no_terminal_are_always_read(monkeypatch: pytest.MonkeyPatch) -> None:
    told = acting(Told("S 7 9"), monkeypatch)
    reading, writing = os.pipe()
    assert job.may_read(reading)
    assert told.asked == []
    os.close(reading)
    os.close(writing)
    leader, follower = os.openpty()
    assert job.may_read(follower)
    assert told.asked == [signal.SIGTTIN]
    os.close(leader)
    os.close(follower)


def test_suspending_stops_the_fronts_job(monkeypatch: pytest.MonkeyPatch) -> None:
    told = acting(Told("S 7 7"), monkeypatch)
    job.set_own_stops(True)
    job.suspend()
    assert (told.own, told.asked) == ([True], [signal.SIGTSTP])


def test_for_itself_suspending_stops_this_process_and_keeps_its_handler() -> None:
    pid = os.fork()
    if not pid:
        handled: list[int] = []
        os.setpgid(0, 0)
        signal.signal(signal.SIGTSTP, lambda number, _: handled.append(number))
        job.suspend()
        os.kill(os.getpid(), signal.SIGTSTP)
        os._exit(len(handled))
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(pid, signal.SIGCONT)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1


def test_a_question_is_asked_at_the_fronts_terminal_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = os.openpty()
    told = acting(Told("S 7 7"), monkeypatch)
    device = os.fstat(follower).st_rdev
    number = os.minor(device) & 0xFF | os.minor(device) >> 8 << 20 | os.major(device) << 8
    monkeypatch.setattr(caller, "front_state", lambda _=None: [*told.front_state()[:4], b"%d" % number, b"7"])
    before = os.dup(0)
    try:
        os.dup2(follower, 0)
        opened = job.open_terminal()
        assert os.fstat(opened).st_rdev == device
        os.close(opened)
        os.dup2(leader, 0)
        with pytest.raises(OSError, match=r"Inappropriate|No such device"):
            job.open_own(0)
    finally:
        os.dup2(before, 0)
        for fd in (before, leader, follower):
            os.close(fd)


def test_without_the_fronts_terminal_among_the_files_there_is_none_to_ask_at(monkeypatch: pytest.MonkeyPatch) -> None:
    acting(Told("S 7 7"), monkeypatch)
    monkeypatch.setattr(job, "open_own", lambda fd: os.open("/nonexistent", os.O_RDWR))
    with pytest.raises(OSError, match="No such device"):
        job.open_terminal()


@pytest.mark.parametrize(("state", "background"), [("S 7 7", False), ("S 7 9", True), ("T 7 7", True)])
def test_the_fronts_job_is_the_one_in_the_background(
    state: str, background: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    acting(Told(state), monkeypatch)
    assert job.in_background(0) is background
