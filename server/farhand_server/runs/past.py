"""A run that is over and whose output is gone: what is on record of it."""

from __future__ import annotations

from dataclasses import dataclass

from .attachments.attachments import Output
from .output.spool import GoneSpool
from .plan import RunResult


@dataclass(frozen=True, slots=True)
class PastRun:
    """What the history knows of a run.

    `key` is the fingerprint of the key by which its owner was logged in, None for a local client. `fingerprint` tells
    its request from another with the same id. `keep` is whether it was to continue without clients. `began` is in
    seconds since the epoch.
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

    @property
    def duration(self) -> float:
        """Seconds of wall time in all."""
        return self.result.duration

    def spool(self, stream: Output) -> GoneSpool:
        """Return a spool that has the length of a stream, and nothing else of it."""
        return GoneSpool(self.result.stdout if stream == "stdout" else self.result.stderr)
