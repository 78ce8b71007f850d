"""Credit: neither end allows more bytes in flight than granted, and the sender never stalls on it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from farhand_protocol.limits import MAX_WINDOW
from farhand_protocol.window import ReceiveWindow, SendWindow


def test_sending_spends_credit() -> None:
    window = SendWindow(10)
    window.spend(10)
    with pytest.raises(LocalProtocolError):
        window.spend(1)
    window.grant(1)
    window.spend(1)
    assert window.credit == 0


def test_credit_may_reach_but_not_exceed_the_maximum() -> None:
    window = SendWindow(1)
    window.grant(MAX_WINDOW - 1)
    with pytest.raises(RemoteProtocolError) as refused:
        window.grant(1)
    assert refused.value.code is ErrorCode.CREDIT_EXCEEDED
    assert window.credit == MAX_WINDOW


def test_exactly_the_window_may_be_received() -> None:
    window = ReceiveWindow(100)
    window.receive(100)
    with pytest.raises(RemoteProtocolError) as refused:
        window.receive(1)
    assert refused.value.code is ErrorCode.CREDIT_EXCEEDED


def test_acknowledging_more_than_was_received_raises_and_changes_nothing() -> None:
    window = ReceiveWindow(100)
    window.receive(50)
    with pytest.raises(LocalProtocolError):
        window.acknowledge(51)
    assert window.acknowledge(50) == 50


def test_credit_is_returned_a_quarter_of_the_window_at_a_time() -> None:
    window = ReceiveWindow(100)
    window.receive(60)
    assert [
        window.acknowledge(12),
        window.acknowledge(12),
        window.acknowledge(1),
        window.acknowledge(24),
        window.acknowledge(1),
    ] == [0, 0, 25, 0, 25]


@given(st.integers(1, 200), st.lists(st.tuples(st.booleans(), st.integers(1, 100))))
def test_both_ends_agree_and_an_acknowledged_window_is_never_empty(size: int, steps: list[tuple[bool, int]]) -> None:
    sender, receiver, waiting = SendWindow(size), ReceiveWindow(size), 0
    for sends, count in steps:
        if sends:
            count = min(count, sender.credit)
            sender.spend(count)
            receiver.receive(count)
            waiting += count
        else:
            count = min(count, waiting)
            waiting -= count
            sender.grant(receiver.acknowledge(count))
        assert sender.credit + waiting <= size
    sender.grant(receiver.acknowledge(waiting))
    assert sender.credit * 4 > size * 3 - 4


def test_a_gap_costs_no_credit_and_has_to_start_at_the_next_byte() -> None:
    sender, receiver = SendWindow(10, 5), ReceiveWindow(10, 5)
    sender.skip(5, 100)
    receiver.skip(5, 100)
    assert (sender.credit, sender.offset, receiver.offset) == (10, 105, 105)
    with pytest.raises(LocalProtocolError, match="a gap at offset 5"):
        sender.skip(5, 1)
    with pytest.raises(RemoteProtocolError) as refused:
        receiver.skip(106, 1)
    assert refused.value.code is ErrorCode.NOT_LEGAL
