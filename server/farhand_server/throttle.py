"""Limits the log lines that clients cause: of those that have not logged in by kind, of users by number."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from .logs import Logger

LOG_INTERVAL: Final = 10.0
"""Seconds between two log lines of one kind: often enough to see an attack, and at most 8,640 lines a day."""

BURST: Final = 100
"""Lines that one user may cause at once: the logins of a script that visits a service a hundred times."""

LINES_PER_SECOND: Final = 5.0
"""Lines of one user in the long run: 1,000 bytes a second, so that a user needs weeks to fill a journal of 4 GB."""

MAX_LINE_SHARES: Final = 1024
"""Users whose lines are counted at once, in 200 KiB. The one that has not connected for longest is forgotten."""


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


class LineShare:
    """The log lines that one user may cause: a `LineLimit` that `LineShares` gives out."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._since = clock()
        self._kept_back = 0

    def admit(self) -> int | None:
        """Return how many lines were kept back since the last one; None if this one must be kept back, too."""
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._since) * LINES_PER_SECOND)
        self._since = now
        if self._left < 1.0:
            self._kept_back += 1
            return None
        self._left -= 1.0
        kept_back, self._kept_back = self._kept_back, 0
        return kept_back


class LineShares:
    """The shares of all users by name. A name keeps its share when its connections end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shares: dict[str, LineShare] = {}

    def of(self, name: str) -> LineShare:
        """Return the share of a user, or of a source before login."""
        share = self._shares.pop(name, None) or LineShare(self._clock)
        self._shares[name] = share
        if len(self._shares) > MAX_LINE_SHARES:
            del self._shares[next(iter(self._shares))]
        return share
