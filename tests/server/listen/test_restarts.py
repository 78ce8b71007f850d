"""A process that has worked is replaced at once; one that keeps failing is started less and less often."""

from __future__ import annotations

import itertools

from farhand_server.listen.restarts import FIRST_RESTART_DELAY, FREE_RESTARTS, STEADY_TIME, RestartDelay


def test_a_process_that_has_worked_is_replaced_at_once_however_often_it_ends() -> None:
    restarts = RestartDelay(5.0)
    assert {restarts.after(STEADY_TIME) for _ in range(1000)} == {0.0}


def test_the_first_that_end_right_after_their_start_are_replaced_at_once_and_the_others_ever_later() -> None:
    restarts = RestartDelay(5.0)
    delays = [restarts.after(0.0) for _ in range(2000)]
    assert delays[: FREE_RESTARTS + 3] == [0.0] * FREE_RESTARTS + [FIRST_RESTART_DELAY * 2**n for n in range(3)]
    assert all(earlier <= later for earlier, later in itertools.pairwise(delays))
    assert delays[-1] == 5.0
    assert restarts.after(STEADY_TIME) == 0.0
    assert restarts.after(0.0) == 0.0


def test_one_that_was_never_ready_is_not_retried_at_once() -> None:
    assert RestartDelay(5.0).after(None) == FIRST_RESTART_DELAY
