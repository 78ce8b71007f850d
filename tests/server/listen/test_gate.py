"""Whoever connects without being allowed to costs little and learns why, and the log does not grow with that."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import MessageReceived
from farhand_protocol.states import Side
from farhand_server.admission.shares import Shares
from farhand_server.audit import AuditEntry
from farhand_server.config import load
from farhand_server.connection.context import SessionContext
from farhand_server.listen import gate as gate_module
from farhand_server.listen import local_accounts
from farhand_server.listen.gate import (
    CONNECTS,
    ENTRIES,
    EXPLAINED_TIME,
    EXPLANATIONS,
    JUDGEMENT_TIME,
    MAX_ACCOUNTS,
    MAX_EXPLAINED,
    NO_TUNNEL_TO_US,
    EdgeGate,
    LocalGate,
)
from farhand_server.policy import Policy, Rule
from farhand_server.throttle import LOG_INTERVAL, LogThrottle
from tests.support.clock import virtual_time
from tests.support.history import LogFile
from tests.support.login_work import WorkAtOnce
from tests.support.registry import NoRuns

NOBODY = 65534
REFUSED = (
    "this service is for the account root, and you are nobody; its policy has no rule for you on this machine (over "
    "the network, log in with a key)"
)


class Tunnels:
    """A registry, as far as the gates look at it."""

    def __init__(self) -> None:
        self.tunnels: set[int] = set()


class Core:
    """What the gates need from the core, and a gate of root's service whose clock is `now`."""

    def __init__(self, directory: Path) -> None:
        self.config = load(None, overrides={"state_dir": str(directory)})
        self.policy = Policy()
        self.shares = Shares(NoRuns())
        self.registry = Tunnels()
        self.entries: list[AuditEntry] = []
        self.log = LogFile(directory)
        self.now = 1000.0
        self.gate = LocalGate(cast(SessionContext, self), self.log.logger, lambda: self.now)
        self.open: list[socket.socket] = []

    def note(self, entry: AuditEntry) -> None:
        self.entries.append(entry)

    def allow(self, user: str) -> None:
        rule = Rule.model_validate({"name": "r", "who": {"users": [user]}, "shell": True})
        self.policy = Policy(rules=(rule,))

    async def connect(self, uid: int = NOBODY) -> tuple[bool, socket.socket]:
        """Let an account connect; return whether it was admitted, and its end of the connection."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.open += (ours, theirs)
        served: list[asyncio.BaseProtocol] = []
        self.gate.admit(ours, uid, lambda _, protocol: served.append(protocol))
        await asyncio.sleep(0)  # the account is looked up at once
        return bool(served), theirs

    def lines(self) -> list[str]:
        return [line for line in str(self.log).splitlines() if "local client refused" in line]


@pytest.fixture
def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Core]:
    monkeypatch.setattr(local_accounts, "LoginWork", WorkAtOnce)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    one = Core(tmp_path)
    yield one
    for sock in one.open:
        sock.close()
    one.log.close()


def answer(theirs: socket.socket) -> m.Error | None:
    """Return the error that the client has received, None if the connection was closed without one."""
    theirs.setblocking(False)
    data = theirs.recv(1 << 16)
    if not data:
        return None
    client = Connection(Side.CLIENT)
    client.send(0, m.Hello(versions=(1,), software="t", limits=client.announced_limits, nonce=bytes(32)))
    (event,) = client.receive_data(data)
    assert isinstance(event, MessageReceived)
    assert isinstance(event.message, m.Error)
    return event.message


def closed(theirs: socket.socket) -> bool:
    return bool(select.select([theirs], [], [], 0)[0])


@virtual_time
async def test_an_account_without_a_rule_is_told_why_and_its_connection_closes_once_it_has_left(core: Core) -> None:
    admitted, theirs = await core.connect()
    assert not admitted
    error = answer(theirs)
    assert error is not None
    assert (error.code, error.message) == (
        ErrorCode.DENIED,
        REFUSED,
    )
    assert not closed(theirs)
    theirs.send(b"a hello that is late")
    core.gate.close()
    assert core.open[0].fileno() == -1


@virtual_time
async def test_refused_connections_that_stay_open_are_few_and_not_kept_for_long(core: Core) -> None:
    for uid in range(NOBODY - MAX_EXPLAINED, NOBODY + 1):
        await core.connect(uid)
    ours = core.open[::2]
    assert [sock.fileno() == -1 for sock in ours] == [True] + [False] * MAX_EXPLAINED
    await asyncio.sleep(EXPLAINED_TIME)
    assert all(sock.fileno() == -1 for sock in ours)


@virtual_time
async def test_a_flood_of_one_account_is_neither_answered_nor_logged_in_full(core: Core) -> None:
    told = [answer((await core.connect())[1]) for _ in range(1000)]
    assert sum(error is not None for error in told) == EXPLANATIONS.number
    assert (len(core.lines()), [entry.event for entry in core.entries]) == (1, ["login_refused"])
    core.now += LOG_INTERVAL
    await core.connect()
    assert core.lines()[1].endswith("kept_back=999")
    assert core.entries[1].detail == (f"{REFUSED} (999 more since the last entry)")
    core.gate.close()


@virtual_time
async def test_a_flood_costs_one_look_at_the_policy_and_a_new_rule_is_found_soon(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    allowed = False

    def has_rule_for(*_: object) -> bool:
        looked.append(1)
        return allowed

    monkeypatch.setattr(gate_module, "has_rule_for", has_rule_for)
    for _ in range(100):
        await core.connect()
    assert len(looked) == 1
    allowed = True
    core.now += JUDGEMENT_TIME
    assert (await core.connect())[0]
    allowed = False
    core.policy = Policy()
    assert not (await core.connect())[0], "a new policy applies at once"
    core.gate.close()


@virtual_time
async def test_with_roots_service_an_account_with_a_rule_is_admitted_at_a_bounded_rate(core: Core) -> None:
    core.allow("nobody")
    assert [(await core.connect())[0] for _ in range(CONNECTS.number)] == [True] * CONNECTS.number
    admitted, theirs = await core.connect()
    error = answer(theirs)
    assert not admitted
    assert error is not None
    assert error.code == ErrorCode.TOO_MANY_RUNS
    sentence = "nobody opens connections too often, more than 400 in 2 s; use one connection for several runs"
    assert error.message == sentence
    assert core.entries == [], "it is not denied anything"
    assert (await core.connect(0))[0], "root is not bound"
    core.now += 1
    assert (await core.connect())[0]
    core.gate.close()


@virtual_time
async def test_an_account_has_its_share_of_connections(core: Core) -> None:
    core.allow("nobody")
    core.shares.bounds.add(NOBODY, "nobody", frozenset())
    core.shares.connections.add(NOBODY, 5000)
    admitted, theirs = await core.connect()
    error = answer(theirs)
    assert not admitted
    assert error is not None
    assert (error.code, error.message.split(";")[0]) == (
        ErrorCode.TOO_MANY_RUNS,
        "nobody has 5000 connections, its whole share of this service",
    )
    core.gate.close()


@virtual_time
async def test_a_service_of_an_ordinary_account_admits_no_other_account_whatever_the_policy(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    core.allow("*")
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    assert [(await core.connect(uid))[0] for uid in (0, 1, NOBODY)] == [True, True, False]
    core.gate.close()


@virtual_time
async def test_what_is_wrong_with_the_service_is_not_said_of_the_account(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(local_accounts, "user_name", fail)
    error = answer((await core.connect())[1])
    assert error is not None
    assert error.code == ErrorCode.UNAVAILABLE
    assert error.message == "the service cannot look up your account now: Too many open files; try again in a moment"
    assert core.entries == []
    core.gate.close()


@virtual_time
async def test_no_more_accounts_are_remembered_than_there_is_room_for(core: Core) -> None:
    for uid in range(100_000, 100_000 + MAX_ACCOUNTS + 1):
        await core.connect(uid)
    assert len(core.lines()) == ENTRIES.number, "one person may have many uids"
    core.now += ENTRIES.seconds / ENTRIES.number
    await core.connect(100_000 + 1)
    assert len(core.lines()) == ENTRIES.number, "it is remembered"
    await core.connect(100_000)
    assert core.lines()[-1].endswith(f"others={MAX_ACCOUNTS + 1 - ENTRIES.number}"), "it was forgotten"
    core.gate.close()


@pytest.mark.parametrize(("uid", "admitted"), [(0, True), (1234, True), (NOBODY, False)])
def test_only_the_edges_account_and_root_may_announce_clients(core: Core, uid: int, admitted: bool) -> None:
    edge = core.config.edge.model_copy(update={"account": 1234})
    core.config = core.config.model_copy(update={"edge": edge})
    gate = EdgeGate(cast(SessionContext, core), asyncio.Protocol, LogThrottle(core.log.logger, lambda: 0.0))
    ours, theirs = socket.socketpair()
    core.open += (ours, theirs)
    served: list[socket.socket] = []
    gate.admit(ours, uid, lambda sock, _: served.append(sock))
    assert served == ([ours] if admitted else [])
    assert (ours.fileno() == -1) != admitted
    assert ("edge refused" in str(core.log)) != admitted


@pytest.mark.parametrize("uid", [0, NOBODY])
async def test_no_tunnel_of_any_user_leads_to_the_service_itself(core: Core, uid: int) -> None:
    core.allow("nobody")
    core.registry.tunnels.add(os.getpid())
    admitted, theirs = await core.connect(uid)
    assert not admitted
    refused = answer(theirs)
    assert refused is not None
    assert (refused.code, refused.message) == (ErrorCode.DENIED, NO_TUNNEL_TO_US.sentence)
    assert core.entries[-1].detail == NO_TUNNEL_TO_US.sentence
    core.gate.close()
    core.registry.tunnels.clear()
    assert (await core.connect(uid))[0]
    core.gate.close()


def test_no_tunnel_announces_clients_as_an_edge_does(core: Core) -> None:
    core.registry.tunnels.add(os.getpid())
    gate = EdgeGate(cast(SessionContext, core), asyncio.Protocol, LogThrottle(core.log.logger, lambda: 0.0))
    ours, theirs = socket.socketpair()
    core.open += (ours, theirs)
    gate.admit(ours, 0, lambda sock, _: pytest.fail("it was served"))
    assert 'reason="a tunnel"' in str(core.log)
