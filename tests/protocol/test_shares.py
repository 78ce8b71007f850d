"""Shares are shown with one line for each user."""

from __future__ import annotations

from farhand_protocol import messages as m
from farhand_protocol.shares import hold_lines, share_lines


def test_each_user_has_a_line_with_what_it_has_and_may_have() -> None:
    shares = (
        m.ShareInfo(user="ada", resource="runs", used=3, limit=640),
        m.ShareInfo(user="ada", resource="memory", used=5 << 20, limit=320 << 20),
        m.ShareInfo(user="bob", resource="something new", used=1, limit=2),
    )
    assert list(share_lines(shares)) == ["ada: 3 of 640 runs, 5 of 320 MiB of memory", "bob: 1 of 2 something new"]
    assert list(share_lines(())) == []


def test_holds_have_a_line_if_there_were_any() -> None:
    assert list(hold_lines(m.LoopHolds())) == []
    assert list(hold_lines(m.LoopHolds(times=2, longest=0.2131, total=0.27))) == [
        "loop held 2 times for more than 50 ms: at most 0.213 s, 0.270 s in all"
    ]
