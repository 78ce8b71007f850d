"""Which failures are followed by another attempt, when, and how many times."""

from __future__ import annotations

import pytest

from farhand_client import AuthenticationError, ConnectError
from farhand_client.connection.attempts import (
    ATTEMPTS_WHEN_CLOSED,
    ATTEMPTS_WHEN_REFUSED,
    MAX_ATTEMPT_DELAY,
    Attempts,
    ConnectionDropped,
)


@pytest.mark.parametrize("attempts", [ATTEMPTS_WHEN_CLOSED, ATTEMPTS_WHEN_REFUSED])
def test_a_dropped_connection_is_tried_again_a_few_times_with_growing_delays(attempts: int) -> None:
    made = Attempts()
    delays = [made.delay(ConnectionDropped("closed", attempts=attempts), 30.0) for _ in range(attempts)]
    assert delays[-1] is None
    for n, delay in enumerate(delays[:-1], 1):
        longest = min(MAX_ATTEMPT_DELAY, 0.1 * 2**n)
        assert delay is not None
        assert longest / 2 <= delay <= longest


@pytest.mark.parametrize("error", [ConnectError("nothing listens"), AuthenticationError("no key")])
def test_other_failures_are_final(error: Exception) -> None:
    assert Attempts().delay(error, 30.0) is None


def test_there_is_no_attempt_for_which_the_time_does_not_suffice() -> None:
    assert Attempts().delay(ConnectionDropped("closed", attempts=5), 0.05) is None
