"""What a run has used of the machine, and which of its limits ended it.

What a run may use of the machine; every bound is optional.
"""

from __future__ import annotations

import functools
import os
import resource
import signal
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

LimitName = Literal["memory", "cpu", "processes", "files", "file_size"]
Hit = Literal["memory", "cpu", "file_size"]
Enforcer = Literal["cgroup", "rlimit"]


SAMPLED: Final = 0.9
"""Share of a limit on processor time that counts as used up: the kernel enforces it by ticks and reports exact times;
nine tenths were the least in a second of a busy loop."""


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """Processor time in seconds; the peak of memory in bytes, None where it cannot be told."""

    user: float
    system: float
    peak_memory: int | None


class MeterSnapshot(NamedTuple):
    """The state of a `UsageMeter`: processor time in seconds, memory in bytes."""

    user: float
    system: float
    peak: int
    floor: int


class UsageMeter:
    """Adds up what wait4(2) tells of a run's processes: the leader with all it has waited for, and reaped orphans.

    Not in it: processes that were killed with their parents before anyone waited for them and were then reaped by
    another than the service, and orphans that live on. A cgroup counts everyone.
    """

    def __init__(self, counted: MeterSnapshot | None = None) -> None:
        so_far = counted or MeterSnapshot(0.0, 0.0, 0, own_peak())
        self.floor = so_far.floor
        """Bytes of memory up to which a peak says nothing. The leader starts as a vfork of the service, and execve(2)
        counts the largest resident set of the memory that it leaves behind: the service's own."""
        self._user, self._system, self._peak = so_far.user, so_far.system, so_far.peak

    def add(self, usage: resource.struct_rusage) -> None:
        """Count a process that was waited for."""
        self._user += usage.ru_utime
        self._system += usage.ru_stime
        self._peak = max(self._peak, usage.ru_maxrss << 10)  # KiB: getrusage(2)

    def snapshot(self) -> MeterSnapshot:
        """Return the state, with which another `UsageMeter` can continue."""
        return MeterSnapshot(self._user, self._system, self._peak, self.floor)

    def usage(self) -> ResourceUsage:
        """What has come together. The peak is that of the largest single process, and only known above `floor`."""
        return ResourceUsage(self._user, self._system, self._peak if self._peak > self.floor else None)


def own_peak() -> int:
    """The largest resident set of this program so far, in bytes (VmHWM, proc_pid_status(5)).

    getrusage(2) tells more: also what the program had that started this one, which execve(2) counts as ours.
    """
    text = os.pread(_own_status(), 4096, 0)
    at = text.index(b"VmHWM:") + len(b"VmHWM:")
    return int(text[at : text.index(b"kB", at)]) << 10


@functools.cache
def _own_status() -> int:
    return os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)


def enforcers(limits: ResourceLimits, by_cgroup: frozenset[str]) -> dict[LimitName, Enforcer]:
    """Who enforces each limit that is set; `by_cgroup` names those that the run's cgroup does."""
    names: tuple[LimitName, ...] = ("memory", "cpu", "processes", "files", "file_size")
    return {name: "cgroup" if name in by_cgroup else "rlimit" for name in names if getattr(limits, name) is not None}


def limit_hit(limits: ResourceLimits, code: int, usage: ResourceUsage, *, oom_killed: bool) -> Hit | None:
    """Which limit ended a program of this exit `code` (minus the signal's number); None where that cannot be told.

    memory: the kernel's out-of-memory killer was at work in the cgroup. With an rlimit (RLIMIT_AS) allocations fail and
    the program decides, as it does at RLIMIT_NPROC and pids.max, where fork(2) fails: no signal, nothing to be told.
    cpu: SIGXCPU at the soft limit, SIGKILL at the hard one; RLIMIT_CPU counts each process by itself (setrlimit(2)), so
    only the leader's end shows it. file_size: SIGXFSZ, which a program may ignore and see EFBIG instead.
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
    """Bounds on one run, enforced by the kernel: for the whole tree in a cgroup, else for each process (setrlimit(2)).

    `memory` and `file_size` in bytes, `cpu` in seconds of processor time, `processes` and `files` are counts.
    """

    memory: int | None = None
    cpu: float | None = None
    processes: int | None = None
    files: int | None = None
    file_size: int | None = None

    def __bool__(self) -> bool:
        return self != ResourceLimits()
