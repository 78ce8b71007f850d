"""What can go wrong, one class for each thing a script may want to treat differently."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from farhand_protocol.errors import ErrorCode
    from farhand_protocol.outcome import Outcome, SpawnFailed
    from farhand_protocol.sshformat import PublicKey

    from .results import Completed


class FarhandError(Exception):
    """Base of all errors of this package but `ValueError` and `TypeError`, which say that a call was wrong."""


class AddressError(FarhandError, ValueError):
    """A HOST, or the file that names it, cannot be understood."""


class ConnectError(FarhandError):
    """There is no connection: nobody answers, or it is not Farhand that does. Nothing has run."""


class HostKeyError(ConnectError):
    """The service's key is not one to trust. Nothing but the TLS handshake was sent.

    `name` is what known_hosts calls the service, `key` the key it showed, `fingerprint` that as `SHA256:…`.
    """

    def __init__(self, text: str, *, name: str, key: PublicKey) -> None:
        super().__init__(text)
        self.name: Final = name
        self.key: Final = key

    @property
    def fingerprint(self) -> str:
        """As OpenSSH writes it: `SHA256:` and 43 characters."""
        return self.key.fingerprint


class HostKeyUnknown(HostKeyError):
    """The service's key is not on record, and nobody has said that it is the right one."""


class HostKeyChanged(HostKeyError):
    """The service shows another key than the one on record."""


class HostKeyRevoked(HostKeyError):
    """The service shows a key that is marked as revoked."""


class AuthenticationError(FarhandError):
    """The service knows none of the keys that were tried. Nothing has run."""


class ConnectionLost(FarhandError):
    """The connection ended before what was asked for did, and could not be made again in time.

    `run_id` is the run's id where one was under way: its command may have run, to whatever point. The text says whether
    the service goes on with it. The same request under the same id never runs it twice. Where the cause was an error of
    its own, as a changed key of the service, that is the `__cause__`.
    """

    def __init__(self, text: str, *, run_id: str | None = None) -> None:
        super().__init__(text)
        self.run_id: Final = run_id

    @property
    def may_have_run(self) -> bool:
        """Whether a command was under way, so that nobody knows how far it came."""
        return self.run_id is not None


class RequestRefused(FarhandError):
    """The service did not do what was asked; `code` says why, for programs. `run_id` is the run's."""

    def __init__(self, code: ErrorCode, text: str, *, run_id: str | None = None) -> None:
        super().__init__(text)
        self.code: Final = code
        self.run_id: Final = run_id


class RunGoesOn(FarhandError):
    """The run's end was waited for on an attachment that does not follow it, and it goes on. `run_id` is the run's."""

    def __init__(self, text: str, *, run_id: str) -> None:
        super().__init__(text)
        self.run_id: Final = run_id


class AmbiguousId(FarhandError, ValueError):
    """Several runs have an id that begins so. `candidates` are some of them, the newest first, at most ten."""

    def __init__(self, text: str, *, candidates: tuple[str, ...]) -> None:
        super().__init__(text)
        self.candidates: Final = candidates


class OutputIncomplete(FarhandError):
    """Some of the command's output is no longer kept, or did not arrive.

    `outcome` is how the command ended; None where a reader came to a gap before the end.
    """

    def __init__(self, text: str, *, run_id: str, outcome: Outcome | None) -> None:
        super().__init__(text)
        self.run_id: Final = run_id
        self.outcome: Final = outcome


class SpawnError(FarhandError):
    """The program never ran. `errno` is Linux's; `outcome` says what was missing: program, directory or process."""

    def __init__(self, outcome: SpawnFailed, *, run_id: str) -> None:
        super().__init__(outcome.message)
        self.outcome: Final = outcome
        self.errno: Final = outcome.errno
        self.run_id: Final = run_id


class CommandError(FarhandError, subprocess.CalledProcessError):
    """The command did not exit with code 0, and `check` was asked for. Also a `subprocess.CalledProcessError`."""

    def __init__(self, completed: Completed) -> None:
        super().__init__(completed.returncode, completed.args, completed.stdout, completed.stderr)
        self.completed: Final = completed
        self.outcome: Final = completed.outcome
        self.run_id: Final = completed.run_id

    def __str__(self) -> str:
        from .results import describe

        return f"the command {self.cmd!r} {describe(self.outcome)}"


class CommandTimeout(FarhandError, subprocess.TimeoutExpired):
    """The service stopped the command when its time was up. `stdout` and `stderr` have what it wrote until then.

    Also a `subprocess.TimeoutExpired`; `timeout` is in seconds.
    """

    def __init__(self, completed: Completed, timeout: float) -> None:
        super().__init__(completed.args, timeout, completed.stdout, completed.stderr)
        self.completed: Final = completed
        self.outcome: Final = completed.outcome
        self.run_id: Final = completed.run_id

    def __str__(self) -> str:
        return f"the command {self.cmd!r} was stopped after {self.timeout:g} seconds"
