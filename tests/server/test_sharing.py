"""Nobody's part of a pool takes away everybody else's, and whoever is alone may use most of it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.sharing import (
    ALPHA,
    RESERVE,
    AccountBounds,
    Rate,
    ShareBounds,
    Tally,
    TokenBucket,
    bound_by_shares,
    fair_part,
)


def test_a_tally_counts_what_each_user_has_and_forgets_users_that_have_nothing() -> None:
    tally: Tally[str] = Tally()
    tally.add("ada", 3)
    tally.add("bob")
    tally.remove("ada", 2)
    assert (tally.total, tally.of("ada"), tally.of("bob"), tally.of("eve"), len(tally)) == (2, 1, 1, 0, 2)
    tally.remove("ada")
    assert list(tally) == ["bob"]
    with pytest.raises(ValueError, match="cannot give back 2"):
        tally.remove("bob", 2)


def test_what_is_held_is_given_back_once() -> None:
    tally: Tally[str] = Tally()
    release = tally.hold("ada")
    assert tally.total == 1
    release()
    release()
    assert tally.total == 0


def test_bounds_apply_to_accounts_that_have_logged_in_and_change_with_the_policy() -> None:
    bounds = AccountBounds()
    bounds.add(1, "ada", frozenset({"ci"}))
    assert bounds.of(1) == ShareBounds()
    bounds.use(lambda user, groups: ShareBounds(runs=len(user), waits=len(groups)))
    bounds.add(2, "x", frozenset())
    assert [bounds.of(uid) for uid in (1, 2, 3)] == [
        ShareBounds(runs=3, waits=1),
        ShareBounds(runs=1, waits=0),
        ShareBounds(),
    ]
    bounds.use(lambda user, groups: ShareBounds())
    assert bounds.of(1) == ShareBounds()


def test_root_and_the_service_are_not_bound() -> None:
    assert [bound_by_shares(uid) for uid in (0, os.geteuid(), 54321)] == [False, False, True]


def filled(total: int, users: int) -> list[int]:
    """Let users take one after another as much as they may, in turn, and return what each of them has."""
    has = [0] * users
    while True:
        before = sum(has)
        for user in range(users):
            if has[user] < fair_part(total, sum(has), has[user]):
                has[user] += 1
        if sum(has) == before:
            return has


@pytest.mark.parametrize(("users", "each"), [(1, 640), (2, 384), (10, 91)])
def test_a_user_alone_gets_two_thirds_and_many_get_equal_parts(users: int, each: int) -> None:
    assert all(abs(has - each) <= 2 for has in filled(1024, users))


@given(total=st.integers(1, 2000), users=st.integers(1, 12))
def test_the_reserve_is_never_used_and_the_next_user_finds_room_in_any_pool_that_is_large_enough(
    total: int, users: int
) -> None:
    used = sum(filled(total, users))
    assert used <= total - total // RESERVE
    if total >= 4 * (users * ALPHA + 1):
        assert fair_part(total, used, 0) > 0


@given(total=st.integers(0, 10**9), used=st.integers(0, 10**9), by_user=st.integers(0, 10**9))
def test_a_part_is_what_a_user_has_once_it_is_full(total: int, used: int, by_user: int) -> None:
    part = fair_part(total, used + by_user, by_user)
    assert part == fair_part(total, used + part, part)  # it does not depend on what the user has taken
    assert part <= total


def test_a_bucket_fills_with_time() -> None:
    bucket = TokenBucket(Rate(3, 1.5))
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(100.5), bucket.take(100.6), bucket.take(200.0)] == [True, False, True]
    assert not bucket.full(200.1)
    assert bucket.full(300.0)


def test_a_bucket_says_how_long_to_wait() -> None:
    bucket = TokenBucket(Rate(2, 60.0))
    assert [bucket.wait(100.0), bucket.wait(100.0, 1), bucket.wait(100.0, 2)] == [0.0, 0.0, 30.0]
    assert [bucket.take(100.0), bucket.take(100.0), bucket.take(100.0)] == [True, True, False]
    assert bucket.wait(110.0) == pytest.approx(20.0)


@pytest.mark.parametrize(("rate", "text"), [((10, 1.0), "10/s"), ((1, 60.0), "1/min"), ((5, 3600.0), "5/h")])
def test_a_rate_reads_as_it_is_written(rate: tuple[int, float], text: str) -> None:
    assert str(Rate(*rate)) == text
