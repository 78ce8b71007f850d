"""What a workload is, which contestants do it, and what Farhand has to reach in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

FARHAND: Final = "Farhand"
FARHAND_DIRECT: Final = "Farhand, direct"
FARHAND_HELPER: Final = "Farhand, helper"
FARHAND_PYTHON_FRONT: Final = "Farhand, helper, Python front"
FARHAND_API: Final = "Farhand, API"
FARHAND_NO_FSYNC: Final = "Farhand, not waiting for the disk"
OPENSSH: Final = "OpenSSH"
OPENSSH_AES: Final = "OpenSSH, aes128-gcm"
OPENSSH_MASTER: Final = "OpenSSH, ControlMaster"
OPENSSH_NO_NAGLE: Final = "OpenSSH, no Nagle"
OPENSSH_NO_NAGLE_25519: Final = "OpenSSH, no Nagle, curve25519"
ASYNCSSH: Final = "asyncssh"
DROPBEAR: Final = "Dropbear"
SCP: Final = "scp"
RSYNC: Final = "rsync"


@dataclass(frozen=True)
class Sample:
    """One measurement: its value in the workload's unit, and, if known, the CPU seconds by process."""

    value: float
    cpu: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Goal:
    """`ours` has to be `factor` times as good as `theirs`: twice as fast is 2, whether in seconds or per second.

    Without `theirs`, `factor` is the bound of the median itself, in the workload's unit.
    """

    ours: str
    factor: float
    theirs: str | None = None


@dataclass(frozen=True)
class Workload:
    """`contestants` take turns; the others are compared with the first.

    The CPU seconds of a sample are divided by `amount`; `per` is the name of one unit of it.
    """

    name: str
    unit: str
    more_is_better: bool
    contestants: Mapping[str, Callable[[], Awaitable[Sample]]]
    goals: Sequence[Goal] = ()
    amount: float = 1
    per: str = "run"
    digits: int = 0
    """Decimals of the values in the table."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of the workloads."""

    commands: int = 1500
    """Commands in one measurement of commands in flight, at least as many as are in flight."""
    processes: int = 40
    """Client processes in one measurement of them, one after the other; a quarter of it for those that are slow."""
    stdout: int = 1 << 30
    """Bytes of a stream."""
    shown: int = 100_000_000
    """Bytes of a file that is shown on a terminal."""
    keys: int = 2000
    keys_with_gaps: int = 400
    levels: Sequence[int] = (1, 16, 64)
    """Commands in flight."""
    hosts: int = 64
    """Connections that run one command each."""
    probes: int = 200
    """Commands of which the slowest hundredth is looked at."""
    idle: int = 500
    """Idle connections whose memory is measured."""
    slope: Sequence[int] = (1, 10, 100, 1000, 5000)
    """Connections, and up to 2,000 runs, in the table of what one more costs."""
    file: int = 256 << 20
    """Bytes of a large file."""
    files: int = 2000
    """Number of small files, of 4 KiB each."""
    tree: int = 100_000
    """Files of a tree that is up to date."""
    connections: int = 1000
    """Connections at once through one forward."""
    datagrams: int = 200_000
    """Datagrams through one forward."""
