"""A connection that shares its loop with no other user goes on in the loop's next turn, and never waits for memory."""

from __future__ import annotations

from collections.abc import Callable

from farhand_protocol.loop_time import MAX_TURN_TIME, OwnTime


def test_each_turn_has_as_much_time_as_any_other() -> None:
    own = OwnTime(lambda go_on: None)
    own.spend(10 * MAX_TURN_TIME)
    assert own.left() == MAX_TURN_TIME


def test_what_waits_or_was_decoded_goes_on_in_the_next_turn() -> None:
    next_turn: list[Callable[[], None]] = []
    done: list[str] = []
    own = OwnTime(next_turn.append)
    own.wait(lambda: done.append("waited"))
    own.decode(lambda: done.append("decoded"), lambda: done.append("went on"))
    assert done == ["decoded"]
    for go_on in next_turn:
        go_on()
    assert done == ["decoded", "waited", "went on"]


def test_memory_is_never_waited_for() -> None:
    own = OwnTime(lambda go_on: None)
    assert own.reserve(1 << 40, lambda: None)
    own.give_back(1 << 40)
