"""The record of a run that is over and whose output is gone."""

from __future__ import annotations

from dataclasses import dataclass

from .attachments.attachments import Output
from .output.spool import GoneSpool
from .plan import RunResult


@dataclass(frozen=True, slots=True)
class PastRun:
    """What the history knows about a run.

    `key` is the fingerprint of the key with which its owner was logged in, None for a local client. `fingerprint`
    distinguishes its request from another request with the same id. `keep` tells whether the run was to continue
    without clients, `login` whether it was a login shell, and `internal` whether a program made it for itself,
    `transfer` whether it moved files, and `forward` whether it was a tunnel. `began` is in seconds since the epoch.
    """

    id: str
    owner: str
    key: str | None
    fingerprint: bytes
    command: str
    keep: bool
    has_terminal: bool
    began: float
    pid: int | None
    result: RunResult
    login: bool = False
    internal: bool = False
    transfer: bool = False
    forward: bool = False

    @property
    def duration(self) -> float:
        """Total wall time in seconds."""
        return self.result.duration

    def spool(self, stream: Output) -> GoneSpool:
        """Return a spool that has the length of the stream, but none of its bytes."""
        return GoneSpool(self.result.stdout if stream == "stdout" else self.result.stderr)
