"""Log lines about strangers, who could otherwise fill the log by connecting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from farhand_server.logs import Logger

INTERVAL: Final = 10.0
"""Seconds between two lines of one kind: often enough to see an attack, 8,640 lines a day at worst."""


class Throttle:
    """Logs the first event of a kind at once, and then one in each interval with the count of those kept back.

    Kinds must be few and fixed: each is remembered.
    """

    def __init__(self, log: Logger, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._next: dict[str, float] = {}
        self._kept_back: dict[str, int] = {}

    def warning(self, event: str, *, reason: str, peer: str | None = None) -> None:
        """Log `event` for `reason`, which together are its kind; `peer` is that of this one event."""
        now = self._clock()
        kind = f"{event}: {reason}"
        if now < self._next.get(kind, 0.0):
            self._kept_back[kind] = self._kept_back.get(kind, 0) + 1
            return
        self._next[kind] = now + INTERVAL
        self._log.warning(event, reason=reason, peer=peer, kept_back=self._kept_back.pop(kind, None))
