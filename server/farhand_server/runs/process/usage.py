"""What a run may use, what it has used, and which of its limits has ended it."""

from __future__ import annotations

import functools
import signal
from dataclasses import dataclass
from typing import Final, Literal

LimitName = Literal["memory", "cpu", "processes", "files", "file_size"]
Hit = Literal["memory", "cpu", "file_size"]
Enforcer = Literal["cgroup", "rlimit"]


SAMPLED: Final = 0.9
"""Fraction of a processor time limit from which the limit counts as reached. The kernel enforces the limit by ticks but
reports exact times; for a busy loop of one second, these were at least nine tenths of the limit."""


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """Processor time in seconds, and the memory peak in bytes, None if it is unknown."""

    user: float
    system: float
    peak_memory: int | None


def enforcers(limits: ResourceLimits, by_cgroup: frozenset[str]) -> dict[LimitName, Enforcer]:
    """Return what enforces each limit that is set. `by_cgroup` names the limits that the run's cgroup enforces."""
    if not limits:
        return {}
    names: tuple[LimitName, ...] = ("memory", "cpu", "processes", "files", "file_size")
    return {name: "cgroup" if name in by_cgroup else "rlimit" for name in names if getattr(limits, name) is not None}


def rlimit_of_processes_binds(uid: int) -> bool:
    """Return whether RLIMIT_NPROC limits this account. The kernel exempts root, but not the root of a user namespace
    (setrlimit(2), user_namespaces(7))."""
    return uid != 0 or not _root_is_root()


@functools.cache
def _root_is_root() -> bool:
    with open("/proc/self/uid_map") as ids:  # noqa: PTH123  # one short read
        inside, outside, _ = ids.readline().split()
    return inside == outside == "0"


def limit_hit(limits: ResourceLimits, code: int, usage: ResourceUsage, *, oom_killed: bool) -> Hit | None:
    """Return which limit has ended a program with this exit `code` (or negated signal number); None if unknown.

    - memory: the kernel's out-of-memory killer has killed a process in the cgroup. With an rlimit (RLIMIT_AS),
      allocations fail and the program decides what to do, as it does when fork(2) fails at RLIMIT_NPROC or pids.max. No
      signal reports that.
    - cpu: SIGXCPU at the soft limit, SIGKILL at the hard limit. RLIMIT_CPU counts each process separately
      (setrlimit(2)), so only the leader's end shows it.
    - file_size: SIGXFSZ. A program may ignore it and get EFBIG instead.
    """
    if oom_killed and code:
        return "memory"
    if limits.cpu is not None:
        used_up = usage.user + usage.system >= limits.cpu * SAMPLED
        if code == -signal.SIGXCPU or (code == -signal.SIGKILL and used_up):
            return "cpu"
    if limits.file_size is not None and code == -signal.SIGXFSZ:
        return "file_size"
    return None


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Limits on one run, all optional. The kernel enforces them for the whole tree in a cgroup, or else for each
    process (setrlimit(2)).

    `memory` and `file_size` are in bytes, `cpu` in seconds of processor time; `processes` and `files` are counts.
    """

    memory: int | None = None
    cpu: float | None = None
    processes: int | None = None
    files: int | None = None
    file_size: int | None = None

    def __bool__(self) -> bool:
        return not (  # quicker than a comparison with another object
            self.memory is None
            and self.cpu is None
            and self.processes is None
            and self.files is None
            and self.file_size is None
        )
