"""How a run ended, in the terms of `subprocess`, and the errors that report it."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic

from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited, Killed, Lost, Outcome, Signaled, SpawnFailed, TimedOut

from .arguments import shortened
from .errors import ConnectionLost, FarhandError
from .signals import signal_name

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    OutputT_co = TypeVar("OutputT_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    OutputT_co = TypeVar("OutputT_co", covariant=True)

ASSUMED_GRACE: Final = 60.0
"""The service's default grace period in seconds, for errors that say what happens to a run."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended, without its output.

    `duration` is wall time on the remote machine in seconds; `stdout` and `stderr` count the bytes that the program
    wrote. `lingered` says that the program left processes behind which still held its output. `usage` is what the run
    has used (`user` and `system` in seconds of processor time, `peak_memory` in bytes), `applied` how each limit was
    enforced; both are None if the service does not report them. `left_processes` says how many processes the program
    left behind, some of their names, and whether the service has `stopped` them; None if there were none, or if the
    whole run was stopped.
    """

    outcome: Outcome
    run_id: str
    duration: float
    stdout: int
    stderr: int
    lingered: bool
    usage: m.UsageReport | None = None
    applied: m.AppliedBounds | None = None
    left_processes: m.LeftProcesses | None = None

    @property
    def returncode(self) -> int:
        """The exit code, or minus the signal's number, like `subprocess.Popen.returncode`."""
        return returncode(self.outcome)


def reported_result(run_id: str, message: m.Ended) -> Result:
    """Return what the service reports about the end of a run."""
    return Result(
        message.outcome,
        run_id,
        message.duration,
        message.stdout,
        message.stderr,
        message.lingered,
        message.usage,
        message.applied,
        message.left_processes,
    )


class Completed(subprocess.CompletedProcess[Any], Generic[OutputT_co]):
    """A `subprocess.CompletedProcess` that also says how the run ended.

    `stdout` and `stderr` are bytes, or str if text was requested, and None if they were redirected; `duration` is wall
    time on the remote machine in seconds; `usage` and `applied` are as in `Result`. `truncated` says that output beyond
    `max_output` was thrown away.
    """

    stdout: OutputT_co
    stderr: OutputT_co

    def __init__(self, args: Any, result: Result, stdout: OutputT_co, stderr: OutputT_co, *, truncated: bool) -> None:
        super().__init__(args, result.returncode, stdout, stderr)
        self.outcome: Final = result.outcome
        self.run_id: Final = result.run_id
        self.duration: Final = result.duration
        self.usage: Final = result.usage
        self.applied: Final = result.applied
        self.left_processes: Final = result.left_processes
        self.truncated: Final = truncated

    def __repr__(self) -> str:
        # Not the output, as subprocess does: 64 MiB of it in a traceback help nobody.
        sizes = [
            f", {name} of {len(value)} {'characters' if isinstance(value, str) else 'bytes'}"
            for name, value in (("stdout", self.stdout), ("stderr", self.stderr))
            if isinstance(value, str | bytes)
        ]
        return f"<{type(self).__name__} {shortened(self.args)} {describe(self.outcome)}{''.join(sizes)}>"

    def check_returncode(self) -> None:
        """Raise `CommandError` unless the program exited with code 0 of its own accord."""
        if self.outcome != Exited(code=0):
            raise CommandError(self)


class CommandError(FarhandError, subprocess.CalledProcessError):
    """The command did not exit with code 0, and `check` was set. Also a `subprocess.CalledProcessError`."""

    def __init__(self, completed: Completed[Any]) -> None:
        super().__init__(completed.returncode, completed.args, completed.stdout, completed.stderr)
        self.completed: Final = completed
        self.outcome: Final = completed.outcome
        self.run_id: Final = completed.run_id

    def __str__(self) -> str:
        return f"the command {self.cmd!r} {describe(self.outcome)}"


class CommandTimeout(FarhandError, subprocess.TimeoutExpired):
    """The service stopped the command at its timeout. `stdout` and `stderr` are what it had written until then.

    Also a `subprocess.TimeoutExpired`; `timeout` is in seconds.
    """

    def __init__(self, completed: Completed[Any], timeout: float) -> None:
        super().__init__(completed.args, timeout, completed.stdout, completed.stderr)
        self.completed: Final = completed
        self.outcome: Final = completed.outcome
        self.run_id: Final = completed.run_id

    def __str__(self) -> str:
        return f"the command {self.cmd!r} was stopped after {self.timeout:g} seconds"


def returncode(outcome: Outcome) -> int:
    """Return `outcome` as `subprocess` writes it: the exit code, or minus the signal that ended the program.

    0 only for a program that exited of its own accord: one that was stopped and then exited with 0 counts as ended by
    TERM. Raises ValueError for a run that has no such number.
    """
    match outcome:
        case Exited():
            return outcome.code
        case Signaled():
            return -outcome.signal
        case TimedOut() | Killed():
            return -outcome.signal if outcome.signal is not None else outcome.code or -signal.SIGTERM
        case SpawnFailed() | Lost():
            raise ValueError(f"a run whose outcome is {outcome.status} has no return code")


_KILLED: Final = {
    "requested": "was stopped on request",
    "disconnected": "was stopped because its client was gone",
    "draining": "was stopped because the service shut down",
    "memory": "was killed because it exceeded its memory limit",
    "cpu": "was killed because it exceeded its processor time limit",
    "file_size": "was killed because it exceeded its file size limit",
    "output": "was stopped because it exceeded its output limit",
    "spool": "was stopped because its output could not be stored",
}


def describe(outcome: Outcome) -> str:
    """Return how a run ended, as the rest of a sentence that begins with the command."""
    match outcome:
        case Exited():
            return f"exited with code {outcome.code}"
        case Signaled():
            return f"was terminated by {signal_name(outcome.signal)}"
        case TimedOut(idle=True):
            return f"was stopped after {outcome.timeout:g} seconds without output"
        case TimedOut():
            return f"was stopped after {outcome.timeout:g} seconds"
        case Killed():
            return _KILLED[outcome.reason] + (f": {outcome.message}" if outcome.message else "")
        case SpawnFailed():
            return f"never ran: {outcome.message}"
        case Lost():
            return "has an unknown outcome: the service that ran it is gone"


def lost_run_error(
    why: ConnectionLost, opening: m.RunRequest | m.Attach, name: str, *, started: bool
) -> ConnectionLost:
    """Return a copy of `why` that adds what is known of the run requested by `opening` at the service called `name`.

    Without `started`, it is unknown even whether the run started. Nobody has asked for the run of a tunnel, and nobody
    can attach to it: about that one nothing is added.
    """
    if isinstance(opening, m.RunRequest) and opening.forward is not None:
        of_tunnel = ConnectionLost(str(why))
        of_tunnel.__cause__ = why.__cause__
        return of_tunnel
    text = f"{why}; run {opening.id} was under way and its outcome is unknown: "
    text += "the command may have run, up to any point"
    attach = f"to attach to it again: farhand attach {name} {opening.id}"
    if isinstance(opening, m.Attach):
        text += f"; the service may still know it; {attach}"
    elif not started:
        text += "; if it is requested again under the same id, it does not run twice"
    elif opening.on_disconnect == "keep":
        text += f"; the service keeps it; {attach}"
    else:
        grace = ASSUMED_GRACE if opening.grace is None else opening.grace
        text += f"; the service stops it {grace:g} seconds after it lost its client; {attach}"
    lost = ConnectionLost(text, run_id=opening.id)
    lost.__cause__ = why.__cause__
    return lost
