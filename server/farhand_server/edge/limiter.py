"""Limits what clients can cost before login: their connections, their failures, and the log lines about them.

Without I/O: time is an argument, in seconds of any monotonic clock. Call `Limiter.release` once for every `admit` that
returns a `Slot`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeVar

from farhand_server.config import EdgeSettings
from farhand_server.sources import Source, source_of
from farhand_server.tickets import Ticket

_Counted = TypeVar("_Counted")

RESERVE_DIVISOR: Final = 8
"""The part of `before_login` that is kept for sources that have logged in before, and again for tickets: an eighth
each. 64 places are enough for 64 logins in the same moment, and three quarters are left for everybody."""

EARLY_DROP_START: Final = 0.75
"""The part of the places for everybody from which on connections are dropped at random, MaxStartups' `start`: 288 of
384, which is more than a burst of twice `before_login_per_source`."""

EARLY_DROP_RATE: Final = 0.3
"""The probability of a drop there, MaxStartups' `rate`. It rises evenly to 1 when the places are full."""

MAX_QUEUE_TIME: Final = 0.1
"""Seconds for which the kernel's queue of connections may be filled without a pause before the edge counts as too busy.
A TLS handshake costs the edge half a millisecond, and refusing a connection a tenth of that. So when it cannot keep up,
it refuses strangers sooner: otherwise those it knows would wait in that queue, too, where it cannot tell them apart."""

BUSY_STEP: Final = 0.02
"""By how much the probability of a drop rises with each look at the queue while the edge is too busy; it falls by half
of that with each look that finds the queue empty. There are hundreds of looks a second."""

MAX_BUSY_RATE: Final = 0.9
"""The highest probability of a drop because the edge is busy: who tries 24 times, as clients do, gets in with 92 %."""

MIN_HANDSHAKE_TIME: Final = 0.5
"""Seconds that a TLS handshake has, however many connections want its place. It takes one round trip, and the longest
over land and sea is 0.3 s."""

MIN_LOGIN_TIME: Final = 1.0
"""Seconds that a login has, after TLS: two more round trips, and two seconds would halve the places for others."""

CONNECTIONS_PER_TICKET: Final = 8
"""Connections before login that one ticket serves at once: a script that starts as many commands in parallel. Tickets
are visible on the network, so a copied one must not fill the reserve."""

CONNECTIONS_PER_HOLDER: Final = 32
"""The same for all tickets of one user, who gets one at each login: half of the reserve, so that no user has all."""

REMEMBERED_TICKETS: Final = 16_384
"""Tickets whose failures are remembered, in 2 MiB. Beyond this number, the one that failed first is forgotten."""

REMEMBERED_USES: Final = 65_536
"""Uses of tickets that are remembered, in 12 MiB: a copy of what a client has sent is not served. Beyond this number,
the oldest is forgotten; its ticket has long been renewed then."""

REMEMBERED_SOURCES: Final = 16_384
"""Sources that have logged in and are remembered, in 3 MiB. Beyond this number, the one that logged in the longest time
ago is forgotten."""


class ConnectionRefusal(StrEnum):
    """Why a connection is not admitted."""

    PENALTY = "the source has failed too often"
    SOURCE = "too many connections from this source before login"
    EARLY = "dropped at random, because there are many connections before login"
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


@dataclass(slots=True, eq=False)
class Slot:
    """An admitted connection, as the limiter counts it. Only the limiter changes it."""

    source: Source
    since: float = 0.0
    ticket: Ticket | None = None
    """The ticket that the connection was admitted for. Such a connection is not counted among those of its source."""
    before_login: bool = True
    held: bool = True


class Limiter:
    """Counts connections and debts, and decides who gets a place. `settings` may be replaced at any time; admitted
    connections keep their slots.

    Places before login are given in three steps: to everybody while a quarter is free, then to sources that have logged
    in before, and the last eighth to tickets alone.
    """

    def __init__(self, settings: EdgeSettings, random: Callable[[], float] = random.random) -> None:
        self.settings = settings
        self.open = 0
        """Number of connections, logged in or not."""
        self.before_login = 0
        """Number of connections that have not logged in."""
        self.random = random
        """Returns a number from 0 to 1."""
        self.busy_rate = 0.0
        """The probability of a drop because the edge cannot keep up."""
        self._queue_filled_since: float | None = None
        self._by_source: Counter[Source] = Counter()
        self._by_ticket: Counter[bytes] = Counter()
        """Connections before login of each ticket and of each holder, whose identifiers differ in length."""
        self._in_handshake: dict[Slot, None] = {}
        self._in_login: dict[Slot, None] = {}
        """The connections without a ticket, in the order in which they were admitted, or finished TLS."""
        self._debt_free_at: dict[Source, float] = {}
        self._ticket_costs: dict[bytes, float] = {}
        self._uses: dict[tuple[bytes, bytes], None] = {}
        self._known: dict[Source, None] = {}

    def admit(
        self, address: IPv4Address | IPv6Address, now: float, ticket: Ticket | None = None
    ) -> Slot | ConnectionRefusal:
        """Return a slot for a connection, or the reason why it must be closed. A refusal adds no debt.

        Close the connections that `overdue` returns first.
        """
        source = source_of(address)
        if self.open >= self.settings.connections:
            return ConnectionRefusal.TOTAL
        if ticket is not None and self._serves(ticket):
            slot = Slot(source, now, ticket)
            self._remember_use(ticket)
            self._by_ticket[ticket.id] += 1
            self._by_ticket[ticket.holder] += 1
        else:
            refusal = self._refusal(source, now)
            if refusal is not None:
                return refusal
            slot = Slot(source, now)
            self._by_source[source] += 1
            self._in_handshake[slot] = None
        self.open += 1
        self.before_login += 1
        return slot

    def overdue(self, now: float) -> list[Slot]:
        """Return the slots of connections that must give up their places, oldest first.

        While many places are taken, a connection without a ticket has less time: the fewer are free, the less.
        """
        free = 1.0 - self._crowding()
        found = []
        for slots, usual, least in (
            (self._in_handshake, self.settings.tls_deadline, MIN_HANDSHAKE_TIME),
            (self._in_login, self.settings.login_deadline, MIN_LOGIN_TIME),
        ):
            allowed = max(least, usual * free)
            for slot in slots:
                if now - slot.since < allowed:
                    break
                found.append(slot)
        return found

    def queue_seen(self, empty: bool, now: float) -> None:
        """Record whether the kernel's queue was empty after connections were accepted from it."""
        if empty:
            self._queue_filled_since = None
            self.busy_rate = max(0.0, self.busy_rate - BUSY_STEP / 2)
        elif self._queue_filled_since is None:
            self._queue_filled_since = now
        elif now - self._queue_filled_since > MAX_QUEUE_TIME:
            self.busy_rate = min(MAX_BUSY_RATE, self.busy_rate + BUSY_STEP)

    def tls_done(self, slot: Slot, now: float) -> None:
        """Record that a connection has finished its TLS handshake."""
        if slot in self._in_handshake:
            del self._in_handshake[slot]
            self._in_login[slot] = None
            slot.since = now

    def logged_in(self, slot: Slot) -> None:
        """Stop counting a connection as not logged in, and remember its source. Repeated calls have no effect."""
        if slot.before_login:
            self._stop_counting(slot)
            self._known.pop(slot.source, None)
            self._known[slot.source] = None
            if len(self._known) > REMEMBERED_SOURCES:
                del self._known[next(iter(self._known))]

    def release(self, slot: Slot) -> None:
        """Free the slot of a connection that has ended. Repeated calls have no effect."""
        if slot.held:
            if slot.before_login:
                self._stop_counting(slot)
            slot.held = False
            self.open -= 1

    def has_logged_in(self, source: Source) -> bool:
        """Whether a client has logged in from a source, as far as the limiter remembers."""
        return source in self._known

    def penalise(self, slot: Slot, failure: Failure, now: float) -> None:
        """Add the cost of a failure to the debt of a connection's source, and to its ticket.

        A missed deadline costs as much as the place was kept from others. A ticket that has cost as much as the
        threshold is worth nothing any more: unlike a source, it is renewed with each login.
        """
        held = min(1.0, max(0.0, now - slot.since) / self.settings.tls_deadline)
        cost = self._cost(failure) * (held if failure is Failure.DEADLINE else 1.0)
        if slot.ticket is not None and cost:
            self._charge_ticket(slot.ticket.id, cost)
        self.charge(slot.source, cost, now)

    def charge(self, source: Source, cost: float, now: float) -> None:
        """Add seconds to a source's debt."""
        if not cost:
            return
        if source not in self._debt_free_at and len(self._debt_free_at) >= self.settings.penalty_sources:
            self._forget_smallest(now)
        debt = min(self.debt(source, now) + cost, self.settings.penalty_max)
        self._debt_free_at[source] = now + debt

    def debt(self, source: Source, now: float) -> float:
        """Return a source's debt in seconds: the time until the source is free of debt."""
        free_at = self._debt_free_at.get(source)
        return max(0.0, free_at - now) if free_at is not None else 0.0

    def _refusal(self, source: Source, now: float) -> ConnectionRefusal | None:
        settings, places = self.settings, self._places_for_all()
        if self.debt(source, now) >= settings.penalty_threshold:
            return ConnectionRefusal.PENALTY
        if self._by_source[source] >= settings.before_login_per_source:
            return ConnectionRefusal.SOURCE
        if source in self._known:
            places += settings.before_login // RESERVE_DIVISOR
            return ConnectionRefusal.BEFORE_LOGIN if self.before_login >= places else None
        if self.before_login >= places:
            return ConnectionRefusal.BEFORE_LOGIN
        probability = max(self.busy_rate, self._early_drop_rate())
        return ConnectionRefusal.EARLY if probability and self.random() < probability else None

    def _early_drop_rate(self) -> float:
        crowding = self._crowding()
        if crowding < EARLY_DROP_START:
            return 0.0
        return EARLY_DROP_RATE + (1 - EARLY_DROP_RATE) * (crowding - EARLY_DROP_START) / (1 - EARLY_DROP_START)

    def _serves(self, ticket: Ticket) -> bool:
        return (
            (ticket.id, ticket.nonce) not in self._uses
            and self._ticket_costs.get(ticket.id, 0.0) < self.settings.penalty_threshold
            and self._by_ticket[ticket.id] < CONNECTIONS_PER_TICKET
            and self._by_ticket[ticket.holder] < CONNECTIONS_PER_HOLDER
            and self.before_login < self.settings.before_login
        )

    def _remember_use(self, ticket: Ticket) -> None:
        self._uses[ticket.id, ticket.nonce] = None
        if len(self._uses) > REMEMBERED_USES:
            del self._uses[next(iter(self._uses))]

    def _places_for_all(self) -> int:
        return self.settings.before_login - 2 * (self.settings.before_login // RESERVE_DIVISOR)

    def _crowding(self) -> float:
        """Return which part of the places for everybody is taken, 0 to 1."""
        return min(1.0, self.before_login / self._places_for_all())

    def _stop_counting(self, slot: Slot) -> None:
        slot.before_login = False
        self.before_login -= 1
        if slot.ticket is not None:
            _subtract(self._by_ticket, slot.ticket.id)
            _subtract(self._by_ticket, slot.ticket.holder)
        else:
            _subtract(self._by_source, slot.source)
            self._in_handshake.pop(slot, None)
            self._in_login.pop(slot, None)

    def _cost(self, failure: Failure) -> float:
        match failure:
            case Failure.REFUSED:
                return self.settings.penalty_refused
            case Failure.NO_LOGIN:
                return self.settings.penalty_no_login
            case Failure.DEADLINE:
                return self.settings.penalty_deadline

    def _charge_ticket(self, ticket: bytes, cost: float) -> None:
        if ticket not in self._ticket_costs and len(self._ticket_costs) >= REMEMBERED_TICKETS:
            del self._ticket_costs[next(iter(self._ticket_costs))]
        self._ticket_costs[ticket] = self._ticket_costs.get(ticket, 0.0) + cost

    def _forget_smallest(self, now: float) -> None:
        # Remove an eighth at a time, so that a flood of new sources costs one sort per few thousand sources.
        room = self.settings.penalty_sources * 7 // 8
        owing = sorted(
            ((at, source) for source, at in self._debt_free_at.items() if at > now), key=lambda pair: pair[0]
        )
        self._debt_free_at = {source: at for at, source in owing[max(0, len(owing) - room) :]}


def _subtract(counter: Counter[_Counted], key: _Counted) -> None:
    """Count one less, and keep no zero."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
