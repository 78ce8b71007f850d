"""The limiter counts admitted connections, and debts that decrease with time."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.config import EdgeSettings
from farhand_server.edge.limiter import (
    CONNECTIONS_PER_HOLDER,
    CONNECTIONS_PER_TICKET,
    MAX_BUSY_RATE,
    MIN_HANDSHAKE_TIME,
    MIN_LOGIN_TIME,
    REMEMBERED_SOURCES,
    REMEMBERED_TICKETS,
    ConnectionRefusal,
    Failure,
    Limiter,
    Slot,
)
from farhand_server.tickets import Ticket

A, B = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
TICKET = Ticket(b"alice's one.", b"alice...", b"")
_nonces = itertools.count()


def admitted(
    limiter: Limiter, address: IPv4Address | IPv6Address, now: float = 0.0, ticket: Ticket | None = None
) -> Slot:
    slot = limiter.admit(address, now, ticket and shown(ticket))
    assert isinstance(slot, Slot)
    return slot


def shown(ticket: Ticket) -> Ticket:
    """Return a ticket as it is shown the next time."""
    return ticket._replace(nonce=b"%8d" % next(_nonces))


def many(limiter: Limiter, count: int, now: float = 0.0) -> list[Slot]:
    """Admit connections from so many sources, none of which is dropped at random."""
    return [admitted(limiter, IPv4Address(0x0A000000 + n), now) for n in range(count)]


def never() -> float:
    """Stands for a random number for which no connection is dropped."""
    return 1.0


def test_each_limit_refuses_with_its_reason() -> None:
    limiter = Limiter(EdgeSettings(before_login_per_source=1, before_login=2, connections=3))
    first, second = admitted(limiter, A), admitted(limiter, B)
    assert limiter.admit(A, 0) is ConnectionRefusal.SOURCE
    assert limiter.admit(IPv4Address("192.0.2.3"), 0) is ConnectionRefusal.BEFORE_LOGIN
    limiter.logged_in(first)
    admitted(limiter, A)
    limiter.logged_in(second)
    assert limiter.admit(B, 0) is ConnectionRefusal.TOTAL
    limiter.release(first)
    admitted(limiter, B)


@pytest.mark.parametrize(("failure", "free"), [(Failure.REFUSED, 2), (Failure.NO_LOGIN, 14), (Failure.DEADLINE, 1)])
def test_a_source_is_refused_at_the_threshold_until_its_debt_has_decreased(failure: Failure, free: int) -> None:
    limiter = Limiter(EdgeSettings())
    slot = Slot(A, -10.0)
    for _ in range(free):
        limiter.penalise(slot, failure, 0.0)
        admitted(limiter, A)
    limiter.penalise(slot, failure, 0.0)
    debt = limiter.debt(A, 0.0)
    assert limiter.admit(A, 0.0) is ConnectionRefusal.PENALTY
    admitted(limiter, B)
    assert limiter.admit(A, debt - 15.0) is ConnectionRefusal.PENALTY
    admitted(limiter, A, debt - 14.99)
    assert limiter.debt(A, debt) == 0.0


@pytest.mark.parametrize(("held", "debt"), [(10.0, 10.0), (25.0, 10.0), (0.5, 0.5), (0.0, 0.0)])
def test_a_missed_deadline_costs_as_much_as_the_place_was_kept_from_others(held: float, debt: float) -> None:
    limiter = Limiter(EdgeSettings())
    limiter.penalise(Slot(A, 100.0), Failure.DEADLINE, 100.0 + held)
    assert limiter.debt(A, 100.0 + held) == debt


def test_a_source_is_refused_for_less_time_than_a_run_waits_for_its_client() -> None:
    limiter = Limiter(EdgeSettings())
    for _ in range(1000):
        limiter.penalise(Slot(A, -10.0), Failure.DEADLINE, 0.0)
    assert limiter.debt(A, 0.0) == 60.0
    admitted(limiter, A, 45.1)


def test_a_penalty_of_0_adds_no_debt() -> None:
    limiter = Limiter(EdgeSettings(penalty_refused=0.0))
    limiter.penalise(Slot(A, ticket=TICKET), Failure.REFUSED, 0.0)
    assert limiter.debt(A, 0.0) == 0.0


def test_when_too_many_sources_are_in_debt_the_smallest_debts_are_forgotten() -> None:
    limiter = Limiter(EdgeSettings(penalty_sources=16))
    limiter.charge(A, 30.0, 0.0)
    sources = [IPv4Address(f"198.51.100.{n}") for n in range(100)]
    for source in sources:
        limiter.charge(source, 1.0, 0.0)
    assert limiter.admit(A, 0.0) is ConnectionRefusal.PENALTY
    assert sum(limiter.debt(source, 0.0) > 0 for source in [A, *sources]) <= 16


def test_a_ticket_is_served_before_penalties_and_the_limit_of_its_source() -> None:
    limiter = Limiter(EdgeSettings(before_login_per_source=1))
    admitted(limiter, A)
    assert limiter.admit(A, 0.0) is ConnectionRefusal.SOURCE
    limiter.charge(A, 60.0, 0.0)
    assert limiter.admit(A, 0.0) is ConnectionRefusal.PENALTY
    admitted(limiter, A, 0.0, TICKET)
    assert limiter.admit(A, 61.0) is ConnectionRefusal.SOURCE, "the ticket's place is not one of its source"


def test_a_copy_of_what_a_client_has_sent_is_not_served() -> None:
    limiter = Limiter(EdgeSettings())
    limiter.charge(A, 60.0, 0.0)
    once = shown(TICKET)
    first = limiter.admit(A, 0.0, once)
    assert isinstance(first, Slot)
    limiter.logged_in(first)
    assert limiter.admit(A, 0.0, once) is ConnectionRefusal.PENALTY
    admitted(limiter, A, 0.0, TICKET)


def test_a_ticket_serves_a_few_connections_at_once() -> None:
    limiter = Limiter(EdgeSettings())
    limiter.charge(A, 60.0, 0.0)
    slots = [admitted(limiter, A, 0.0, TICKET) for _ in range(CONNECTIONS_PER_TICKET)]
    assert limiter.admit(A, 0.0, TICKET) is ConnectionRefusal.PENALTY
    admitted(limiter, B, 0.0, TICKET)  # as one without a ticket
    limiter.logged_in(slots[0])
    admitted(limiter, A, 0.0, TICKET)


def test_the_tickets_of_one_user_do_not_fill_the_reserve() -> None:
    limiter = Limiter(EdgeSettings())
    limiter.charge(A, 60.0, 0.0)
    tickets = [Ticket(b"%12d" % n, b"alice...", b"") for n in range(CONNECTIONS_PER_HOLDER + 1)]
    for ticket in tickets[:-1]:
        admitted(limiter, A, 0.0, ticket)
    assert limiter.admit(A, 0.0, tickets[-1]) is ConnectionRefusal.PENALTY
    admitted(limiter, A, 0.0, Ticket(b"bob's first.", b"bob.....", b""))


@pytest.mark.parametrize(("failure", "worth"), [(Failure.REFUSED, 3), (Failure.NO_LOGIN, 15), (Failure.DEADLINE, 2)])
def test_a_ticket_whose_connections_fail_is_worth_nothing_any_more(failure: Failure, worth: int) -> None:
    limiter = Limiter(EdgeSettings())
    for _ in range(worth):
        slot = admitted(limiter, A, 0.0, TICKET)
        limiter.penalise(slot, failure, 10.0)
        limiter.release(slot)
    limiter.charge(A, 60.0, 1000.0)
    assert limiter.admit(A, 1000.0, TICKET) is ConnectionRefusal.PENALTY
    admitted(limiter, A, 1000.0, Ticket(b"alice's next", TICKET.holder, b""))


def test_a_bounded_number_of_failed_tickets_and_known_sources_is_remembered() -> None:
    limiter = Limiter(EdgeSettings())
    for n in range(max(REMEMBERED_TICKETS, REMEMBERED_SOURCES) + 1):
        slot = admitted(limiter, IPv4Address(n), 0.0, Ticket(b"%12d" % n, b"%8d" % n, b""))
        limiter.penalise(slot, Failure.DEADLINE, 100.0)
        limiter.penalise(slot, Failure.DEADLINE, 100.0)
        limiter.logged_in(slot)
        limiter.release(slot)
    assert not limiter.has_logged_in(IPv4Address(0))
    assert limiter.has_logged_in(IPv4Address(1))
    now = 100.0
    limiter.charge(A, 60.0, now)
    assert limiter.admit(A, now, Ticket(b"%12d" % REMEMBERED_TICKETS, b"somebody", b"")) is ConnectionRefusal.PENALTY
    admitted(limiter, A, now, Ticket(b"%12d" % 0, b"somebody", b""))


def test_the_last_places_are_kept_for_known_sources_and_then_for_tickets() -> None:
    limiter = Limiter(EdgeSettings(before_login=80), never)
    known = admitted(limiter, A)
    limiter.logged_in(known)
    limiter.release(known)
    many(limiter, 60)
    assert limiter.admit(B, 0.0) is ConnectionRefusal.BEFORE_LOGIN
    for _ in range(10):
        admitted(limiter, A)
    assert limiter.admit(A, 0.0) is ConnectionRefusal.BEFORE_LOGIN
    for n in range(10):
        admitted(limiter, B, 0.0, Ticket(b"%12d" % n, b"%8d" % n, b""))
    assert limiter.admit(B, 0.0, TICKET) is ConnectionRefusal.BEFORE_LOGIN
    assert limiter.before_login == 80


@pytest.mark.parametrize(
    ("taken", "probability"), [(0, 0.0), (287, 0.0), (288, 0.3), (336, 0.65), (383, 0.9927), (384, 1.0)]
)
def test_connections_are_dropped_at_random_the_more_likely_the_fewer_places_are_left(
    taken: int, probability: float
) -> None:
    number = never()
    limiter = Limiter(EdgeSettings(), lambda: number)
    many(limiter, taken)
    number = probability - 0.001
    if probability:
        assert isinstance(limiter.admit(A, 0.0), ConnectionRefusal)
    number = probability + 0.001
    assert isinstance(limiter.admit(B, 0.0), Slot) is (probability < 1)


def test_strangers_are_dropped_while_the_edge_cannot_keep_up() -> None:
    number = 0.5
    limiter = Limiter(EdgeSettings(), lambda: number)
    known = admitted(limiter, A)
    limiter.logged_in(known)
    now = 0.0
    for _ in range(10):  # a burst
        limiter.queue_seen(False, now := now + 0.009)
    assert limiter.busy_rate == 0.0
    for _ in range(100):
        limiter.queue_seen(False, now := now + 0.009)
    assert limiter.busy_rate == MAX_BUSY_RATE
    assert limiter.admit(B, now) is ConnectionRefusal.EARLY
    admitted(limiter, A)
    admitted(limiter, B, now, TICKET)
    number = MAX_BUSY_RATE
    admitted(limiter, B, now)
    for _ in range(90):
        limiter.queue_seen(True, now)
    limiter.queue_seen(False, now := now + 1)
    limiter.queue_seen(True, now)
    number = 0.0
    admitted(limiter, B, now)


def test_a_connection_has_less_time_the_fewer_places_are_left() -> None:
    limiter = Limiter(EdgeSettings(), never)
    first = admitted(limiter, A)
    assert limiter.overdue(9.9) == []
    assert limiter.overdue(10.0) == [first]
    others = many(limiter, 191)
    assert limiter.overdue(4.9) == []
    assert limiter.overdue(5.0) == [first, *others]
    limiter.tls_done(first, 4.0)
    assert limiter.overdue(5.0) == others
    many(limiter, 192, 4.0)
    assert limiter.overdue(MIN_HANDSHAKE_TIME) == others
    for slot in others:
        limiter.release(slot)
    assert first in limiter.overdue(4.0 + 25 * 193 / 384)
    assert first not in limiter.overdue(4.0 + MIN_LOGIN_TIME)


def test_a_connection_with_a_ticket_has_its_whole_time() -> None:
    limiter = Limiter(EdgeSettings(), never)
    slot = admitted(limiter, A, 0.0, TICKET)
    limiter.tls_done(slot, 1.0)
    many(limiter, 383, 100.0)
    assert limiter.overdue(100.0) == []


@given(
    st.lists(
        st.tuples(st.sampled_from(("admit", "login", "release")), st.integers(0, 3), st.integers(0, 20)), max_size=60
    )
)
def test_the_counts_match_the_slots_held_in_any_order_of_events(steps: list[tuple[str, int, int]]) -> None:
    limiter = Limiter(EdgeSettings(before_login_per_source=3, before_login=5, connections=8))
    held: list[Slot] = []
    for step, host, which in steps:
        if step == "admit":
            slot = limiter.admit(IPv4Address(host), 0.0)
            if isinstance(slot, Slot):
                held.append(slot)
        elif held and step == "login":
            limiter.logged_in(held[which % len(held)])
        elif held:
            limiter.release(held.pop(which % len(held)))
        before = [slot.source for slot in held if slot.before_login]
        assert (limiter.open, limiter.before_login) == (len(held), len(before))
        assert limiter.open <= 8
        assert limiter.before_login <= 5
        assert all(before.count(source) <= 3 for source in before)
    for slot in held:
        limiter.release(slot)
        limiter.release(slot)
    assert (limiter.open, limiter.before_login) == (0, 0)
