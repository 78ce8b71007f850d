"""Meters what the processes of a run use, as far as wait4(2) reports it."""

from __future__ import annotations

import asyncio
import functools
import os
import resource
from typing import Final, NamedTuple, Self

from .usage import ResourceUsage

FLOOR_TIME: Final = 1.0
"""Seconds after a start within which the service's own memory peak is read. Only what the service has grown by within
them counts as its own although it was not, when the program was started."""


class MeterSnapshot(NamedTuple):
    """The state of a `UsageMeter`: processor time in seconds, memory in bytes."""

    user: float
    system: float
    peak: int
    floor: int


class PeakFloor:
    """Bytes up to which a memory peak is meaningless for a program: the service's own peak when it was started.

    A leader starts as a vfork of the service, and its peak includes the largest resident set before execve(2), which is
    the service's own. To read it costs as much as a tenth of a short start, so all runs that are started before it is
    read share this. `least` is an older value: a peak that is not above it is meaningless in any case.
    """

    __slots__ = ("_bytes", "_timer", "least")

    def __init__(self, least: int, known: int | None = None) -> None:
        self.least = least
        self._bytes = known
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_read(self) -> bool:
        """Whether the value is that of the past, which does not count for a program that is started now."""
        return self._bytes is not None

    def read(self) -> int:
        """Return the value. It is read once, by the first to ask, or soon after the first start."""
        if self._bytes is None:
            self._bytes = own_peak()
            if self._timer is not None:
                self._timer.cancel()
        return self._bytes

    def read_in(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """Read the value then at the latest: what the service needs later is none of the programs' business."""
        self._timer = loop.call_later(seconds, self.read)


class PeakFloors:
    """Knows the floor for the memory peaks of programs that are started now."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._floor = PeakFloor(0, own_peak())

    def current(self) -> PeakFloor:
        """Return the floor for a program that is about to be started, or has just been."""
        if self._floor.is_read:
            self._floor = PeakFloor(self._floor.read())
            self._floor.read_in(FLOOR_TIME, self._loop)
        return self._floor


class UsageMeter:
    """Adds up what wait4(2) reports about a run's processes: the leader with all children it has waited for, and reaped
    orphans.

    Not included are processes that were killed together with their parents before anybody waited for them and were then
    reaped by a process other than the service, and orphans that are still alive. A cgroup includes all of these.
    """

    def __init__(self, floor: PeakFloor) -> None:
        self._floor = floor
        self._user = self._system = 0.0
        self._peak = 0

    @classmethod
    def restore(cls, snapshot: MeterSnapshot) -> Self:
        """Return a meter that continues from a snapshot."""
        meter = cls(PeakFloor(snapshot.floor, snapshot.floor))
        meter._user, meter._system, meter._peak = snapshot.user, snapshot.system, snapshot.peak
        return meter

    def add(self, usage: resource.struct_rusage) -> None:
        """Add the usage of a process that was waited for."""
        self._user += usage.ru_utime
        self._system += usage.ru_stime
        self._peak = max(self._peak, usage.ru_maxrss << 10)  # KiB: getrusage(2)

    def snapshot(self) -> MeterSnapshot:
        """Return the state for `restore`."""
        return MeterSnapshot(self._user, self._system, self._peak, self._floor.read())

    def usage(self) -> ResourceUsage:
        """Return the sum. The memory peak is that of the largest single process, and is known only if it is above the
        `PeakFloor`."""
        known = self._peak > self._floor.least and self._peak > self._floor.read()
        return ResourceUsage(self._user, self._system, self._peak if known else None)


def own_peak() -> int:
    """Return the largest resident set of this program so far, in bytes (VmHWM, proc_pid_status(5)).

    The value of getrusage(2) does not serve: it includes the peak of the program that executed this one by execve(2).
    """
    text = os.pread(_own_status(), 4096, 0)
    at = text.index(b"VmHWM:") + len(b"VmHWM:")
    return int(text[at : text.index(b"kB", at)]) << 10


@functools.cache
def _own_status() -> int:
    return os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
