"""A run that is over, in the words of `subprocess`.

What is known of a run whose connection is lost for good, as a sentence.
"""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from typing import Any, Final

from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited, Killed, Lost, Outcome, Signaled, SpawnFailed, TimedOut

from .errors import ConnectionLost
from .signals import signal_name


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended, without its output.

    `duration` is wall time on the remote machine in seconds, `stdout` and `stderr` the bytes the program wrote.
    With `lingered` it had left processes behind that still held its output. `usage` is what it has used (`user` and
    `system` in seconds of processor time, `peak_memory` in bytes), `applied` how each limit on it was enforced; both
    where the service says so.
    """

    outcome: Outcome
    run_id: str
    duration: float
    stdout: int
    stderr: int
    lingered: bool
    usage: m.UsageReport | None = None
    applied: m.AppliedBounds | None = None

    @property
    def returncode(self) -> int:
        """As `subprocess.Popen.returncode`."""
        return returncode(self.outcome)


class Completed(subprocess.CompletedProcess[Any]):
    """A `subprocess.CompletedProcess` that also says how the run ended.

    `stdout` and `stderr` are bytes, or str where text was asked for; `duration` is wall time on the remote machine in
    seconds; `usage` and `applied` are as in `Result`. With `truncated` some output was thrown away because it was more
    than `max_output`.
    """

    def __init__(self, args: Any, result: Result, stdout: Any, stderr: Any, *, truncated: bool) -> None:
        super().__init__(args, result.returncode, stdout, stderr)
        self.outcome: Final = result.outcome
        self.run_id: Final = result.run_id
        self.duration: Final = result.duration
        self.usage: Final = result.usage
        self.applied: Final = result.applied
        self.truncated: Final = truncated

    def check_returncode(self) -> None:
        """Raise `CommandError` unless the program exited by itself with code 0."""
        if self.outcome != Exited(code=0):
            from .errors import CommandError

            raise CommandError(self)


def returncode(outcome: Outcome) -> int:
    """Return `outcome` as `subprocess` writes it: the exit code, or minus the signal that ended the program.

    0 only for a program that came to its own end: one that was stopped and then exited with 0 counts as ended by TERM.
    Raises ValueError for a run that has no such number.
    """
    match outcome:
        case Exited():
            return outcome.code
        case Signaled():
            return -outcome.signal
        case TimedOut() | Killed():
            return -outcome.signal if outcome.signal is not None else outcome.code or -signal.SIGTERM
        case SpawnFailed() | Lost():
            raise ValueError(f"a run that is {outcome.status} has no return code")


_KILLED: Final = {
    "requested": "was stopped on request",
    "disconnected": "was stopped because its client had gone",
    "draining": "was stopped because the service shuts down",
    "memory": "was killed because it went beyond its limit on memory",
    "cpu": "was killed because it went beyond its limit on processor time",
    "file_size": "was killed because it went beyond its limit on the size of a file",
    "output": "was stopped because it went beyond its limit on output",
    "spool": "was stopped because its output could not be kept",
}


def describe(outcome: Outcome) -> str:
    """Say how a run ended, as the rest of a sentence that begins with the command."""
    match outcome:
        case Exited():
            return f"exited with code {outcome.code}"
        case Signaled():
            return f"was ended by {signal_name(outcome.signal)}"
        case TimedOut(idle=True):
            return f"was stopped after {outcome.timeout:g} seconds without output"
        case TimedOut():
            return f"was stopped after {outcome.timeout:g} seconds"
        case Killed():
            return _KILLED[outcome.reason] + (f": {outcome.message}" if outcome.message else "")
        case SpawnFailed():
            return f"never ran: {outcome.message}"
        case Lost():
            return "has an unknown end: the service that ran it is gone"


ASSUMED_GRACE: Final = 60.0
"""Seconds that the service goes on with a run nobody holds, unless the request says otherwise."""


def lost_run_error(
    why: ConnectionLost, opening: m.RunRequest | m.Attach, name: str, *, started: bool
) -> ConnectionLost:
    """Return `why` with what is known of the run of `opening`; without `started` not even whether it began."""
    text = f"{why}; run {opening.id} was under way and its end is not known: "
    text += "the command may have run, to whatever point"
    again = f"to take it up again: farhand attach {name} {opening.id}"
    if isinstance(opening, m.Attach):
        text += f"; the service may still know it; {again}"
    elif not started:
        text += "; asked for again under the same id, it does not run twice"
    elif opening.on_disconnect == "keep":
        text += f"; the service keeps it; {again}"
    else:
        grace = ASSUMED_GRACE if opening.grace is None else opening.grace
        text += f"; the service stops it {grace:g} seconds after it lost its client; {again}"
    lost = ConnectionLost(text, run_id=opening.id)
    lost.__cause__ = why.__cause__
    return lost
