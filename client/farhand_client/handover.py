"""A run that the direct path has requested, and how far it has come: what the asyncio client needs to go on with it.

Plain values only, because the direct path imports neither asyncio nor the models of the messages.
"""

from __future__ import annotations

from farhand_protocol.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from farhand_protocol.errors import ErrorCode


class LostConnection(NamedTuple):
    """Why the connection ended: the service said `code` and `text`, or violated the protocol (`broken`), or was silent
    for so many seconds, or the transport failed with `error`; if all are None, the service closed it."""

    code: ErrorCode | None = None
    text: str = ""
    broken: bool = False
    silence: float | None = None
    error: OSError | None = None


class OutputSoFar:
    """One output stream: `written` bytes have gone to this process's own stream, `unwritten` have arrived after them.

    With `discarded` nobody reads it here any more.
    """

    __slots__ = ("discarded", "unwritten", "written")

    def __init__(self) -> None:
        self.written = 0
        self.unwritten: list[bytes] = []
        self.discarded = False


class Handover:
    """A run under way. `request` are the fields of the message that requested it, `welcome` and `accepted` those of the
    service's at the login. Either the connection is `lost`, or `final` is the payload of the last message about the
    run, after which nothing is left to write."""

    def __init__(self, request: dict[str, Any], welcome: dict[str, Any], accepted: dict[str, Any]) -> None:
        self.request: Final = request
        self.welcome: Final = welcome
        self.accepted: Final = accepted
        self.started: dict[str, Any] | None = None
        """The fields of `started`; None if it has not arrived."""
        self.streams: Final = {"stdout": OutputSoFar(), "stderr": OutputSoFar()}
        self.stdin_offset = 0
        """The offset of the first byte of stdin that the program is not known to have read."""
        self.stdin: list[bytes] = []
        """The bytes from there on that were read here."""
        self.stdin_over = False
        """Whether nothing more can be sent, because another client feeds the run."""
        self.stdin_ended = False
        """Whether stdin has been read to its end here."""
        self.lost: LostConnection | None = None
        self.final: bytes | None = None
        self.interrupted = False
        """Whether Ctrl-C was already passed on."""
        self.output_closed = False
        """Whether nobody reads our stdout any more, so that the run is being stopped."""
        self.ended_by = 0
        """The signal that is ending this process, after which the run is being stopped; 0 for none."""
        self.borrowed = False
        """Whether the connection was lent by the helper."""
        self.failure: str | None = None
        """What failed here, so that the run is being stopped."""
        self.release_signals: Callable[[], list[int]] = list
        """Returns the signals that arrived meanwhile, and leaves those to come to whoever handles them now."""
