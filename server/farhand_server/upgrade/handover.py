"""All runs of a registry on their way to the program that replaces this one by execve(2)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from ..runs.freeze import freeze, steady
from ..runs.frozen import Get, Put, RunSnapshot
from ..runs.registry import Registry, _on_disk
from ..runs.thaw import thaw

RETURN: Final = 30.0
"""Seconds that every client has at least to come back after an upgrade, whatever its grace: it was not the client who
went. Its attempts are five seconds apart at the most, and a machine may be busy."""


def wait_longer(registry: Registry) -> None:
    """Let nothing end because all clients are about to be cut off."""
    for run in registry._runs.values():
        run.attachments._grace = max(run.plan.grace, RETURN)
    for _, run in registry._kept.values():
        run.attachments.on_deserted = None


def wait_as_usual(registry: Registry) -> None:
    """Take that back."""
    for run in registry._runs.values():
        run.attachments._grace = run.plan.grace
    for _, run in registry._kept.values():
        run.attachments.on_deserted = registry._deserted


async def settle(registry: Registry) -> None:
    """Wait until no run is just being started, or just being put on record; nobody may ask for a new one meanwhile."""
    while not settled(registry):
        registry.moved.clear()
        await registry.moved.wait()


def settled(registry: Registry) -> bool:
    """Whether `take_apart` finds every run."""
    return all(steady(run) for run in registry._runs.values())


def take_apart(registry: Registry, put: Put) -> tuple[RunSnapshot, ...]:
    """Return what goes along of all runs that can be taken apart now, the oldest first; they can go on here as well."""
    live = [freeze(run, put) for run in registry._runs.values() if steady(run)]
    kept = [freeze(run, put, kept_until=until) for until, run in registry._kept.values()]
    return (*kept, *live)


def put_together(registry: Registry, frozen: Iterable[RunSnapshot], get: Get) -> None:
    """Have all runs go on; in the turn of the loop of `prepare_loop`. Raises OSError and ChildProcessError."""
    for each in frozen:
        run = thaw(each, get, registry.memory, registry._cgroups)
        if each.kept_until is None:
            registry._runs[run.plan.id] = run
            registry._idle.clear()
            registry._execute(run)
        else:
            until = max(each.kept_until, time.monotonic() + RETURN)
            registry._kept[run.plan.id] = (until, run)
            registry._disk += _on_disk(run)
            run.attachments.on_deserted = registry._deserted
    registry._expire()


def awaited(frozen: Iterable[RunSnapshot]) -> list[int]:
    """The pids of all leaders that nobody has waited for yet."""
    processes = (run.process for run in frozen if run.process is not None)
    return [process.handover.pid for process in processes if process.handover.code is None]
