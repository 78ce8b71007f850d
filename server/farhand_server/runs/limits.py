"""What a run may use of the machine; every bound is optional."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one run, enforced by the kernel: for the whole tree in a cgroup, else for each process (setrlimit(2)).

    `memory` and `file_size` in bytes, `cpu` in seconds of processor time, `processes` and `files` are counts.
    """

    memory: int | None = None
    cpu: float | None = None
    processes: int | None = None
    files: int | None = None
    file_size: int | None = None

    def __bool__(self) -> bool:
        return self != Limits()
