"""Who may connect: limits on connections before login, and penalties for sources that fail.

Pure: time comes in as an argument (seconds of any clock that never goes back), no socket is touched. Every
`admit` that returns a `Slot` is followed by one `release`; `Slot` tells what the connection counts against.
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
"""Bits of an IPv6 address that make a source: one host commands a whole /64 (RFC 4291, section 2.5.4)."""

Source = IPv4Address | IPv6Network


class ConnectionRefusal(StrEnum):
    """Why a connection is not admitted."""

    PENALTY = "its source has failed too often"
    SOURCE = "too many connections of its source before login"
    BEFORE_LOGIN = "too many connections before login"
    TOTAL = "too many connections"


class Failure(StrEnum):
    """What a source is in debt for."""

    REFUSED = "login refused"
    NO_LOGIN = "ended before login"
    DEADLINE = "deadline before login"


@dataclass(slots=True)
class Slot:
    """An admitted connection's place. Only the limiter changes it."""

    source: Source
    before_login: bool = True
    held: bool = True


def source_of(address: IPv4Address | IPv6Address) -> Source:
    """Return what an address is counted as. An IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) is the IPv4 address."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv6Network((int(address) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX), IPV6_PREFIX))


class Limiter:
    """Counts connections and debts. `settings` may be replaced at any time; what is admitted stays."""

    def __init__(self, settings: EdgeSettings) -> None:
        self.settings = settings
        self.open = 0
        """Connections, logged in or not."""
        self.before_login = 0
        """Those that have not logged in."""
        self._by_source: dict[Source, int] = {}
        self._paid_at: dict[Source, float] = {}  # when a source will be out of debt

    def admit(self, address: IPv4Address | IPv6Address, now: float) -> Slot | ConnectionRefusal:
        """Give a connection its slot, or say why it must be closed. A refusal costs its source nothing."""
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
        """Count a connection no longer among those before login. Harmless when repeated."""
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
        """Take back a slot of a connection that has ended. Harmless when repeated."""
        if slot.held:
            self.logged_in(slot)
            slot.held = False
            self.open -= 1

    def penalise(self, source: Source, failure: Failure, now: float) -> None:
        """Add to a source's debt."""
        penalty = self._penalty(failure)
        if not penalty:
            return
        if source not in self._paid_at and len(self._paid_at) >= self.settings.penalty_sources:
            self._forget(now)
        debt = min(self.debt(source, now) + penalty, self.settings.penalty_max)
        self._paid_at[source] = now + debt

    def debt(self, source: Source, now: float) -> float:
        """Return a source's debt in seconds: it is free of it that much later."""
        paid_at = self._paid_at.get(source)
        return max(0.0, paid_at - now) if paid_at is not None else 0.0

    def _penalty(self, failure: Failure) -> float:
        match failure:
            case Failure.REFUSED:
                return self.settings.penalty_refused
            case Failure.NO_LOGIN:
                return self.settings.penalty_no_login
            case Failure.DEADLINE:
                return self.settings.penalty_deadline

    def _forget(self, now: float) -> None:
        # An eighth at a time: a flood of new sources then pays for one sort in every few thousand.
        room = self.settings.penalty_sources * 7 // 8
        owing = sorted(((at, source) for source, at in self._paid_at.items() if at > now), key=lambda pair: pair[0])
        self._paid_at = {source: at for at, source in owing[max(0, len(owing) - room) :]}


LOG_INTERVAL: Final = 10.0
"""Seconds between two lines of one kind: often enough to see an attack, 8,640 lines a day at worst."""


class LogThrottle:
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
        self._next[kind] = now + LOG_INTERVAL
        self._log.warning(event, reason=reason, peer=peer, kept_back=self._kept_back.pop(kind, None))
