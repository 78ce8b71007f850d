"""A run as the subreaper knows it."""

from __future__ import annotations

import asyncio
import os

from farhand_server.runs.process.tracked import TrackedRun


async def test_the_end_of_a_leader_is_known_also_if_nobody_waits_for_its_code_any_more() -> None:
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 3"], {})
    run, cancelled = (TrackedRun(pid, 0, None, lambda _: []) for _ in range(2))
    cancelled.exited.cancel()
    _, status, usage = await asyncio.to_thread(os.wait4, pid, 0)
    for each in (run, cancelled):
        each.leader_ended(status, usage)
        assert each.tree.reaped
        assert each.reaped.is_set()
    assert run.exited.result() == 3
    assert cancelled.exited.cancelled()
