"""The resources that a run used are reported as far as they are known, and no further."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_server.runs.process.usage import (
    Hit,
    ResourceLimits,
    ResourceUsage,
    enforcers,
    limit_hit,
    rlimit_of_processes_binds,
)
from tests.support.started_programs import nothing_left, started, wait_until_reaped

BUSY = "import time\nwhile time.process_time() < 0.2: pass"


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with nothing_left():
        yield


def test_an_rlimit_on_processes_binds_everybody_but_root() -> None:
    assert rlimit_of_processes_binds(1000)
    with Path("/proc/self/uid_map").open() as ids:
        outermost = ids.readline().split()[:2] == ["0", "0"]
    assert rlimit_of_processes_binds(0) is not outermost


async def test_the_processor_time_of_a_program_is_counted() -> None:
    async with started(sys.executable, "-c", BUSY) as run:
        await run.code()
        usage = run.process.usage()
        assert 0.15 < usage.user + usage.system < 5


async def test_the_usage_of_reaped_children_is_counted() -> None:
    async with started("sh", "-c", f"{sys.executable} -c '{BUSY}'; exit 0") as run:
        await run.code()
        usage = run.process.usage()
        assert usage.user + usage.system > 0.15


async def test_orphans_are_counted_once_they_are_reaped() -> None:
    orphan = f"(setsid {sys.executable} -c '{BUSY}\nimport os; print(os.getpid(), flush=True); time.sleep(999)' &)"
    async with started("sh", "-c", orphan) as run:
        pid = await run.pid()
        await run.code()
        before = run.process.usage()
        assert before.user + before.system < 0.15
        await run.killed()
        await wait_until_reaped(pid)
        after = run.process.usage()
        assert after.user + after.system > 0.15


CPU = ResourceLimits(cpu=2)
HITS: list[tuple[ResourceLimits, int, float, bool, Hit | None]] = [
    (ResourceLimits(memory=1), -signal.SIGKILL, 0, True, "memory"),
    (ResourceLimits(memory=1), 137, 0, True, "memory"),
    (ResourceLimits(memory=1), 0, 0, True, None),
    (ResourceLimits(memory=1), -signal.SIGKILL, 0, False, None),
    (CPU, -signal.SIGXCPU, 2, False, "cpu"),
    (CPU, -signal.SIGKILL, 1.85, False, "cpu"),
    (CPU, -signal.SIGKILL, 1.5, False, None),
    (CPU, 0, 3, False, None),
    (ResourceLimits(), -signal.SIGXCPU, 2, False, None),
    (ResourceLimits(file_size=1), -signal.SIGXFSZ, 0, False, "file_size"),
    (ResourceLimits(), -signal.SIGXFSZ, 0, False, None),
    (ResourceLimits(processes=1), 1, 0, False, None),
]


@pytest.mark.parametrize(("limits", "code", "seconds", "oom_killed", "hit"), HITS)
def test_the_limit_that_ended_a_program_is_inferred_from_its_end_and_usage(
    limits: ResourceLimits, code: int, seconds: float, oom_killed: bool, hit: Hit | None
) -> None:
    assert limit_hit(limits, code, ResourceUsage(seconds, 0, None), oom_killed=oom_killed) == hit


def test_only_limits_that_are_set_are_enforced() -> None:
    assert enforcers(ResourceLimits(), frozenset({"memory"})) == {}
    assert enforcers(ResourceLimits(memory=0, files=3), frozenset({"memory"})) == {
        "memory": "cgroup",
        "files": "rlimit",
    }
