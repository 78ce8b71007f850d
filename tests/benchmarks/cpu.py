"""The CPU time that Farhand's service uses: steadier than wall time on a shared machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")


class Meter:
    """Reads the CPU seconds of a running `farhandd serve` and its edge, in ticks of 10 ms (proc(5)): too coarse for one
    run, precise enough for a thousand."""

    def __init__(self, core: int) -> None:
        self._core = core
        supervisor = next(pid for pid in _children(core) if b"edge" in Path(f"/proc/{pid}/cmdline").read_bytes())
        self._edge = [supervisor, *_children(supervisor)]

    def read(self) -> Mapping[str, float]:
        """Return the seconds used so far by the core, the edge, and the commands that the core has waited for."""
        user, system, children_user, children_system = _times(self._core)
        return {
            "core": user + system,
            "edge": sum(sum(_times(each)[:2]) for each in self._edge),
            "commands": children_user + children_system,
        }


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process has used so far."""
    return sum(_times(pid)[:2])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _times(pid: int) -> list[float]:
    # After the name in parentheses, which may contain any character, come the state and ten more fields.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) * _TICK for field in fields[11:15]]
