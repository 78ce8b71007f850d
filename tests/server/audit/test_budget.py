"""Nobody can push out of the audit log what others are owed: entries become shorter, and then are only counted."""

from __future__ import annotations

import os
import pwd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.audit import AuditEntry, AuditEvent
from farhand_server.audit.budget import COUNT_EVERY, MAX_SOURCES, AuditBudget

DAY = 86400.0
CAPACITY = 1 << 20
SIZE = 400


def event(kind: AuditEvent = "denial", user: str = "eve") -> AuditEntry:
    return AuditEntry(kind, 0.0, user=user)


def refused_login(source: str, user: str = "root") -> AuditEntry:
    return AuditEntry("login_refused", 0.0, user=user, how="key", peer=f"{source}:50214")


def write(budget: AuditBudget, entry: AuditEntry, number: int, now: float = 0.0) -> int:
    """Ask for `number` entries; return how many bytes were written."""
    written = 0
    for _ in range(number):
        if budget.admit(entry, now) is None:
            budget.count(entry, now)
        else:
            budget.charge(entry, SIZE, now)
            written += SIZE
    return written


def test_a_users_entries_become_short_and_then_only_starts_and_ends_are_written() -> None:
    budget, limit = AuditBudget(CAPACITY, DAY), CAPACITY / 4
    assert budget.admit(event(), 0.0) == "all"
    budget.charge(event(), int(limit * 0.3), 0.0)
    assert budget.admit(event(), 0.0) == "short"
    budget.charge(event(), int(limit * 0.3), 0.0)
    assert budget.admit(event(), 0.0) is None
    assert budget.admit(event("start"), 0.0) == budget.admit(event("end"), 0.0) == "short"
    budget.charge(event(), int(limit * 0.5), 0.0)
    assert budget.admit(event("start"), 0.0) is None
    assert budget.admit(event(user="ada"), 0.0) == "all"


def test_a_debt_is_paid_within_the_promised_time() -> None:
    budget = AuditBudget(CAPACITY, DAY)
    write(budget, event("start"), 10_000)
    assert budget.admit(event("start"), 1.0) is None
    assert budget.admit(event("start"), DAY / 100) == "short"
    assert budget.admit(event(), DAY * 1.01) == "all"


@given(
    users=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40),
    kind=st.sampled_from(["start", "denial"]),
    pause=st.floats(0, 3000),
)
def test_all_together_write_no_more_within_the_promised_time_than_is_kept(
    users: list[str], kind: AuditEvent, pause: float
) -> None:
    budget, now, written = AuditBudget(CAPACITY, DAY), 0.0, 0
    for user in users:
        written += write(budget, event(kind, user), 700, now)
        now += pause
    assert now > 40 * DAY or written <= CAPACITY * max(1.0, now / DAY)


def test_a_user_who_comes_late_finds_room() -> None:
    budget = AuditBudget(CAPACITY, DAY)
    write(budget, event("start"), 10_000)
    assert write(budget, event("start", "ada"), 10_000) >= CAPACITY / 8


@pytest.mark.parametrize("user", ["root", pwd.getpwuid(os.geteuid()).pw_name, "eve"])
def test_connections_through_a_tunnel_are_limited_for_root_too(user: str) -> None:
    budget = AuditBudget(CAPACITY, DAY)
    written = write(budget, event("flow", user), 10_000)
    assert written <= CAPACITY / 8 + SIZE
    (counted,) = budget.counted(COUNT_EVERY, COUNT_EVERY)
    assert counted.count == 10_000 - written // SIZE
    assert budget.admit(event("start", user), 0.0) is not None


@pytest.mark.parametrize("user", ["root", pwd.getpwuid(os.geteuid()).pw_name])
def test_root_and_the_services_own_account_have_no_limit(user: str) -> None:
    budget = AuditBudget(CAPACITY, DAY)
    assert write(budget, event("denial", user), 10_000) == 10_000 * SIZE
    assert budget.admit(event(), 0.0) == "all"


def test_a_refused_login_is_charged_to_its_source_whatever_name_it_claims() -> None:
    budget = AuditBudget(CAPACITY, DAY)
    write(budget, refused_login("192.0.2.7", "ada"), 10_000)
    assert budget.admit(refused_login("192.0.2.7"), 0.0) is None
    assert budget.admit(refused_login("192.0.2.8"), 0.0) == "all"
    assert budget.admit(event(user="ada"), 0.0) == "all"
    assert budget.admit(event("denial", "root"), 0.0) == "all"


def test_one_subscriber_with_many_ipv6_addresses_is_one_source() -> None:
    budget = AuditBudget(CAPACITY, DAY)
    for number in range(10_000):
        write(budget, refused_login(f"[2001:db8::{number:x}]"), 1)
    assert budget.admit(refused_login("[2001:db8::ffff:1]"), 0.0) is None
    assert budget.admit(refused_login("[2001:db8:0:1::1]"), 0.0) == "all"


def test_all_strangers_together_have_the_share_of_one_user_and_bounded_memory() -> None:
    budget, written = AuditBudget(CAPACITY, DAY), 0
    for number in range(3 * MAX_SOURCES):
        written += write(budget, refused_login(f"198.51.{number >> 8}.{number & 255}"), 3)
    assert written <= CAPACITY / 8 + SIZE
    assert write(budget, event("start", "ada"), 10_000) >= CAPACITY / 8
    (counted,) = [entry for entry in budget.counted(COUNT_EVERY, 0.0) if entry.user is None]
    assert counted.detail is not None
    assert counted.detail.endswith(f"login_refused from {MAX_SOURCES} sources")


def test_what_was_counted_is_told_by_user_and_kind_once_it_is_due() -> None:
    budget = AuditBudget(CAPACITY, DAY)
    kinds: tuple[AuditEvent, ...] = ("attach", "denial", "denial")
    for kind in kinds:
        budget.count(AuditEntry(kind, 7.0, user="eve"), 100.0)
    assert [budget.due] == [100.0 + COUNT_EVERY]
    assert list(budget.counted(100.0, 9.0)) == []
    (counted,) = budget.counted(100.0 + COUNT_EVERY, 9.0)
    assert (counted.event, counted.user, counted.count, counted.since, counted.time) == ("counted", "eve", 3, 7.0, 9.0)
    assert counted.detail == "these were only counted, because there were too many: 1 attach, 2 denial"
    assert list(budget.counted(1e9, 9.0)) == []
