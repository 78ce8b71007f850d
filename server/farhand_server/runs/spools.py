"""Which spools a run gets."""

from __future__ import annotations

from pathlib import Path

from .filespool import FileSpool
from .plan import Plan
from .spool import Memory, MemorySpool, Spool


def make_spools(plan: Plan, memory: Memory, directory: Path) -> tuple[Spool, Spool]:
    """Return new spools for stdout and stderr. Raises OSError where those on disk cannot be made."""
    if plan.disk_spool is None:
        return MemorySpool(plan.spool, memory), MemorySpool(plan.spool, memory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stdout = FileSpool(directory / f"{plan.id}.stdout", plan.disk_spool, whole=plan.record)
    if plan.terminal is not None:
        stderr = MemorySpool(plan.spool, memory)
        stderr.finish()  # a terminal has one stream
        return stdout, stderr
    try:
        return stdout, FileSpool(directory / f"{plan.id}.stderr", plan.disk_spool, whole=plan.record)
    except OSError:
        stdout.close()
        raise
