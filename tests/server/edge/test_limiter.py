"""The limiter counts admitted connections, and debts that decrease with time."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.config import EdgeSettings
from farhand_server.edge.limiter import LOG_INTERVAL, ConnectionRefusal, Failure, Limiter, LogThrottle, Slot, source_of
from tests.support.history import LogFile

A, B = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")


def admitted(limiter: Limiter, address: IPv4Address | IPv6Address, now: float = 0.0) -> Slot:
    slot = limiter.admit(address, now)
    assert isinstance(slot, Slot)
    return slot


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.2"),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_64(address: str, same: str, other: str) -> None:
    source = source_of(ip_address(address))
    assert source_of(ip_address(same)) == source
    assert source_of(ip_address(other)) != source


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
    for _ in range(free):
        limiter.penalise(A, failure, 0.0)
        admitted(limiter, A)
    limiter.penalise(A, failure, 0.0)
    debt = limiter.debt(A, 0.0)
    assert limiter.admit(A, 0.0) is ConnectionRefusal.PENALTY
    admitted(limiter, B)
    assert limiter.admit(A, debt - 15.0) is ConnectionRefusal.PENALTY
    admitted(limiter, A, debt - 14.99)
    assert limiter.debt(A, debt) == 0.0


def test_debt_has_an_upper_bound() -> None:
    limiter = Limiter(EdgeSettings())
    for _ in range(1000):
        limiter.penalise(A, Failure.DEADLINE, 0.0)
    assert limiter.debt(A, 0.0) == 600.0


def test_a_penalty_of_0_adds_no_debt() -> None:
    limiter = Limiter(EdgeSettings(penalty_refused=0.0))
    limiter.penalise(A, Failure.REFUSED, 0.0)
    assert limiter.debt(A, 0.0) == 0.0


def test_when_too_many_sources_are_in_debt_the_smallest_debts_are_forgotten() -> None:
    limiter = Limiter(EdgeSettings(penalty_sources=16))
    for _ in range(3):
        limiter.penalise(A, Failure.DEADLINE, 0.0)
    sources = [IPv4Address(f"198.51.100.{n}") for n in range(100)]
    for source in sources:
        limiter.penalise(source, Failure.NO_LOGIN, 0.0)
    assert limiter.admit(A, 0.0) is ConnectionRefusal.PENALTY
    assert sum(limiter.debt(source, 0.0) > 0 for source in [A, *sources]) <= 16


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


def test_log_lines_of_one_kind_are_limited_and_the_suppressed_ones_counted(tmp_path: Path) -> None:
    now = 100.0
    file = LogFile(tmp_path)
    throttle = LogThrottle(file.logger, lambda: now)
    for _ in range(3):
        throttle.warning("client refused", reason="too many connections", peer="192.0.2.1")
    throttle.warning("client refused", reason="the source has failed too often")
    now += LOG_INTERVAL
    throttle.warning("client refused", reason="too many connections", peer="192.0.2.2")
    lines = [line.partition('msg="client refused" ')[2] for line in str(file).splitlines()]
    assert lines == [
        'reason="too many connections" peer=192.0.2.1',
        'reason="the source has failed too often"',
        'reason="too many connections" peer=192.0.2.2 kept_back=2',
    ]
    file.close()
