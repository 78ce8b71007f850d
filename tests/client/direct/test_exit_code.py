"""Which ends need no words, and the exit code of those."""

from __future__ import annotations

from typing import Any

import pytest

from farhand_client.direct.exit_code import plain_exit_code

EXITED = {"status": "exited", "code": 3}
SIGNALED = {"status": "signaled", "signal": 9}
KILLED = {"status": "killed", "reason": "stop"}
NOT_STARTED = {"status": "spawn_failed"}


@pytest.mark.parametrize(
    ("outcome", "more", "closed", "code"),
    [
        (EXITED, {}, False, 3),
        (SIGNALED, {}, False, 137),
        (KILLED, {}, False, None),
        (NOT_STARTED, {}, False, None),
        (EXITED, {"stdout": 6}, False, None),
        (EXITED, {"left_processes": 0}, False, None),
        (EXITED, {"stdout": 6}, True, 141),
        (KILLED, {}, True, 141),
        (NOT_STARTED, {}, True, None),
    ],
)
def test_the_exit_code_says_all_there_is_to_say(
    outcome: dict[str, Any], more: dict[str, int], closed: bool, code: int | None
) -> None:
    message = {"type": "ended", "outcome": outcome, "stdout": 5, "stderr": 0, **more}
    assert plain_exit_code(message, {"stdout": 5, "stderr": 0}, closed) == code


@pytest.mark.parametrize(
    ("applied", "outcome", "code"),
    [
        (None, EXITED, 3),  # the service says nothing
        ({"memory": "cgroup", "processes": "cgroup"}, EXITED, 3),
        ({"memory": "cgroup"}, EXITED, None),  # `processes` is not enforced
        ({"memory": "rlimit", "processes": "rlimit"}, EXITED, None),  # it may have lacked memory
        ({"memory": "rlimit", "processes": "rlimit"}, {"status": "exited", "code": 0}, 0),
    ],
)
def test_limits_about_which_something_may_be_said_are_left_to_others(
    applied: dict[str, str] | None, outcome: dict[str, Any], code: int | None
) -> None:
    message = {"type": "ended", "outcome": outcome, "stdout": 0, "stderr": 0, "applied": applied}
    bounds = {"memory": 1, "processes": 2}
    assert plain_exit_code(message, {"stdout": 0, "stderr": 0}, False, bounds=bounds) == code


def test_an_error_has_its_own_words() -> None:
    assert plain_exit_code({"type": "error", "code": "denied", "message": "no"}, {}, False) is None
