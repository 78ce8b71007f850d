"""Divides the audit log among those who cause entries, so that nobody can push out what others are owed. Without I/O.

Everyone who causes entries has a debt in bytes, which grows with each entry and falls with time. The limit of a debt
is an even share of a quarter of what rotation keeps, and falls to zero within `audit.keep_for`. So even ten users who
come one after the other can write no more within that time than rotation keeps, and what is free can be used: a user
alone has a quarter of the log at once, by default the entries of some 100,000 runs. As a debt grows, a user's entries
become smaller, then those of the less important kinds are only counted, and at last all of them. The counts are entries
themselves.

Root and the service's own account have no limit: they could delete the log. But connections through their tunnels may
be anybody's who reaches a port, and are limited as those of others are. Refused logins are charged to where they came
from, because anybody may claim any name, and all strangers together have the share of one user.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from .entry import AuditEntry, AuditEvent

HASHED_PART: Final = 0.25
"""The part of the limit beyond which long arguments are replaced by their hash."""

COUNTED_PART: Final = 0.5
"""The part of the limit beyond which only starts and ends of runs are still written. So no flood of denials can hide
what a user runs."""

LONG_ARGV: Final = 1024
"""Bytes of arguments that are always written with an entry: far more than people type."""

COUNT_EVERY: Final = 30.0
"""Seconds between two entries with what was counted of one user: 1,200 bytes a minute."""

MAX_SOURCES: Final = 1024
"""Sources of refused logins whose debts are kept apart. Beyond this, the smallest debt is forgotten."""

ONE_SOURCE_PART: Final = 0.25
"""The part of what strangers have left that one source may use: others always find some."""

STRANGERS: Final = ""
"""All that have not logged in, together. No account has an empty name."""

Shown = Literal["all", "short"]


@dataclass(slots=True)
class _Debt:
    bytes: float
    at: float
    """When it had this size."""


@dataclass(slots=True)
class CountedEntries:
    """Entries that were counted instead of being written: how many of each kind, the first one's time in seconds since
    1970, and when the count has to be written, on the monotonic clock."""

    events: Counter[AuditEvent]
    since: float
    due: float
    sources: set[str]


class AuditBudget:
    """Who has caused how much of the log, and what was only counted.

    `capacity` is the number of bytes that rotation keeps, `keep_for` the seconds for which they are promised; both may
    change at any time. Times are on the monotonic clock.
    """

    def __init__(self, capacity: int, keep_for: float) -> None:
        self.capacity = capacity
        self.keep_for = keep_for
        self._unlimited = {name for uid in (0, os.geteuid()) if (name := _account(uid)) is not None}
        self._debts: dict[str, _Debt] = {}
        self._sources: dict[str, _Debt] = {}
        self._counted: dict[str, CountedEntries] = {}
        self._purged_at = 0.0

    @property
    def due(self) -> float | None:
        """When a count has to be written next; None if nothing was counted."""
        return min(counted.due for counted in self._counted.values()) if self._counted else None

    def admit(self, entry: AuditEntry, now: float) -> Shown | None:
        """Return how much of an entry to write; None if it is to be counted. Call `charge` for what is written."""
        user = _who(entry)
        if self._is_unlimited(entry, user):
            return "all"
        whole, debt = self._limit(now), self._debt(self._debts, user, now)
        limit = whole if entry.event in ("start", "end") else whole * COUNTED_PART
        if debt > limit or (user == STRANGERS and not self._source_may(entry, limit - debt, now)):
            return None
        return "all" if debt <= whole * HASHED_PART else "short"

    def charge(self, entry: AuditEntry, size: int, now: float) -> None:
        """Add `size` bytes to the debt of whoever has caused an entry."""
        user = _who(entry)
        if not self._is_unlimited(entry, user):
            self._add(self._debts, user, size, now)
        if user == STRANGERS:
            self._add(self._sources, _source(entry.peer), size, now)
            if len(self._sources) > MAX_SOURCES:
                del self._sources[min(self._sources, key=lambda source: self._sources[source].bytes)]

    def _is_unlimited(self, entry: AuditEntry, user: str) -> bool:
        return user in self._unlimited and entry.event != "flow"

    def count(self, entry: AuditEntry, now: float) -> None:
        """Count an entry instead of writing it."""
        user = _who(entry)
        counted = self._counted.get(user)
        if counted is None:
            counted = self._counted[user] = CountedEntries(Counter(), entry.time, now + COUNT_EVERY, set())
        counted.events[entry.event] += 1
        if user == STRANGERS and len(counted.sources) < MAX_SOURCES:
            counted.sources.add(_source(entry.peer))

    def counted(self, now: float, time: float) -> Iterator[AuditEntry]:
        """Yield an entry for each count that is due, and start it again. `time` is in seconds since 1970."""
        for user in [user for user, counted in self._counted.items() if counted.due <= now]:
            yield _count_entry(user, self._counted.pop(user), time)

    def _limit(self, now: float) -> float:
        if now - self._purged_at > COUNT_EVERY:
            self._purged_at = now
            for debts in (self._debts, self._sources):
                for user in [user for user in debts if self._debt(debts, user, now) <= 0]:
                    del debts[user]
        return self.capacity / 4 / max(1, len(self._debts))

    def _debt(self, debts: dict[str, _Debt], user: str, now: float) -> float:
        debt = debts.get(user)
        if debt is None:
            return 0.0
        rate = self.capacity / 4 / max(1, len(self._debts)) / self.keep_for
        debt.bytes = max(0.0, debt.bytes - (now - debt.at) * rate)
        debt.at = now
        return debt.bytes

    def _add(self, debts: dict[str, _Debt], user: str, size: int, now: float) -> None:
        self._debt(debts, user, now)
        debts.setdefault(user, _Debt(0.0, now)).bytes += size

    def _source_may(self, entry: AuditEntry, left: float, now: float) -> bool:
        return self._debt(self._sources, _source(entry.peer), now) <= left * ONE_SOURCE_PART


def _who(entry: AuditEntry) -> str:
    """Return whose share an entry uses: that of its user, unless the user has proved nothing."""
    return STRANGERS if entry.event == "login_refused" and entry.how != "peer" else entry.user or STRANGERS


def _source(peer: str | None) -> str:
    """Return where a connection came from: an IPv4 address, or an IPv6 network of 64 bits, which one subscriber has."""
    host = (peer or "").rpartition(":")[0].strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def _count_entry(user: str, counted: CountedEntries, time: float) -> AuditEntry:
    kinds = ", ".join(f"{number} {event}" for event, number in sorted(counted.events.items()))
    sources = f" from {len(counted.sources)} sources" if user == STRANGERS else ""
    return AuditEntry(
        "counted",
        time,
        user=user or None,
        count=counted.events.total(),
        since=counted.since,
        detail=f"these were only counted, because there were too many: {kinds}{sources}",
    )


def _account(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
