"""When to connect again after a service has dropped the connection before the login was complete.

A service under attack drops connections at random, so that the next one may be served; one whose edge is restarting
drops all it has. Both are over soon. Has no clock of its own.
"""

from __future__ import annotations

from typing import Final

from farhand_client.errors import ConnectError

ATTEMPTS_WHEN_REFUSED: Final = 24
"""Attempts while the service says that it has too many connections: about 17 s in all. Even if it drops six of seven,
one client in forty is left out."""

ATTEMPTS_WHEN_CLOSED: Final = 5
"""Attempts while the service closes connections without a word, 2 s in all: perhaps it is no Farhand service."""

MIN_ATTEMPT_DELAY: Final = 0.1
MAX_ATTEMPT_DELAY: Final = 1.0
"""Seconds between two attempts: they double from the first to the second, so that clients that are not served for
seconds do not add to the crowd."""


class ConnectionDropped(ConnectError):
    """The service closed the connection before the login was complete, and may accept the next one. `attempts` is how
    many may fail like this before the client gives up."""

    def __init__(self, text: str, *, attempts: int) -> None:
        super().__init__(text)
        self.attempts: Final = attempts


class Attempts:
    """The attempts of one `connect` that have failed."""

    def __init__(self) -> None:
        self.failed = 0

    def delay(self, error: Exception, left: float) -> float | None:
        """Return the seconds to wait before the next attempt, and count the one that has failed with `error`; None if
        there should be no other, also because the `left` seconds would not be enough."""
        self.failed += 1
        if not isinstance(error, ConnectionDropped) or self.failed >= error.attempts:
            return None
        from random import uniform  # takes 3 ms to import, and few connections are dropped

        longest = min(MAX_ATTEMPT_DELAY, MIN_ATTEMPT_DELAY * 2.0 ** min(self.failed, 6))
        seconds = uniform(longest / 2, longest)  # nosec B311  # clients must not come at once; nobody gains by guessing
        return seconds if seconds < left else None
