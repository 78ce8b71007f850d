"""Every run is started once, comes to its end whatever happens on the way, and is found by its id at any time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest

from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Exited, Killed, Lost
from farhand_server.forwards.rules import ForwardRules
from farhand_server.runs import registry as registry_module
from farhand_server.runs.output.filespool import FileSpool
from farhand_server.runs.plan import AllowedForward
from farhand_server.runs.process import process as process_module
from farhand_server.runs.process.process import prepare_loop
from farhand_server.runs.registry import (
    RecordUnavailable,
    RunExpired,
    ServiceDraining,
    TooManyRuns,
)
from tests.support.processes import descriptors, reaped, session_is_gone
from tests.support.registry import TIMEOUT, MiB, Service, plan


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A registry on a loop prepared for processes."""
    prepare_loop()
    one = Service(tmp_path)
    yield one
    one.registry.close()
    await reaped(one.others)


async def test_every_step_of_a_run_is_recorded_in_order(service: Service) -> None:
    _, watcher = service.start(plan("sh", "-c", "exit 3", run_id="one"))
    assert len(service.registry) == 1
    await service.idle()
    assert watcher.calls == ["started", "ended"]
    assert watcher.result is not None
    assert watcher.result.outcome == Exited(code=3)
    assert service.ledger.records == ["starting one", "started one", "ended one"]
    assert len(service.registry) == 0


async def test_a_program_whose_last_output_could_not_be_kept_has_not_succeeded(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(self: object, data: bytes) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileSpool, "_write", write)
    # The exit is known before the output is read from the pipes: the loop stands still until both are there.
    run, watcher = service.start(plan("sh", "-c", "echo lost; exit 0", disk_spool=MiB))
    async with asyncio.timeout(TIMEOUT):
        await watcher.running.wait()
    assert run.pid is not None
    with contextlib.suppress(ChildProcessError):  # it has been reaped already
        os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  # as said
    await service.idle()
    assert watcher.result is not None
    assert isinstance(watcher.result.outcome, Killed)
    assert (watcher.result.outcome.reason, watcher.result.outcome.code) == ("spool", 0)


async def test_no_start_and_no_end_takes_effect_before_it_is_recorded(service: Service, tmp_path: Path) -> None:
    service.ledger.commit.clear()
    run, watcher = service.start(plan("touch", str(tmp_path / "mark")))
    for _ in range(20):
        await asyncio.sleep(0)
    assert (watcher.calls, run.pid, (tmp_path / "mark").exists()) == ([], None, False)
    service.ledger.commit.set()
    async with asyncio.timeout(TIMEOUT):
        await watcher.running.wait()
        service.ledger.commit.clear()
        while not service.ended:  # noqa: ASYNC110  # it waits for iterations of the loop
            await asyncio.sleep(0)
    assert (watcher.calls, run.announced) == (["started"], False)
    service.ledger.commit.set()
    await service.idle()
    assert (watcher.calls, run.announced) == (["started", "ended"], True)


async def test_a_run_is_found_by_its_id_at_any_time(service: Service) -> None:
    run, _ = service.start(plan("true", run_id="one"))
    assert service.registry.find("one", "ada") is run
    assert service.registry.find("two", "ada") is None
    await service.idle()
    assert service.registry.find("one", "ada") is run


async def test_a_second_run_with_the_same_id_is_never_started(service: Service) -> None:
    wanted = plan("true")
    service.start(wanted)
    for _ in range(2):
        with pytest.raises(ValueError, match="already exists"):
            service.registry.start(wanted, max_runs=10)
        await service.idle()
    assert service.ledger.records.count(f"starting {wanted.id}") == 1


async def test_a_forgotten_run_is_expired_and_not_unknown(service: Service) -> None:
    service.ledger.forgotten.add("one")
    with pytest.raises(RunExpired):
        service.registry.find("one", "ada")


async def test_a_run_that_cannot_be_recorded_does_not_start(service: Service) -> None:
    service.ledger.refused = {"one": "the disk is full"}
    run, watcher = service.start(plan("true", run_id="one"))
    _, other = service.start(plan("true", run_id="two"))
    await service.idle()
    assert watcher.calls == [f"failed: {ErrorCode.UNAVAILABLE}"]
    assert other.calls == ["started", "ended"]
    assert run.pid is None
    service.ledger.refused = {}
    service.ledger.broken = True
    with pytest.raises(RecordUnavailable):
        service.start(plan("true", run_id="one"))
    service.ledger.broken = False
    assert service.start(plan("true", run_id="one"))[0] is not run
    await service.idle()


async def test_a_refusal_that_cannot_be_announced_does_not_keep_other_runs_from_starting(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(code: ErrorCode, sentence: str) -> NoReturn:
        raise RuntimeError("a bug")

    service.ledger.refused = {"one": "the disk is full"}
    _, unreported = service.start(plan("true", run_id="one"))
    monkeypatch.setattr(unreported, "failed", bug)
    _, other = service.start(plan("true", run_id="two"))
    await service.idle()
    assert other.calls == ["started", "ended"]
    assert [str(error) for error in service.failed] == ["a bug"]


async def test_a_run_whose_output_cannot_be_kept_does_not_start(service: Service, tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where a directory should be")
    with pytest.raises(RecordUnavailable, match="cannot be kept on disk: "):
        service.start(plan("true", disk_spool=MiB))
    assert service.ledger.records == []
    assert len(service.registry) == 0


async def test_a_start_that_fails_leaves_no_file_and_can_be_tried_again(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing() -> None:
        raise AttributeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(service.ledger, "soon", failing)
        with pytest.raises(AttributeError, match="a bug"):
            service.start(plan("true", run_id="one", disk_spool=MiB))
    assert list((tmp_path / "spool").iterdir()) == []
    service.start(plan("true", run_id="one", disk_spool=MiB))
    await service.idle()


async def test_no_more_runs_are_started_than_allowed(service: Service) -> None:
    service.start(plan("true"), max_runs=1)
    with pytest.raises(TooManyRuns, match="1 runs"):
        service.start(plan("true"), max_runs=1)
    await service.idle()
    service.start(plan("true"), max_runs=1)
    await service.idle()


async def test_a_draining_service_starts_nothing_but_finds_known_runs(service: Service) -> None:
    known = plan("true")
    service.start(known)
    service.registry.refuse_new()
    with pytest.raises(ServiceDraining):
        service.start(plan("true"))
    service.start(known)
    await service.idle()


async def test_all_runs_are_stopped_within_the_grace_period_of_the_service(service: Service) -> None:
    watchers = []
    for _ in range(3):
        _, watcher = service.start(plan("sh", "-c", "trap '' TERM; sleep 60", kill_after=3600))
        async with asyncio.timeout(TIMEOUT):
            await watcher.running.wait()
        watchers.append(watcher)
    service.registry.stop_all("draining", kill_after=0.1)
    await service.idle()
    for watcher in watchers:
        assert watcher.result is not None
        assert isinstance(watcher.result.outcome, Killed)
        assert watcher.result.outcome.reason == "draining"


async def test_a_run_ends_without_clients(service: Service) -> None:
    run, watcher = service.start(plan("sh", "-c", "trap '' TERM; head -c 10000000 /dev/zero"))
    writing = asyncio.Event()
    run.stdout.listeners.append(writing.set)
    async with asyncio.timeout(TIMEOUT):
        await writing.wait()
    run.stop("requested", 60)
    watcher.leave()
    await service.idle()
    assert service.ended == [run]
    assert run.stdout.end == 10_000_000


async def test_a_bug_before_the_start_is_reported_and_leaves_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*arguments: object, **options: object) -> NoReturn:
        raise RuntimeError("a bug")

    before = descriptors(os.getpid())
    monkeypatch.setattr(process_module.Process, "start", bug)
    run, watcher = service.start(plan("true"))
    await service.idle()
    assert watcher.calls == [f"failed: {ErrorCode.INTERNAL}"]
    assert [str(error) for error in service.failed] == ["a bug"]
    assert descriptors(os.getpid()) <= before
    assert run.result is not None
    assert run.result.outcome == Lost()


async def test_a_bug_at_the_start_ends_the_program(service: Service) -> None:
    def bug() -> NoReturn:
        raise RuntimeError("a bug")

    before = descriptors(os.getpid())
    run, watcher = service.start(plan("sleep", "60"), on_start=bug)
    await service.idle()
    assert watcher.calls == ["started", f"failed: {ErrorCode.INTERNAL}"]
    assert [str(error) for error in service.failed] == ["a bug"]
    assert run.pid is not None
    await session_is_gone(run.pid)
    await reaped(service.others)
    assert descriptors(os.getpid()) <= before


async def test_a_large_request_counts_in_the_accounts_memory_while_its_run_is_active(service: Service) -> None:
    memory = service.registry.memory
    large = plan("sh", "-c", "exit 0", *["x" * 100_000] * 4, uid=50001)
    small = plan("sh", "-c", "exit 0", "x" * 10_000, uid=50002)
    assert (small.request_size, large.request_size // 100_000) == (0, 4)
    for each in (large, small):
        service.start(each)
    assert {uid: memory.by_user.of(uid) for uid in memory.by_user} == {50001: large.request_size}
    await service.idle()
    assert memory.used == 0
    assert plan("env", env={b"NAME": bytes(100_000)}).request_size > 100_000


async def test_signals_after_the_end_are_not_delivered(service: Service) -> None:
    run, watcher = service.start(plan("true"))
    await service.idle()
    assert not run.signal(signal.SIGKILL)
    run.stop("requested")
    run.stdin.write(watcher.place, b"late")
    run.stdin.end(watcher.place)
    assert watcher.calls == ["started", "ended"]


async def test_a_flood_of_one_accounts_runs_does_not_hold_up_anothers(service: Service) -> None:
    for number in range(30):
        service.start(plan("true", run_id=f"eve {number}", uid=50_001), max_runs=100)
    service.start(plan("true", run_id="ada", uid=50_002), max_runs=100)
    assert (service.registry.by_user.of(50_001), service.registry.by_rule.of((50_002, ""))) == (30, 1)
    await service.idle()
    started = [record for record in service.ledger.records if record.startswith("started")]
    assert (len(started), started.index("started ada") < 10) == (31, True)
    assert (service.registry.by_user.total, service.registry.by_rule.total) == (0, 0)


async def test_a_tunnel_is_known_by_its_pid_and_nobody_waits_for_its_end(service: Service) -> None:
    tunnel = plan("forward", run_id="t", stdin=True, forward=AllowedForward(ForwardRules(), b"/"))
    run, watcher = service.start(tunnel)
    async with asyncio.timeout(TIMEOUT):
        await watcher.running.wait()
        await service.registry.done()
    assert service.registry.tunnels == {run.pid}
    run.stop("requested")
    await service.idle()
    assert service.registry.tunnels == {run.pid}, "what it has sent to the service may still wait in a queue"


async def test_a_tunnel_that_is_over_is_forgotten_after_a_while(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "TUNNEL_REMEMBERED", 0.0)
    tunnel = plan("forward", run_id="t", stdin=True, forward=AllowedForward(ForwardRules(), b"/"))
    run, watcher = service.start(tunnel)
    async with asyncio.timeout(TIMEOUT):
        await watcher.running.wait()
        assert service.registry.tunnels == {run.pid}
        run.stop("requested")
        while service.registry.tunnels:  # noqa: ASYNC110  # a few turns of the loop after its end
            await asyncio.sleep(0)
    assert len(service.registry) == 0
