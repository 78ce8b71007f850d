"""What a workload is, and which contestants do it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

FARHAND: Final = "Farhand"
OPENSSH: Final = "OpenSSH"
OPENSSH_AES: Final = "OpenSSH, aes128-gcm"
OPENSSH_MASTER: Final = "OpenSSH, ControlMaster"
OPENSSH_NO_NAGLE: Final = "OpenSSH, no Nagle"
OPENSSH_NO_NAGLE_25519: Final = "OpenSSH, no Nagle, curve25519"
ASYNCSSH: Final = "asyncssh"
FARHAND_API: Final = "Farhand, API"


@dataclass(frozen=True)
class Sample:
    """One measurement: its value in the workload's unit, and, if known, the CPU seconds by process."""

    value: float
    cpu: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Workload:
    """`targets` are the minimum ratios of Farhand to other contestants; `bound` is the maximum of its own median.

    The CPU seconds of a sample are divided by `amount`; `per` is the name of one unit of it.
    """

    name: str
    unit: str
    more_is_better: bool
    contestants: Mapping[str, Callable[[], Awaitable[Sample]]]
    targets: Mapping[str, float]
    amount: float
    per: str
    bound: float | None = None


@dataclass(frozen=True)
class Sizes:
    """The sizes of the workloads: commands per measurement, at least as many as are in flight, bytes of stdout and of a
    file that is shown on a terminal, keys, and keys with a gap before each."""

    commands: int = 1500
    stdout: int = 1 << 30
    shown: int = 100_000_000
    keys: int = 2000
    keys_with_gaps: int = 400
    levels: Sequence[int] = (1, 16, 64)
    """Commands in flight."""
