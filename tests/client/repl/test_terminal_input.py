"""The prompt of a process that acts for another one uses the terminal only while that one's job may."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from farhand_client import caller
from farhand_client.repl.terminal_input import FrontInput


class StoppedJob(caller.FrontJob):
    """A front in the background, which a user brings to the foreground after it was stopped `stops` times."""

    def __init__(self, stops: int, *, orphaned: bool = False) -> None:
        self.asked: list[int | None] = []
        self._left = stops
        self._orphaned = orphaned

    def stop(self, number: int | None) -> bool:
        self.asked.append(number)
        self._left -= 1
        return not self._orphaned

    def front_state(self) -> list[bytes]:
        return [b"S", b"1", b"7", b"1", b"34816", b"7" if self._left <= 0 else b"9"]


@pytest.fixture
def ends() -> Iterator[tuple[int, TextIO]]:
    """The user's side of a terminal, and the program's."""
    leader, follower = os.openpty()
    with os.fdopen(follower) as stdin:
        yield leader, stdin
    os.close(leader)


def acting(job: StoppedJob, monkeypatch: pytest.MonkeyPatch) -> StoppedJob:
    monkeypatch.setattr(caller, "_job", job)
    monkeypatch.setattr(caller, "front_state", job.front_state)
    return job


def test_keys_are_read_once_the_job_is_in_the_foreground(
    ends: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = acting(StoppedJob(2), monkeypatch)
    leader, stdin = ends
    typed = FrontInput(stdin)
    os.write(leader, b"x\n")
    assert typed.read_keys() == []
    assert [key.data for key in typed.read_keys()] == ["x", "\n"]
    assert job.asked == [signal.SIGTTIN] * 2


def test_where_nobody_could_continue_the_job_the_input_is_closed(
    ends: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    acting(StoppedJob(9, orphaned=True), monkeypatch)
    typed = FrontInput(ends[1])
    assert typed.read_keys() == []
    assert typed.closed


def test_until_a_key_is_read_the_front_can_do_the_command_itself(
    ends: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    acting(StoppedJob(0), monkeypatch)
    abandoned: list[str] = []
    monkeypatch.setattr(caller, "_abandon", lambda: abandoned.append("abandoned"))
    leader, stdin = ends
    typed = FrontInput(stdin)
    assert typed.read_keys() == []
    caller.before_asking()
    assert abandoned == ["abandoned"]
    os.write(leader, b"x\n")
    assert typed.read_keys()
    caller.before_asking()
    assert abandoned == ["abandoned"]


def test_modes_are_set_once_the_job_is_in_the_foreground(
    ends: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = ends[1]
    before = termios.tcgetattr(stdin)
    typed = FrontInput(stdin)
    job = acting(StoppedJob(2), monkeypatch)
    with typed.raw_mode():
        assert job.asked == [signal.SIGTTOU] * 2
        assert not termios.tcgetattr(stdin)[3] & termios.ICANON
        with typed.cooked_mode():
            assert termios.tcgetattr(stdin)[3] & termios.ICANON
            job = acting(StoppedJob(1), monkeypatch)
        assert job.asked == [signal.SIGTTOU]
        assert not termios.tcgetattr(stdin)[3] & termios.ICANON
    assert termios.tcgetattr(stdin) == before
