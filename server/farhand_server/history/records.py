"""What the history holds of a run, and what it can say of an id."""

from __future__ import annotations

import re
from dataclasses import dataclass

_VERSION_7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class HistoryError(Exception):
    """The history cannot be used or written; the text says where, why and what to do.

    `ids` are the runs that must not be started, since their start is not written down.
    """

    def __init__(self, sentence: str, ids: frozenset[str] = frozenset()) -> None:
        super().__init__(sentence)
        self.ids = ids


@dataclass(frozen=True, slots=True)
class Record:
    """One run. What is not known (yet) is None; a run without an outcome is under way.

    Times are seconds since 1970 by the wall clock, for people; `duration` is in seconds by a monotonic clock.
    """

    id: str
    owner: str
    uid: int
    how: str
    """How the owner logged in: `key` or `peer`."""
    fingerprint: str | None
    """Of the key, as `SHA256:…`."""
    peer: str | None
    """The client's address, as it stands in the log."""
    request: bytes
    """JSON, as the policy lets it be kept."""
    request_sha256: bytes
    """32 bytes, over the whole request: two starts with the same id are the same run where it is equal."""
    requested_at: float
    pid: int | None = None
    start_ticks: int | None = None
    """The process's start in clock ticks since boot: field 22 of /proc/PID/stat (proc_pid_stat(5))."""
    boot_id: str | None = None
    """/proc/sys/kernel/random/boot_id (proc_sys_kernel(5)) when it was started."""
    cgroup: str | None = None
    """The directory of the run's cgroup, absolute."""
    ended_at: float | None = None
    outcome: bytes | None = None
    """JSON of an `Outcome`."""
    stdout: int | None = None
    """Bytes written."""
    stderr: int | None = None
    duration: float | None = None
    usage: bytes | None = None
    """JSON."""
    lingered: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """There is a record of the run."""

    record: Record


@dataclass(frozen=True, slots=True)
class Expired:
    """A run of this id may have been started and forgotten; it must not be started. `reason` is a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """No run of this id was started."""


State = Known | Expired | Unknown


def made_at(id: str) -> float | None:
    """Seconds since 1970 at which a UUIDv7 says that it was made (RFC 9562, section 5.7); None for other ids."""
    return int(id[:8] + id[9:13], 16) / 1000 if _VERSION_7.fullmatch(id) else None
