"""What each side accepts from the other. The reason for each limit stands beside it."""

from __future__ import annotations

from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

KiB: Final = 1024
MiB: Final = 1024 * KiB

FRAME_HEADER_SIZE: Final = 8
MAX_PAYLOAD: Final = (1 << 24) - 1  # the largest 24-bit length in a header
MAX_CHANNEL: Final = (1 << 32) - 1  # the largest 32-bit channel number in a header
MIN_MESSAGE: Final = 16 * KiB  # large enough for every message of either side, except a large run request
MIN_DATA: Final = 4 * KiB  # one page: with smaller frames the headers would cost noticeable bandwidth
MAX_CHANNELS: Final = 1 << 20  # each needs about 1 KiB of state: a higher limit would be a mistake
MIN_SPOOL_SIZE: Final = 64 * KiB  # one data frame
MAX_UNACKNOWLEDGED: Final = 512 * KiB  # bytes consumed before credit is returned: the sender stores them for a resume
MIN_WINDOW: Final = 64 * KiB  # one data frame: with a smaller window each frame would wait for credit
TERMINAL_WINDOW: Final = 256 * KiB  # bytes that may still be shown after Ctrl-C; 2.5 MB/s at a round trip of 100 ms
MAX_WINDOW: Final = (1 << 31) - 1  # as in HTTP/2 (RFC 9113, 6.9.1): sums of credit fit 32 bits


class Limits:
    """The receive limits of one side, in bytes or counts. Announced to the peer in `hello` and `welcome`. Immutable.

    Not a dataclass: `dataclasses` takes longer to import than a whole command may take.
    """

    login_message: int = 16 * KiB
    """Largest message before login, in bytes: enough for an RSA 8192 key and signature; unauthenticated clients get no
    more memory."""

    message: int = 4 * MiB
    """Largest message after login, in bytes: Linux allows 2 MiB of arguments (execve(2)), and base64 adds a third."""

    data: int = 64 * KiB
    """Largest payload of a data frame, in bytes: the default capacity of a pipe (pipe(7)); larger reads were measured
    to be slower."""

    window: int = 4 * MiB
    """Unacknowledged bytes per stream: 40 MB/s at a round trip of 100 ms. OpenSSH uses 2 MiB."""

    channels: int = 1024
    """Channels open at once on a connection; each may hold a run. OpenSSH's MaxSessions is 10."""

    small_message: int = 32 * KiB
    """Largest message after login, in bytes, that opens no channel. On a channel that is open, and on channel 0, the
    largest is an `error` of 12 KiB. What opens a channel may be as large as `message`, but only a `run` is."""

    values: int = 256 * KiB
    """Elements and members of all arrays and objects of a message: execve(2) needs at least nine bytes for each
    argument (a pointer and a NUL), so that the usual 2 MiB hold 233,016."""

    containers: int = 64 * KiB
    """Arrays and objects among them: one for each environment variable, and for each argument that is not UTF-8. Each
    takes 400 bytes while it is decoded, together 26 MiB. The largest environment seen had a few thousand variables."""

    login_values: int = 256
    """`values` and `containers` before login: `hello` has at most about 100."""

    nesting: int = 10
    """Depth of arrays and objects in a message; the deepest model has 5."""

    keys: int = 64
    """Members of one JSON object; the widest model has 26, and each of 50,000 unknown members would cost an error."""

    control: int = 256 * KiB
    """Bytes of queued answers above which no more is read from a peer that does not read them: the capacity of a write
    buffer (`transport.WRITE_HIGH`)."""

    def __init__(self, **changed: int) -> None:
        """The keywords are the limits that differ from those above.

        Raises ValueError for limits that contradict each other, TypeError for an unknown one.
        """
        if unknown := changed.keys() - Limits.__annotations__.keys():
            raise TypeError(f"no such limits: {', '.join(sorted(unknown))}")
        self.__dict__.update(changed)
        if not MIN_MESSAGE <= self.login_message <= self.message <= MAX_PAYLOAD:
            raise ValueError(f"message limits must not decrease and must be {MIN_MESSAGE} to {MAX_PAYLOAD} bytes")
        if not MIN_DATA <= self.data <= MAX_PAYLOAD:
            raise ValueError(f"data frames must hold {MIN_DATA} to {MAX_PAYLOAD} bytes")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise ValueError(f"there must be 1 to {MAX_CHANNELS} channels")
        if not self.data <= self.window <= MAX_WINDOW:
            raise ValueError(f"a window must hold one data frame and stay within {MAX_WINDOW} bytes")

    def replace(self, **changed: int) -> Limits:
        """Return these limits with some of them changed."""
        return Limits(**self.__dict__ | changed)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"limits are immutable: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Limits) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        return f"Limits({', '.join(f'{name}={value}' for name, value in self.__dict__.items())})"

    def _values(self) -> tuple[int, ...]:
        return tuple(getattr(self, name) for name in Limits.__annotations__)


CLIENT_LIMITS: Final = Limits(message=64 * KiB)
"""What a client accepts. The longest answers, `runs` and `marks`, are split into messages of at most a data frame, and
a hostile service cannot make a client decode more at once."""


@cache
def login_limits(limits: Limits) -> Limits:
    """Return the limits that hold before login, in place of these."""
    return limits.replace(values=limits.login_values, containers=limits.login_values)
