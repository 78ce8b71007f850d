"""Keep-alive, without I/O: when to ping a silent peer, and when to give up on it. The same class on both sides.

    keepalive = Keepalive(interval)
    keepalive.start(now)                    # after login; then set a timer for keepalive.deadline
    keepalive.received()                    # whenever anything arrives from the peer
    match keepalive.check(now):             # when the timer fires; then set it again for keepalive.deadline
        case KeepaliveAction.PING: ...      # send a ping
        case KeepaliveAction.GIVE_UP: ...   # close the connection

Time is divided into intervals. An interval in which something arrived needs no action, so a busy connection never
pings. After a silent interval, ping the peer; anything it sends, including the pong, ends the silence. After
`MAX_SILENT_INTERVALS` silent intervals in a row, give up on the peer.
"""

from __future__ import annotations

from enum import Enum, auto

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_SILENT_INTERVALS: Final = 3
"""Silent intervals after which the peer is considered gone: on a poor network one lost ping proves nothing."""


class KeepaliveAction(Enum):
    """What the caller must do now."""

    NONE = auto()
    PING = auto()
    """Send a ping."""
    GIVE_UP = auto()
    """Close the connection without waiting for the peer, which does not answer."""


class Keepalive:
    """Watches one connection for silence. `interval` is in seconds; None disables keep-alive.

    Times are seconds on a monotonic clock; use the same clock for all calls.
    """

    __slots__ = ("_received", "deadline", "interval", "silent_intervals")

    def __init__(self, interval: float | None) -> None:
        self.interval: Final = interval
        self.deadline: float | None = None
        """When to call `check`; None before `start`, after `GIVE_UP`, and whenever `interval` is None."""
        self.silent_intervals = 0
        """Consecutive silent intervals, 0 to `MAX_SILENT_INTERVALS`."""
        self._received = True

    @property
    def silence(self) -> float:
        """Seconds for which nothing has arrived, in whole intervals."""
        return 0.0 if self.interval is None else self.interval * self.silent_intervals

    def start(self, now: float) -> None:
        """Start the first interval, which never counts as silent. Call `check` at `deadline`, unless it is None."""
        self.deadline = None if self.interval is None else now + self.interval

    def received(self) -> None:
        """Record that something arrived from the peer. Call this for everything that arrives; `deadline` does not
        change."""
        self._received = True

    def check(self, now: float) -> KeepaliveAction:
        """Return what to do at `now`. Do it, then call `check` again at the new `deadline`, unless that is None.

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
