"""Keep-alive, without I/O: when to ping a silent peer, and when to give it up. The same class on both sides.

    keepalive = Keepalive(interval)
    keepalive.start(now)                    # after the login; then set a timer for keepalive.deadline
    keepalive.received()                    # whenever anything arrives from the peer
    match keepalive.check(now):             # when the timer fires; then set it again for keepalive.deadline
        case KeepaliveAction.PING: ...      # send a ping
        case KeepaliveAction.GIVE_UP: ...   # close the connection

Time is divided into intervals. An interval in which something arrived needs no action, so a busy connection never
pings. After an interval of silence the peer is pinged; whatever it sends, its pong included, ends the silence. A peer
that stays silent for `MAX_SILENT_INTERVALS` intervals is given up.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

MAX_SILENT_INTERVALS: Final = 3
"""Silent intervals after which the peer counts as gone: on a poor network one lost ping proves nothing."""


class KeepaliveAction(Enum):
    """What the caller must do now."""

    NONE = auto()
    PING = auto()
    """Send a ping."""
    GIVE_UP = auto()
    """Close the connection without waiting for the peer: it does not answer."""


class Keepalive:
    """Watches one connection for silence. `interval` is in seconds; with None nothing is watched.

    Times are in seconds of any clock that does not go backwards, the same for all calls.
    """

    __slots__ = ("_received", "deadline", "interval", "silent_intervals")

    def __init__(self, interval: float | None) -> None:
        self.interval: Final = interval
        self.deadline: float | None = None
        """When to call `check`; None before `start`, after `GIVE_UP`, and always without an interval."""
        self.silent_intervals = 0
        """Intervals of silence in a row, 0 to `MAX_SILENT_INTERVALS`."""
        self._received = True

    @property
    def silence(self) -> float:
        """Seconds for which nothing has arrived, in whole intervals."""
        return 0.0 if self.interval is None else self.interval * self.silent_intervals

    def start(self, now: float) -> None:
        """Start the first interval, which never counts as silent. Call `check` at `deadline`, if there is one."""
        self.deadline = None if self.interval is None else now + self.interval

    def received(self) -> None:
        """Note that something arrived from the peer. Call it for everything that does; `deadline` does not change."""
        self._received = True

    def check(self, now: float) -> KeepaliveAction:
        """Return what to do at `now`. Do it, then call `check` again at the new `deadline`, if there is one.

        A call before `deadline` changes nothing.
        """
        if self.interval is None or self.deadline is None or now < self.deadline:
            return KeepaliveAction.NONE
        self.deadline = now + self.interval
        if self._received:
            self._received = False
            self.silent_intervals = 0
            return KeepaliveAction.NONE
        self.silent_intervals += 1
        if self.silent_intervals < MAX_SILENT_INTERVALS:
            return KeepaliveAction.PING
        self.deadline = None
        return KeepaliveAction.GIVE_UP
