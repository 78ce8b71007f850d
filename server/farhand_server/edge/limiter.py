"""Limits what clients can cost before login: their connections, their failures, and the log lines about them.

Without I/O: time is an argument, in seconds of any monotonic clock. Call `Limiter.release` once for every `admit` that
returns a `Slot`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Final

from farhand_server.config import EdgeSettings
from farhand_server.logs import Logger

IPV6_PREFIX: Final = 64
"""Bits of an IPv6 address that identify a source. One host usually controls a whole /64 (RFC 4291, section 2.5.4)."""

LOG_INTERVAL: Final = 10.0
"""Seconds between two log lines of one kind: often enough to see an attack, and at most 8,640 lines a day."""

Source = IPv4Address | IPv6Network


class ConnectionRefusal(StrEnum):
    """Why a connection is not admitted."""

    PENALTY = "the source has failed too often"
    SOURCE = "too many connections from this source before login"
    BEFORE_LOGIN = "too many connections before login"
    TOTAL = "too many connections"

    @property
    def alert(self) -> bytes:
        """A TLS record with the fatal alert that tells the client (RFC 8446, sections 5.1 and 6.2): access_denied for a
        source with a debt, otherwise internal_error, which stands for a lack of resources, too."""
        description = 49 if self is ConnectionRefusal.PENALTY else 80
        return bytes((21, 3, 3, 0, 2, 2, description))


class Failure(StrEnum):
    """A failure for which a source is charged."""

    REFUSED = "login refused"
    NO_LOGIN = "ended before login"
    DEADLINE = "deadline before login"


@dataclass(slots=True)
class Slot:
    """An admitted connection, as the limiter counts it. Only the limiter changes it."""

    source: Source
    before_login: bool = True
    held: bool = True


def source_of(address: IPv4Address | IPv6Address) -> Source:
    """Return the source that an address belongs to. An IPv4-mapped address (RFC 4291, 2.5.5.2) belongs to its IPv4
    address."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv6Network((int(address) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX), IPV6_PREFIX))


class Limiter:
    """Counts connections and debts. `settings` may be replaced at any time; admitted connections keep their slots."""

    def __init__(self, settings: EdgeSettings) -> None:
        self.settings = settings
        self.open = 0
        """Number of connections, logged in or not."""
        self.before_login = 0
        """Number of connections that have not logged in."""
        self._by_source: dict[Source, int] = {}
        self._debt_free_at: dict[Source, float] = {}

    def admit(self, address: IPv4Address | IPv6Address, now: float) -> Slot | ConnectionRefusal:
        """Return a slot for a connection, or the reason why it must be closed. A refusal adds no debt."""
        source = source_of(address)
        if self.debt(source, now) >= self.settings.penalty_threshold:
            return ConnectionRefusal.PENALTY
        of_source = self._by_source.get(source, 0)
        if of_source >= self.settings.before_login_per_source:
            return ConnectionRefusal.SOURCE
        if self.before_login >= self.settings.before_login:
            return ConnectionRefusal.BEFORE_LOGIN
        if self.open >= self.settings.connections:
            return ConnectionRefusal.TOTAL
        self.open += 1
        self.before_login += 1
        self._by_source[source] = of_source + 1
        return Slot(source)

    def logged_in(self, slot: Slot) -> None:
        """Stop counting a connection as not logged in. Repeated calls have no effect."""
        if not slot.before_login:
            return
        slot.before_login = False
        self.before_login -= 1
        left = self._by_source[slot.source] - 1
        if left:
            self._by_source[slot.source] = left
        else:
            del self._by_source[slot.source]

    def release(self, slot: Slot) -> None:
        """Free the slot of a connection that has ended. Repeated calls have no effect."""
        if slot.held:
            self.logged_in(slot)
            slot.held = False
            self.open -= 1

    def penalise(self, source: Source, failure: Failure, now: float) -> None:
        """Add the penalty for a failure to a source's debt."""
        penalty = self._penalty(failure)
        if not penalty:
            return
        if source not in self._debt_free_at and len(self._debt_free_at) >= self.settings.penalty_sources:
            self._forget_smallest(now)
        debt = min(self.debt(source, now) + penalty, self.settings.penalty_max)
        self._debt_free_at[source] = now + debt

    def debt(self, source: Source, now: float) -> float:
        """Return a source's debt in seconds: the time until the source is free of debt."""
        free_at = self._debt_free_at.get(source)
        return max(0.0, free_at - now) if free_at is not None else 0.0

    def _penalty(self, failure: Failure) -> float:
        match failure:
            case Failure.REFUSED:
                return self.settings.penalty_refused
            case Failure.NO_LOGIN:
                return self.settings.penalty_no_login
            case Failure.DEADLINE:
                return self.settings.penalty_deadline

    def _forget_smallest(self, now: float) -> None:
        # Remove an eighth at a time, so that a flood of new sources costs one sort per few thousand sources.
        room = self.settings.penalty_sources * 7 // 8
        owing = sorted(
            ((at, source) for source, at in self._debt_free_at.items() if at > now), key=lambda pair: pair[0]
        )
        self._debt_free_at = {source: at for at, source in owing[max(0, len(owing) - room) :]}


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
