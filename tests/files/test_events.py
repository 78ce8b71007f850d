"""Totals: they arrive as they were counted, and nothing else is taken for totals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_files.events import Totals

COUNTED = ("files", "bytes", "sent", "kept", "skipped", "others", "deleted", "failed")


@given(st.fixed_dictionaries({name: st.integers(0, (1 << 63) - 1) for name in COUNTED} | {"digest": st.text()}))
def test_totals_arrive_as_they_were_counted(told: dict[str, Any]) -> None:
    totals = Totals.from_json(told)
    assert totals.to_json() == told
    assert {name: getattr(totals, name) for name in told} == told


def test_nothing_was_done_at_first() -> None:
    assert Totals().to_json() == dict.fromkeys(COUNTED, 0) | {"digest": ""}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"files": -1}, "files of a transfer's totals is -1"),
        ({"bytes": 1 << 63}, "bytes of a transfer's totals is 9223372036854775808"),
        ({"sent": True}, "sent of a transfer's totals is True"),
        ({"kept": 1.0}, "kept of a transfer's totals is 1.0"),
        ({"failed": None}, "failed of a transfer's totals is None"),
        ({"digest": 1}, "digest of a transfer's totals is 1"),
        ({"more": 1}, "these are no totals"),
    ],
)
def test_what_are_no_totals_is_refused(change: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Totals.from_json(Totals().to_json() | change)


@pytest.mark.parametrize("told", [None, [], {}, 1, "totals"])
def test_anything_else_is_refused(told: object) -> None:
    with pytest.raises(ValueError, match="these are no totals"):
        Totals.from_json(told)
