"""Whose parent and environment a command has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from farhand_client import caller


@pytest.fixture(autouse=True)
def _usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "_front", None)
    monkeypatch.setattr(caller, "_abandon", None)


def test_usually_it_is_this_processs_own() -> None:
    assert caller.parent_pid() == os.getppid()
    assert caller.initial_environment().startswith(caller.initial_environment()[:10])
    caller.before_asking()


def test_for_a_front_they_are_the_fronts() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"ONLY": "this"}
    ) as front:
        caller.act_for(front.pid, lambda: None)
        assert caller.parent_pid() == os.getpid()
        while not caller.initial_environment():  # between fork and exec it has another
            pass
        assert caller.initial_environment() == b"ONLY=this\0"
        front.kill()


def test_a_question_is_left_to_the_front_until_a_request_is_sent() -> None:
    left: list[bool] = []
    caller.act_for(1, lambda: left.append(True))
    caller.before_asking()
    assert left == [True]
    caller.commit()
    caller.before_asking()
    assert left == [True]
