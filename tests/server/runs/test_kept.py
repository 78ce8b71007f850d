"""The output of finished runs is kept within the limits of the retention, and while it is being read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from farhand_server.runs.kept import Retention
from farhand_server.runs.process.process import prepare_loop
from farhand_server.runs.run import LiveRun
from tests.support.processes import reaped
from tests.support.registry import TIMEOUT, MiB, RunWatcher, Service, plan


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A registry on a loop prepared for processes."""
    prepare_loop()
    one = Service(tmp_path)
    yield one
    one.registry.close()
    await reaped(one.others)


async def finished(service: Service, *argv: str, **fields: Any) -> tuple[LiveRun, RunWatcher]:
    """Return a run that has finished, and its client, which has not left yet."""
    run, watcher = service.start(plan(*argv, **fields))
    async with asyncio.timeout(TIMEOUT):
        await watcher.finished.wait()
        await service.registry.idle()
    return run, watcher


OUTPUT = ("head", "-c", "100000", "/dev/zero")


@pytest.mark.parametrize(
    "retention",
    [Retention(1, 3600.0, 1 << 30), Retention(1000, 0.0, 1 << 30), Retention(1000, 3600.0, 150_000)],
    ids=["runs", "seconds", "disk"],
)
async def test_the_output_of_old_runs_is_deleted_unless_it_is_being_read(
    service: Service, retention: Retention, tmp_path: Path
) -> None:
    service.registry.kept.retention = retention
    first, reading = await finished(service, *OUTPUT, disk_spool=MiB)
    second, another = await finished(service, *OUTPUT, disk_spool=MiB)
    assert (first.size, second.size) == (100_000, 100_000)
    another.leave()
    reading.leave()
    kept = [run for run in (first, second) if run.size]
    assert len(kept) == (retention.seconds > 0)
    assert len(list((tmp_path / "spool").iterdir())) == 2 * len(kept)


@pytest.mark.parametrize(
    "retention",
    [Retention(1, 3600.0, 1 << 30, unread_runs=1), Retention(1000, 3600.0, 150_000, unread_disk=50_000)],
    ids=["runs", "disk"],
)
async def test_clients_that_never_read_keep_no_more_runs_and_disk_than_allowed(
    service: Service, retention: Retention, tmp_path: Path
) -> None:
    service.registry.kept.retention = retention
    runs = [(await finished(service, *OUTPUT, disk_spool=MiB))[0] for _ in range(4)]
    assert [run.size for run in runs] == [0, 0, 100_000, 100_000]
    assert len(list((tmp_path / "spool").iterdir())) == 4


async def test_old_output_uses_half_of_the_memory_and_output_being_read_all_of_it_and_what_may_be_unread(
    service: Service,
) -> None:
    service.memory.limit = 220_000
    service.registry.kept.retention = replace(service.registry.kept.retention, unread_memory=30_000)
    runs = []
    for _ in range(3):
        run, reading = await finished(service, *OUTPUT)
        runs.append((run, reading))
    assert [run.size for run, _ in runs] == [0, 100_000, 100_000]
    for _, reading in runs:
        reading.leave()
    assert [run.size for run, _ in runs] == [0, 0, 100_000]


async def test_clients_that_read_slowly_lose_nothing_of_many_runs_that_end_at_once(service: Service) -> None:
    service.memory.limit = 150_000
    runs = [await finished(service, *OUTPUT) for _ in range(5)]
    assert [run.size for run, _ in runs] == [100_000] * 5
    kept = service.registry.kept
    uid = runs[0][0].plan.uid
    assert kept.memory_of(uid) == 0, "what is being read does not make room for more"
    for _, reading in runs:
        reading.leave()
    assert kept.memory_of(uid) == 0
    assert [run.size for run, _ in runs] == [0] * 5


async def test_output_is_deleted_at_the_end_of_its_retention(service: Service) -> None:
    service.registry.kept.retention = Retention(1000, 0.1, 1 << 30)
    run, reading = await finished(service, *OUTPUT)
    reading.leave()
    assert run.size
    async with asyncio.timeout(TIMEOUT):
        while run.size:  # noqa: ASYNC110  # turns of the loop are what is waited for
            await asyncio.sleep(0.01)
    assert service.registry.find(run.plan.id, "ada") is None


async def test_what_one_user_keeps_never_pushes_out_what_others_keep(service: Service) -> None:
    service.registry.kept.retention = Retention(4, 3600.0, 1 << 30)
    precious, reading = await finished(service, *OUTPUT, uid=50_001)
    reading.leave()
    flood = []
    for _ in range(6):
        run, reading = await finished(service, *OUTPUT, uid=50_002)
        reading.leave()
        flood.append(run)
    assert precious.size == 100_000
    assert [run.size for run in flood] == [0, 0, 0, 100_000, 100_000, 100_000]


async def test_what_one_user_does_not_read_never_pushes_out_what_others_keep(service: Service) -> None:
    service.registry.kept.retention = Retention(4, 3600.0, 1 << 30, unread_runs=2)
    precious, reading = await finished(service, *OUTPUT, uid=50_001)
    reading.leave()
    flood = [(await finished(service, *OUTPUT, uid=50_002))[0] for _ in range(6)]
    assert precious.size == 100_000
    assert [run.size for run in flood] == [0, *5 * [100_000]]


async def test_memory_that_one_user_fills_is_taken_from_that_user(service: Service) -> None:
    service.memory.limit = 650_000
    precious, reading = await finished(service, *OUTPUT, uid=50_001)
    reading.leave()
    for _ in range(5):
        _, reading = await finished(service, *OUTPUT, uid=50_002)
        reading.leave()
    assert precious.size == 100_000
    assert service.memory.used <= 325_000
    assert service.registry.kept.memory_of(50_001) == 100_000
    assert service.registry.kept.memory_of(50_002) == 200_000
