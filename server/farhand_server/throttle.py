"""Limits the log lines about clients that have not logged in, which could otherwise fill the log by connecting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .logs import Logger

LOG_INTERVAL: Final = 10.0
"""Seconds between two log lines of one kind: often enough to see an attack, and at most 8,640 lines a day."""


class LogThrottle:
    """Limits the log lines about clients that have not logged in, which could otherwise fill the log by connecting.

    The first event of a kind is logged at once. Later events are logged once per interval, with the number of
    suppressed events. Kinds must be few and fixed, because each one is remembered.
    """

    def __init__(self, log: Logger, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._next: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def warning(self, event: str, *, reason: str, peer: str | None = None) -> None:
        """Log `event` for `reason`; the two together form the kind. `peer` is the client that caused this event."""
        now = self._clock()
        kind = f"{event}: {reason}"
        if now < self._next.get(kind, 0.0):
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return
        self._next[kind] = now + LOG_INTERVAL
        self._log.warning(event, reason=reason, peer=peer, kept_back=self._suppressed.pop(kind, None))
