"""What one account holds never keeps another from starting a run, connecting or waiting."""

from __future__ import annotations

import asyncio
import os
import resource

import pytest

from farhand_protocol.shares import share_lines
from farhand_server.admission.shares import (
    CORE_DESCRIPTORS,
    MAX_ALL_WAITS,
    RUN_DESCRIPTORS,
    Shares,
    ShareUsedUp,
    descriptors_of_runs,
    shares_shown,
)
from farhand_server.auth.accounts import Principal
from farhand_server.config import ServiceConfig, load
from farhand_server.runs.plan import RuleShare
from farhand_server.sharing import Rate, ShareBounds
from tests.support.registry import NoRuns, plan

ADA, BOB = 50_001, 50_002


@pytest.fixture
def runs() -> NoRuns:
    return NoRuns()


@pytest.fixture
def shares(runs: NoRuns, monkeypatch: pytest.MonkeyPatch) -> Shares:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (16_384, 524_288))
    return Shares(runs)


@pytest.fixture
def config() -> ServiceConfig:
    return load(None, overrides={})


async def test_a_user_with_its_whole_share_of_runs_leaves_room_for_others_and_more_for_root(
    shares: Shares, runs: NoRuns, config: ServiceConfig
) -> None:
    runs.by_user.add(ADA, 640)
    with pytest.raises(ShareUsedUp, match="ada has 640 active runs, its whole share of this service; end some, or"):
        shares.check_run(plan("true", uid=ADA, owner="ada"), config)
    shares.check_run(plan("true", uid=BOB, owner="bob"), config)
    runs.by_user.add(BOB, 320)
    with pytest.raises(ShareUsedUp, match="bob has 320"):
        shares.check_run(plan("true", uid=BOB, owner="bob"), config)
    for uid in (0, os.geteuid()):
        shares.check_run(plan("true", uid=uid, owner="root"), config)


async def test_the_policy_bounds_what_one_account_may_have_and_not_root(
    shares: Shares, runs: NoRuns, config: ServiceConfig
) -> None:
    shares.bounds.use(lambda user, groups: ShareBounds(runs=3, connections=2, waits=1, memory=1 << 20))
    for uid in (ADA, 0):
        shares.bounds.add(uid, "ada", frozenset())
        shares.connections.add(uid, 2)
        shares.waits.add(uid)
        runs.by_user.add(uid, 3)
        runs.memory.of(uid).used = 1 << 20
    with pytest.raises(ShareUsedUp, match="the policy lets you have 3 runs at once, and you have 3; end some, or wait"):
        shares.check_run(plan("true", uid=ADA, owner="ada"), config)
    with pytest.raises(ShareUsedUp, match="lets you have 3 runs at once, and you have 3"):
        shares.check_awaited(ADA, "ada", config)
    with pytest.raises(ShareUsedUp, match="lets you have 2 connections at once"):
        shares.check_connection(ADA, "ada", config)
    with pytest.raises(ShareUsedUp, match="lets you have 1 waits at once"):
        shares.check_wait(ADA, "ada", config)
    runs.by_user.remove(ADA)
    with pytest.raises(ShareUsedUp, match=r"1 MiB of output .* all that the policy lets it have; read the output"):
        shares.check_run(plan("true", uid=ADA, owner="ada"), config)
    shares.check_run(plan("true", uid=0, owner="root"), config)
    shares.check_connection(0, "root", config)
    shares.check_wait(0, "root", config)
    shown = {share.resource: (share.used, share.limit) for share in shares.of(ADA, config)}
    assert (shown["runs"], shown["connections"], shown["waits"]) == ((2, 3), (2, 2), (1, 1))
    assert shown["memory"] == (1 << 20, 1 << 20)


def test_requests_that_wait_for_a_worker_are_bounded_with_the_runs_that_they_may_become(
    shares: Shares, runs: NoRuns, config: ServiceConfig
) -> None:
    runs.by_user.add(ADA, 600)
    shares.awaited.add(ADA, 39)
    shares.check_awaited(ADA, "ada", config)
    shares.awaited.add(ADA)
    with pytest.raises(ShareUsedUp, match="ada has 640 active runs and requests that are being judged, its whole"):
        shares.check_awaited(ADA, "ada", config)
    for uid in (BOB, 0):
        shares.check_awaited(uid, "bob", config)


async def test_a_rule_bounds_one_account_and_the_service_itself(
    shares: Shares, runs: NoRuns, config: ServiceConfig
) -> None:
    rule = RuleShare("deploy", runs=2)
    runs.by_rule.add((ADA, "deploy"), 2)
    runs.by_rule.add((0, "deploy"), 2)
    for uid in (ADA, 0):
        with pytest.raises(ShareUsedUp, match="the policy allows ada 2 of these runs at once, and all are active"):
            shares.check_run(plan("true", uid=uid, rule=rule), config)
    shares.check_run(plan("true", uid=BOB, rule=rule), config)
    shares.check_run(plan("true", uid=ADA, rule=RuleShare("other")), config)


def test_connections_and_waits_are_shared_like_runs(shares: Shares, config: ServiceConfig) -> None:
    shares.connections.add(ADA, 5000)
    with pytest.raises(ShareUsedUp, match="ada has 5000 connections, its whole share of this service; close some"):
        shares.check_connection(ADA, "ada", config)
    shares.check_connection(BOB, "bob", config)
    shares.check_connection(0, "root", config)
    shares.waits.add(ADA, 640)
    with pytest.raises(ShareUsedUp, match="ada has 640 waits, its whole share of this service; end some of them"):
        shares.check_wait(ADA, "ada", config)
    shares.check_wait(BOB, "bob", config)
    shares.check_wait(0, "root", config)


async def test_descriptors_bound_what_runs_and_connections_use_together(
    shares: Shares, runs: NoRuns, config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert descriptors_of_runs() == 1024 - CORE_DESCRIPTORS
    runs.by_user.add(ADA, 590 // RUN_DESCRIPTORS)
    shares.connections.add(ADA, 12)
    with pytest.raises(ShareUsedUp, match="the runs and connections of ada use 600 descriptors, its whole share"):
        shares.check_run(plan("true", uid=ADA, owner="ada"), config)
    with pytest.raises(ShareUsedUp, match="the runs and connections of ada use 600 descriptors"):
        shares.check_connection(ADA, "ada", config)
    shares.check_run(plan("true", uid=BOB, owner="bob"), config)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    shares.check_run(plan("true", uid=ADA, owner="ada"), config)


def test_a_share_is_shown_with_what_is_used_of_it(shares: Shares, runs: NoRuns, config: ServiceConfig) -> None:
    runs.by_user.add(ADA, 3)
    shown = {share.resource: (share.used, share.limit, share.total) for share in shares.of(ADA, config)}
    assert shown["runs"] == (3, 640, 1024)
    assert shown["connections"] == (0, 5000, 8000)
    assert shown["waits"] == (0, 640, MAX_ALL_WAITS)
    assert {share.resource: share.limit for share in shares.of(0, config)}["runs"] == 1024


async def test_a_start_that_a_rule_would_delay_for_long_is_refused(
    shares: Shares, runs: NoRuns, config: ServiceConfig
) -> None:
    rule = RuleShare("deploy", starts=Rate(2, 60.0))
    for number in range(3):
        shares.check_run(plan("true", uid=ADA, owner="ada", rule=RuleShare()), config)
        if number < 2:
            shares.check_run(plan("true", uid=ADA, owner="ada", rule=rule), config)
            runs.starts.add(ADA, str(number), rule, lambda: None)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    with pytest.raises(ShareUsedUp, match=r"the policy lets ada start 2/min of these runs; try again in (29|30) s"):
        shares.check_run(plan("true", uid=ADA, owner="ada", rule=rule), config)
    shares.check_run(plan("true", uid=BOB, owner="bob", rule=rule), config)


async def test_a_user_sees_its_own_shares_and_root_those_of_all_who_have_something(
    shares: Shares, runs: NoRuns, config: ServiceConfig
) -> None:
    runs.by_user.add(ADA, 600)
    runs.owners[ADA] = "ada"
    shares.connections.add(BOB, 2)
    shares.bounds.add(BOB, "bob", frozenset())
    memory = runs.memory.of(ADA)
    memory.used += 5 << 20
    ada = {share.resource: share for share in shares_shown(shares, Principal("ada", ADA, "key"), config)}
    assert {share.user for share in ada.values()} == {"ada"}
    assert set(ada) == {"runs", "connections", "descriptors", "waits", "memory", "disk"}
    assert (ada["runs"].used, ada["runs"].limit, ada["memory"].used) == (600, 640, 5 << 20)
    everyone = shares_shown(shares, Principal("root", 0, "peer"), config)
    assert list(share_lines(everyone)) == [
        "ada: 600 of 640 runs, 3600 of 10199 descriptors, 5 of 320 MiB of memory",
        "bob: 2 of 5000 connections, 2 of 7800 descriptors",
    ]


async def test_a_user_whose_runs_hold_too_much_unread_output_starts_no_more(
    shares: Shares, runs: NoRuns, config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = runs.memory.of(ADA)
    memory.used += 320 << 20
    with pytest.raises(ShareUsedUp, match="the runs of ada hold 320 MiB of output and stdin that nobody has read, and"):
        shares.check_run(plan("true", uid=ADA, owner="ada"), config)
    shares.check_run(plan("true", uid=BOB, owner="bob"), config)
    monkeypatch.setattr(runs.kept, "memory_of", lambda _: 1 << 20)
    shares.check_run(plan("true", uid=ADA, owner="ada"), config)


async def test_who_has_next_to_nothing_is_not_told_that_it_is_too_much(
    shares: Shares, runs: NoRuns, config: ServiceConfig
) -> None:
    runs.by_user.add(0, 1024)
    with pytest.raises(ShareUsedUp, match="this service has no runs left for you: others have 1024 of 1024, and"):
        shares.check_run(plan("true", uid=ADA, owner="ada"), config)
    shares.connections.add(0, 8000)
    with pytest.raises(ShareUsedUp, match="this service has no connections left for you"):
        shares.check_connection(ADA, "ada", config)
