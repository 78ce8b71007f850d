"""Windows grow for consumers that keep up, and never beyond what all flows may have together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_forwards.windows import FIRST_WINDOW, FlowWindow, WindowPool
from farhand_forwards.wire import MAX_FLOW_WINDOW, ForwardWireError


def use(window: FlowWindow, count: int) -> int:
    """Receive and consume as much as the window lets through, `count` bytes in all; return the credit given."""
    given = 0
    for _ in range(count // 1024):
        window.receive(1024)
        given += window.consume(1024)
    return given


def test_a_window_grows_while_its_consumer_keeps_up_and_no_further_than_the_maximum() -> None:
    pool = WindowPool()
    window = FlowWindow(pool)
    use(window, 64 * MAX_FLOW_WINDOW)
    assert window.size == MAX_FLOW_WINDOW
    before = pool.free
    window.close()
    assert pool.free == before + MAX_FLOW_WINDOW - FIRST_WINDOW


def test_a_window_does_not_grow_for_a_consumer_that_lags_behind() -> None:
    window = FlowWindow(WindowPool())
    window.receive(FIRST_WINDOW)
    for _ in range(1000):
        grant = window.consume(FIRST_WINDOW // 2)
        assert grant == FIRST_WINDOW // 2
        window.receive(grant)
        assert window.size == FIRST_WINDOW  # half a window is always left


def test_a_few_keys_need_no_credit_and_no_larger_window() -> None:
    window = FlowWindow(WindowPool())
    given = 0
    for _ in range(100):
        window.receive(1)
        given += window.consume(1)
    assert given == 0
    assert window.size == FIRST_WINDOW


def test_windows_do_not_grow_beyond_the_pool() -> None:
    pool = WindowPool(3 * FIRST_WINDOW)
    windows = [FlowWindow(pool) for _ in range(5)]
    for _ in range(20):
        for window in windows:
            use(window, MAX_FLOW_WINDOW)
    assert sum(window.size for window in windows) <= 5 * FIRST_WINDOW + 3 * FIRST_WINDOW
    assert pool.free >= 0


def test_more_than_the_credit_is_refused() -> None:
    window = FlowWindow(WindowPool())
    window.receive(FIRST_WINDOW)
    with pytest.raises(ForwardWireError, match="with credit for 0"):
        window.receive(1)


def test_more_than_has_arrived_cannot_be_consumed() -> None:
    window = FlowWindow(WindowPool())
    window.receive(5)
    with pytest.raises(ValueError, match="6 bytes consumed, of 5"):
        window.consume(6)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 300_000)), max_size=200))
def test_credit_is_what_was_consumed_and_what_the_window_grew(steps: list[tuple[bool, int]]) -> None:
    window = FlowWindow(WindowPool())
    credit, unread = FIRST_WINDOW, 0
    for receive, count in steps:
        if receive and min(count, credit):
            count = min(count, credit)
            window.receive(count)
            credit, unread = credit - count, unread + count
        elif not receive and unread:
            count = min(count, unread)
            unread -= count
            credit += window.consume(count)
        assert window.unread == unread
        assert credit + unread <= window.size <= MAX_FLOW_WINDOW
        assert unread or credit * 4 > window.size  # whoever keeps up never waits without credit
