"""What can go wrong: one class for each case that a script may want to treat differently.

Errors about a completed command, `CommandError` and `CommandTimeout`, are in `results`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, TypeVar

    from farhand_forwards.targets import ForwardCause
    from farhand_protocol.errors import ErrorCode
    from farhand_protocol.outcome import Outcome, SpawnFailed
    from farhand_protocol.sshformat import PublicKey

    from .transferred import Transferred

    _Error = TypeVar("_Error", bound=Exception)


class FarhandError(Exception):
    """Base of all errors of this package, except the ValueError and TypeError that a wrong call raises.

    Each can be copied and pickled with all of its attributes, so that it also arrives where a worker process raised it.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # Without this, pickle would call `__init__` with `args` alone, and lack its keyword arguments.
        cause = self.__cause__ if isinstance(self.__cause__, FarhandError) else None
        return _restored, (type(self), self.args, self.__dict__, cause)


def _restored(
    kind: type[_Error], args: tuple[Any, ...], attributes: dict[str, Any], cause: FarhandError | None
) -> _Error:
    """Return an error as it was when it was pickled, without calling `__init__` again."""
    error = kind.__new__(kind, *args)
    error.args = args  # OSError sets them in its `__init__`
    error.__dict__.update(attributes)
    if cause is not None:
        error.__cause__ = cause
    return error


class NotUsableHere(FarhandError, RuntimeError):
    """A client, run or stream was used in another process or event loop than the one in which it was made.

    The text says what to do instead.
    """


class AddressError(FarhandError, ValueError):
    """A HOST, or the configuration file that names it, cannot be understood."""


class ConnectError(FarhandError):
    """No connection was made: nothing answered, or the peer is not a Farhand service. Nothing has run."""


class CarrierFailed(ConnectError):
    """The program that was to carry the connection, such as ssh, did not lead to a service.

    `code` is its exit code, or the negative number of the signal that ended it; None if it has not ended. `output` is
    the end of what it wrote on stderr.
    """

    def __init__(self, text: str, *, code: int | None, output: str) -> None:
        super().__init__(text)
        self.code: Final = code
        self.output: Final = output


class HostKeyError(ConnectError):
    """The service's host key is not trusted. Nothing but the TLS handshake was sent.

    `name` is what known_hosts calls the service, `key` the key it presented.
    """

    def __init__(self, text: str, *, name: str, key: PublicKey) -> None:
        super().__init__(text)
        self.name: Final = name
        self.key: Final = key

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint as OpenSSH writes it: `SHA256:` and 43 characters."""
        return self.key.fingerprint


class HostKeyUnknown(HostKeyError):
    """The service's key is not recorded, and nobody has confirmed it."""


class HostKeyChanged(HostKeyError):
    """The service presents a different key from the recorded one."""


class HostKeyRevoked(HostKeyError):
    """The service presents a key that is marked as revoked."""


class AuthenticationError(FarhandError):
    """The service accepted none of the keys that were tried. Nothing has run."""


class ConnectionLost(FarhandError):
    """The connection ended before the request did, and reconnecting did not succeed in time.

    If a run was under way, `run_id` is its id: its command may have run, up to any point, and the text says whether the
    service continues it. The same request under the same id never runs it twice. If another error made reconnecting
    impossible, such as a changed host key, that error is the `__cause__`.
    """

    def __init__(self, text: str, *, run_id: str | None = None) -> None:
        super().__init__(text)
        self.run_id: Final = run_id

    @property
    def may_have_run(self) -> bool:
        """Whether a command was under way, so that how far it came is unknown."""
        return self.run_id is not None


class RequestRefused(FarhandError):
    """The service refused the request. `code` is the reason, for programs; `run_id` is the id of the run, if any."""

    def __init__(self, code: ErrorCode, text: str, *, run_id: str | None = None) -> None:
        super().__init__(text)
        self.code: Final = code
        self.run_id: Final = run_id


class RunGoesOn(FarhandError):
    """The caller waited for the end of a run that has not ended, on an attachment that does not follow it."""

    def __init__(self, text: str, *, run_id: str) -> None:
        super().__init__(text)
        self.run_id: Final = run_id


class AmbiguousId(FarhandError, ValueError):
    """A shortened run id matches several runs. `candidates` are the ids of at most ten of them, newest first."""

    def __init__(self, text: str, *, candidates: tuple[str, ...]) -> None:
        super().__init__(text)
        self.candidates: Final = candidates


class OutputIncomplete(FarhandError):
    """Some of the command's output is no longer kept, or did not arrive.

    `outcome` is how the command ended; None if a reader met a gap before the end.
    """

    def __init__(self, text: str, *, run_id: str, outcome: Outcome | None) -> None:
        super().__init__(text)
        self.run_id: Final = run_id
        self.outcome: Final = outcome


class SpawnError(FarhandError):
    """The program never ran.

    `errno` is the error number on Linux; `outcome` says what could not be used: the program, the directory or the
    process. The text ends with `advice`, what to write instead, if there is any.
    """

    def __init__(self, outcome: SpawnFailed, *, run_id: str, advice: str = "") -> None:
        super().__init__(f"{outcome.message}; {advice}" if advice else outcome.message)
        self.outcome: Final = outcome
        self.errno: Final = outcome.errno
        self.run_id: Final = run_id


class TransferError(FarhandError):
    """A transfer of files has ended before everything was in place. No file is half-written.

    `transferred` is what it has done. The same call again continues: it skips the files that are in place, and of the
    others sends only what has not arrived.
    """

    def __init__(self, text: str, *, transferred: Transferred) -> None:
        super().__init__(text)
        self.transferred: Final = transferred


class TransferIncomplete(TransferError):
    """Some files could not be transferred, and the others were: `transferred.errors` says which, and why."""


class TransferRefused(TransferError):
    """The service does not do the transfer as it was requested: another attempt would end in the same way."""


class TransferInterrupted(TransferError):
    """The transfer's run has ended before it was done, and further attempts came no further."""


class ForwardError(FarhandError, OSError):
    """A connection through a forward, or a listener, was not made. Other connections go on.

    `cause` says why in one word: the target has `refused` the connection, is `unreachable`, its name is `unresolved`,
    or it did not answer (`timeout`); the policy or the key has `denied` it; the address to listen on is in use, or
    there are too many connections (`busy`); or it has `failed` for another reason, which the text says.

    It is an OSError, and has the `errno` of one: libraries that try again after such an error do so here too.
    """

    def __init__(self, cause: ForwardCause, text: str) -> None:
        super().__init__(text)
        self.cause: Final = cause

    @property
    def errno(self) -> int | None:  # type: ignore[override]  # it follows from the cause
        """The error number that a direct connection would have failed with; None if it would have had none."""
        import errno

        return {
            "refused": errno.ECONNREFUSED,
            "unreachable": errno.EHOSTUNREACH,
            "timeout": errno.ETIMEDOUT,
            "denied": errno.EACCES,
            "busy": errno.EADDRINUSE,
        }.get(self.cause)


class TunnelLost(FarhandError, ConnectionError):
    """The service's forward worker has ended, and with it every connection through it: the service was restarted, the
    client was away for too long, or the worker was stopped. The next connection starts another one.

    `run_id` is the id of the worker's run, where it is known.
    """

    def __init__(self, text: str, *, run_id: str | None = None) -> None:
        super().__init__(text)
        self.run_id: Final = run_id
