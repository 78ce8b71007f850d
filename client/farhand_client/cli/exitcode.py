"""Which exit code says what became of a run, as shells and timeout(1) say it."""

from __future__ import annotations

import errno
import signal
from typing import Final

from farhand_client.errors import AddressError, AmbiguousId, FarhandError, RequestRefused, SpawnError
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Exited, Killed, Lost, Outcome, Signaled, SpawnFailed, TimedOut

from .main import OURS, USAGE

TIMED_OUT: Final = 124
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127


def exit_code(outcome: Outcome) -> int:
    """Return the exit code of this process: 0 only for a program that came to its own end with 0."""
    match outcome:
        case Exited():
            return outcome.code
        case Signaled():
            return 128 + outcome.signal
        case TimedOut():
            return TIMED_OUT
        case Killed():
            return 128 + outcome.signal if outcome.signal is not None else outcome.code or 128 + signal.SIGTERM
        case SpawnFailed():
            missing = outcome.what == "program" and outcome.errno == errno.ENOENT
            return NOT_FOUND if missing else NOT_EXECUTABLE
        case Lost():
            return OURS


def error_code(error: FarhandError) -> int:
    """Return the exit code of this process where there is no outcome, or only that the program did not start."""
    match error:
        case SpawnError():
            return exit_code(error.outcome)
        case AddressError() | AmbiguousId() | RequestRefused(code=ErrorCode.BAD_PATTERN):
            return USAGE
        case _:
            return OURS
