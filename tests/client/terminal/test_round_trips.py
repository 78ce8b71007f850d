"""Predictions switch on and off with the round trip, and not at every jitter."""

from __future__ import annotations

import pytest

from farhand_client.terminal.round_trips import RoundTrips


@pytest.mark.parametrize(
    ("measured", "slow"),
    [
        ([], False),
        ([0.029], False),
        ([0.030], True),
        ([0.2], True),
        ([0.010, 0.100], False),  # one late answer
        ([0.010, *[0.100] * 3], True),
        ([0.040, *[0.015] * 4], True),
        ([0.040, *[0.015] * 20], False),
        ([0.025] * 5, False),
        ([0.035, *[0.025] * 20], True),
    ],
)
def test_predictions_begin_at_30_ms_and_end_below_20(measured: list[float], slow: bool) -> None:
    round_trips = RoundTrips()
    for seconds in measured:
        round_trips.measured(seconds)
    assert round_trips.slow is slow
