"""A listing contains every visible run exactly once, newest first, even if runs end meanwhile."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.features import FEATURES
from farhand_protocol.limits import KiB, Limits
from farhand_protocol.outcome import Exited, Signaled
from farhand_server.connection.channels.listing import LIST_STEP, ListChannel, info
from farhand_server.connection.channels.run import RunChannel
from farhand_server.forwards.rules import ForwardRules
from farhand_server.runs.attachments.attachments import ClientIdentity
from farhand_server.runs.left import LeftRuns
from farhand_server.runs.past import PastRun
from farhand_server.runs.plan import AllowedForward, AllowedTransfer, RunResult, TerminalPlan
from farhand_server.runs.registry import RecordUnavailable
from farhand_server.runs.run import AnyRun, LiveRun
from tests.server.connection.channels.runs import past, run
from tests.server.runs.attachments.test_attachments import Client
from tests.support.fake_session import FakeSession


class Registry:
    """Active and ended runs, oldest first; each began a second after the previous one."""

    def __init__(self, *runs: AnyRun) -> None:
        self.runs = list(runs)
        self.asked: list[int] = []
        self.broken = False
        self.looked_through = 1000
        self.left = LeftRuns()
        for at, one in enumerate(self.runs):
            if isinstance(one, LiveRun):
                one.began = 1000.0 + at
            else:
                self.runs[at] = replace(one, began=1000.0 + at)

    def __iter__(self) -> Iterator[LiveRun]:
        return iter([one for one in reversed(self.runs) if isinstance(one, LiveRun) and one.result is None])

    def recent(
        self, owner: str | None, *, before: str | None, prefix: str = "", limit: int
    ) -> tuple[list[AnyRun], str | None]:
        if self.broken:
            raise RecordUnavailable("the record cannot be read")
        self.asked.append(limit)
        newest = self.runs[::-1]
        if before is not None:
            newest = newest[[one.id for one in newest].index(before) + 1 :]
        more = newest[self.looked_through - 1].id if len(newest) > self.looked_through else None
        newest = newest[: self.looked_through]
        found = [one for one in newest if owner in (None, one.owner) and one.id.startswith(prefix)]
        return found[:limit], found[limit - 1].id if len(found) >= limit else more


def ended(number: int, owner: str = "ada", **fields: Any) -> PastRun:
    result = RunResult(Exited(code=number % 256), 5, 7, 2.5)
    return past(id=f"{number:08x}-0000-4000-8000-000000000000", owner=owner, result=result, **fields)


def active(number: int, owner: str = "ada", **fields: Any) -> LiveRun:
    return run(id=f"{number:08x}-0000-4000-8000-000000000000", owner=owner, **fields)


def ask(
    session: FakeSession,
    registry: Registry,
    *,
    after: AnyRun | None = None,
    owner: str | None = None,
    **fields: object,
) -> int:
    request = m.List.model_validate(fields)
    number = session.open(request)
    ListChannel(
        session,
        number,
        request,
        registry,
        after=after,
        owner=owner,
        sees=lambda one: one.owner != "eve",
    ).begin()
    return number


def listed(session: FakeSession, number: int) -> list[int]:
    return [
        int(one.id[:8], 16)
        for message in session.received[number]
        if isinstance(message, m.Runs)
        for one in message.runs
    ]


async def all_listed(registry: Registry, **fields: object) -> list[int]:
    session = FakeSession()
    number = ask(session, registry, **fields)  # type: ignore[arg-type]  # the fields of a list
    for _ in range(1000):
        session.all_turns()
        if session.forgotten:
            break
        await asyncio.sleep(0)
    assert session.received[number][-1] == m.Done()
    return listed(session, number)


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
async def test_active_runs_are_listed_and_ended_ones_on_request(count: int) -> None:
    registry = Registry(*(active(n) if n % 2 else ended(n) for n in range(count)))
    assert await all_listed(registry) == [n for n in range(count)[::-1] if n % 2]
    assert await all_listed(registry, ended=True) == list(range(count))[::-1]
    assert await all_listed(registry, ended=True, limit=7) == list(range(count))[::-1][:7]
    assert await all_listed(registry, limit=7) == [n for n in range(count)[::-1] if n % 2][:7]


async def test_only_the_requested_number_of_runs_with_the_prefix_is_listed() -> None:
    registry = Registry(*(active(n) if n % 2 else ended(n) for n in range(0x40)))
    assert await all_listed(registry, ended=True, prefix="0000002") == list(range(0x2F, 0x1F, -1))
    assert await all_listed(registry, prefix="0000002") == list(range(0x2F, 0x1F, -2))
    assert await all_listed(registry, prefix="ff") == []
    assert await all_listed(registry, ended=True, after=registry.runs[4]) == [3, 2, 1, 0]
    registry.looked_through = 3
    assert await all_listed(registry, ended=True, prefix="0000002") == list(range(0x2F, 0x1F, -1)), (
        "some pages are empty"
    )
    assert await all_listed(registry, after=registry.runs[5]) == [3, 1]
    assert await all_listed(registry, after=registry.runs[4]) == [3, 1], "the last run of a page has ended meanwhile"


async def test_invisible_runs_are_skipped_a_few_at_a_time() -> None:
    registry = Registry(*(ended(n, "ada" if n % 300 == 0 else "eve") for n in range(1000)))
    session = FakeSession()
    number = ask(session, registry, ended=True)
    turns = 0
    while not session.forgotten:
        while session.waiting:
            session.turn()
            turns += 1
        await asyncio.sleep(0)
    assert listed(session, number) == [900, 600, 300, 0]
    assert turns >= 1000 // LIST_STEP
    assert set(registry.asked) == {LIST_STEP}
    assert await all_listed(registry, ended=True, owner="ada") == [900, 600, 300, 0]


async def test_a_run_that_ends_during_the_listing_neither_appears_twice_nor_hides_another() -> None:
    registry = Registry(*(active(n) for n in range(250)))
    session = FakeSession()
    number = ask(session, registry)
    session.turn()
    told = 250 - LIST_STEP
    for one in registry.runs[told - 10 : told + 10]:
        assert isinstance(one, LiveRun)
        one.result = RunResult(Exited(code=0), 0, 0, 1.0)
    session.all_turns()
    assert listed(session, number) == [*range(249, told - 1, -1), *range(told - 11, -1, -1)]


async def test_messages_are_no_larger_than_the_clients_limit() -> None:
    registry = Registry(*(active(n, command="\\" * 1000) for n in range(50)))
    session = FakeSession(Limits(login_message=16 * KiB, message=16 * KiB))
    number = ask(session, registry)
    session.all_turns()
    assert listed(session, number) == list(range(50))[::-1]
    assert len(session.received[number]) > 5


async def test_unread_lists_use_little_memory() -> None:
    registry = Registry(*(active(n) for n in range(1000)))
    session = FakeSession()
    for _ in range(100):
        ask(session, registry)
    tracemalloc.start()
    try:
        for _ in range(100):
            session.waiting.rotate(-1)
            session.waiting[0].send_some()
            session.connection.data_to_send()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 100 * 5 * KiB


async def test_a_history_that_cannot_be_read_is_an_error() -> None:
    registry = Registry(ended(1))
    registry.broken = True
    session = FakeSession()
    number = ask(session, registry, ended=True)
    session.all_turns()
    assert session.received[number] == [m.Error(code=ErrorCode.UNAVAILABLE, message="the record cannot be read")]


async def test_nothing_more_is_sent_to_a_client_that_leaves() -> None:
    registry = Registry(*(ended(n, "eve") for n in range(1000)))
    session = FakeSession()
    number = ask(session, registry, ended=True)
    session.turn()
    session.close(number)
    request = m.List()
    other = ListChannel(session, session.open(request), request, registry, after=None, owner=None, sees=lambda _: True)
    other.begin()
    other.lost()
    await asyncio.sleep(0)
    session.turn()
    assert not session.waiting or session.waiting[0] is not other


async def test_a_listed_run_has_all_its_fields() -> None:
    one = active(1, command="cat caf\udce9", stdin=True, keep=True)
    one.pid, one.began = 4242, 1000.0
    one.stdout.append(b"12345")
    one.stdin.received = 9
    reported = info(one, LeftRuns())
    assert reported == m.RunInfo(
        id=one.id, owner="ada", command="cat caf?", began=1000.0, duration=reported.duration, stdout=5, stderr=0,
        stdin=9, pid=4242, attachments=0, on_disconnect="keep",
    )  # fmt: skip
    one.result = RunResult(Signaled(signal=9), 5, 0, 2.5)
    reported = info(one, LeftRuns())
    assert (reported.pid, reported.stdin, reported.duration, reported.outcome) == (None, None, 2.5, Signaled(signal=9))


async def test_a_login_shell_is_listed_with_its_terminal_and_its_clients(tmp_path: Path) -> None:
    terminal = TerminalPlan("xterm", 80, 24)
    shell = run(tmp_path, terminal=terminal, stdin=True, disk_spool=65536, login=True, internal=True)
    session = FakeSession()
    request = m.Attach(id=shell.id, stdin=0, size=m.WindowSize(columns=80, rows=24))
    who = ClientIdentity("a" * 40, "SHA256:x", "192.0.2.7:50214")
    channel = RunChannel(session, session.open(request), shell, request, new=False, who=who)
    shell.attach(Client(), key=None, hold=False, taken={}, feeds=None)
    reported = info(shell, LeftRuns())
    assert (reported.login, reported.tty, reported.internal, reported.attachments) == (True, None, True, 2)
    assert reported.clients == (
        m.ClientInfo(user="a" * 32, key="SHA256:x", address="192.0.2.7:50214", types=True),
        m.ClientInfo(user=""),
    )
    channel.lost()
    assert [one.user for one in info(shell, LeftRuns()).clients] == [""]
    past_shell = info(ended(1, login=True, internal=True), LeftRuns())
    assert (past_shell.login, past_shell.internal, past_shell.clients) == (True, True, ())
    shell.close()


async def test_a_transfer_is_listed_as_one(tmp_path: Path) -> None:
    moving = run(tmp_path, transfer=AllowedTransfer("read", (b"/x",), b"/"))
    assert info(moving, LeftRuns()).transfer
    moving.result = RunResult(Exited(code=0), 0, 0, 1.0)
    assert info(moving.past, LeftRuns()).transfer
    assert not info(run(tmp_path), LeftRuns()).transfer


async def test_a_tunnel_is_listed_as_one(tmp_path: Path) -> None:
    tunnel = run(tmp_path, forward=AllowedForward(ForwardRules(), b"/"))
    assert info(tunnel, LeftRuns()).forward
    tunnel.result = RunResult(Exited(code=0), 0, 0, 1.0)
    assert info(tunnel.past, LeftRuns()).forward
    assert not info(run(tmp_path), LeftRuns()).forward


class LeftRunning(LeftRuns):
    """Runs that have ended but have left processes running."""

    def __init__(self, *runs: PastRun) -> None:
        super().__init__()
        self.runs = runs

    def __iter__(self) -> Iterator[PastRun]:
        return iter(self.runs)

    def describe(self, run_id: str, recorded: m.LeftProcesses | None) -> m.LeftProcesses | None:
        return LEFT if any(run.id == run_id for run in self.runs) else recorded


LEFT = m.LeftProcesses(count=1, names=("sleep",), pids=(7,))


@pytest.mark.parametrize(("features", "expected"), [(FEATURES, [3, 2, 1, 0]), ((), [2, 0])])
async def test_runs_that_have_left_processes_running_are_listed_for_clients_that_know_of_them(
    features: tuple[str, ...], expected: list[int]
) -> None:
    registry = Registry(active(0), ended(1), active(2), ended(3))
    registry.left = LeftRunning(*(one for one in registry.runs if isinstance(one, PastRun)))
    session = FakeSession(features=features)
    number = ask(session, registry)
    session.all_turns()
    assert listed(session, number) == expected
    found = [
        one.left_processes
        for message in session.received[number]
        if isinstance(message, m.Runs)
        for one in message.runs
    ]
    assert found == ([LEFT, None, LEFT, None] if features else [None, None])
    rest = FakeSession(features=features)
    number = ask(rest, registry, after=registry.runs[2])
    rest.all_turns()
    assert listed(rest, number) == [n for n in expected if n < 2]


async def test_a_run_with_a_terminal_is_listed_with_its_size(tmp_path: Path) -> None:
    screen = TerminalPlan("xterm", 80, 24)
    one = run(tmp_path, terminal=screen, disk_spool=65536)
    assert one.timeline is not None
    assert info(one, LeftRuns()).terminal == m.WindowSize(columns=80, rows=24)
    one.timeline.resized(132, 43)
    assert info(one, LeftRuns()).terminal == m.WindowSize(columns=132, rows=43)
    assert info(ended(1, has_terminal=True), LeftRuns()).terminal == m.WindowSize(columns=0, rows=0), (
        "the size is not recorded"
    )
    assert info(ended(2), LeftRuns()).terminal is None
    one.close()
