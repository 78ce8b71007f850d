"""Which spools a run gets."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from farhand_protocol.limits import KiB

from .filespool import FileSpool
from .plan import Plan
from .spool import Memory, MemorySpool, Spool

SPARE: Final = 512 * KiB
"""Bytes of a terminal's output that are kept in memory where the disk takes no more: twice what may be under way to a
client (`limits.TERMINAL_WINDOW`), so that whoever is connected loses nothing. Nobody's shell shall end because another
has filled the disk, least of all the one in which that is put right."""


def spare(plan: Plan) -> int:
    """Return how many bytes go on in memory where the disk fails; none of what has to be recorded."""
    return 0 if plan.terminal is None or plan.record else SPARE


def make_spools(plan: Plan, memory: Memory, directory: Path) -> tuple[Spool, Spool]:
    """Return new spools for stdout and stderr. Raises OSError where those on disk cannot be made."""
    if plan.disk_spool is None:
        return MemorySpool(plan.spool, memory), MemorySpool(plan.spool, memory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stdout = FileSpool(directory / f"{plan.id}.stdout", plan.disk_spool, whole=plan.record, spare=spare(plan))
    if plan.terminal is not None:
        stderr = MemorySpool(plan.spool, memory)
        stderr.finish()  # a terminal has one stream
        return stdout, stderr
    try:
        return stdout, FileSpool(directory / f"{plan.id}.stderr", plan.disk_spool, whole=plan.record)
    except OSError:
        stdout.close()
        raise
