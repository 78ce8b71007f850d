"""The exit codes of `farhand`, as shells and timeout(1) use them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from farhand_client.errors import FarhandError
    from farhand_protocol.outcome import Outcome

EXIT_NO_MATCH: Final = 1
"""`wait` for output: the run ended without a match, as with grep(1)."""

EXIT_FAULTS: Final = 1
"""`status`: the service has answered, and has faults."""

EXIT_INCOMPLETE: Final = 1
"""A transfer: some of the files failed."""

EXIT_USAGE: Final = 2
"""Wrong usage, or a HOST, id or `config.toml` that cannot be understood."""

EXIT_TIMED_OUT: Final = 124
"""As timeout(1)."""

EXIT_NOT_EXECUTABLE: Final = 126

EXIT_NOT_FOUND: Final = 127

EXIT_HUNG_UP: Final = 129
"""128 + SIGHUP: the terminal is gone."""

EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, as shells report it."""

EXIT_BROKEN_PIPE: Final = 141
"""128 + SIGPIPE, as for a local command whose reader is gone."""

EXIT_FAILURE: Final = 255
"""The connection, the login or the host key failed, as in ssh(1), or something else on the client's side."""


def outcome_exit_code(outcome: Outcome) -> int:
    """Return the exit code for a run's outcome: 0 only for a program that exited by itself with 0."""
    import errno
    import signal

    from farhand_protocol.outcome import Exited, Killed, Lost, Signaled, SpawnFailed, TimedOut

    match outcome:
        case Exited():
            return outcome.code
        case Signaled():
            return 128 + outcome.signal
        case TimedOut():
            return EXIT_TIMED_OUT
        case Killed():
            return 128 + outcome.signal if outcome.signal is not None else outcome.code or 128 + signal.SIGTERM
        case SpawnFailed():
            missing = outcome.what == "program" and outcome.errno == errno.ENOENT
            return EXIT_NOT_FOUND if missing else EXIT_NOT_EXECUTABLE
        case Lost():
            return EXIT_FAILURE


def ssh_exit_code(outcome: Outcome) -> int:
    """Return the exit code of ssh(1) for a run's outcome: of a command that a signal ended, ssh only knows that."""
    from farhand_protocol.outcome import Exited, SpawnFailed

    return outcome_exit_code(outcome) if isinstance(outcome, Exited | SpawnFailed) else EXIT_FAILURE


def error_exit_code(error: FarhandError) -> int:
    """Return the exit code for an error: the outcome is unknown, or the program did not start."""
    from farhand_client.errors import AddressError, AmbiguousId, RequestRefused, SpawnError
    from farhand_protocol.errors import ErrorCode

    match error:
        case SpawnError():
            return outcome_exit_code(error.outcome)
        case AddressError() | AmbiguousId() | RequestRefused(code=ErrorCode.BAD_PATTERN):
            return EXIT_USAGE
        case _:
            return EXIT_FAILURE
