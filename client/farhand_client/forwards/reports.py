"""What a forward reports: its connections while they last, and what happens to them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, NoReturn, TypeAlias

from farhand_client.home_loop import not_picklable

if TYPE_CHECKING:
    from farhand_forwards.flow import Flow
    from farhand_forwards.targets import ForwardTarget

ForwardEventKind: TypeAlias = Literal["opened", "refused", "closed", "lost", "restored", "failed"]


class ForwardedConnection:
    """A connection through a forward. Its numbers are those of now, and stay after its end."""

    def __init__(self, origin: str, target: ForwardTarget | None) -> None:
        self.origin: Final = origin
        """Where it came from, as the side that accepted it sees that: an address and a port, for people."""
        self.target = target
        """Where it leads; None as long as a SOCKS client has not said that."""
        self.began: Final = time.time()
        """When it was accepted, in seconds since the epoch."""
        self.error: Exception | None = None
        """Why it was refused or has ended early."""
        self._flow: Flow | None = None

    def joined(self, flow: Flow) -> None:
        """Record that the connection is joined to a flow of the tunnel."""
        self._flow = flow

    @property
    def address(self) -> ForwardTarget | None:
        """The address that it was really connected to; None before that, and if it was connected to from here."""
        return None if self._flow is None else self._flow.address

    @property
    def sent(self) -> int:
        """Bytes sent to the other side of the tunnel."""
        return 0 if self._flow is None else self._flow.sent

    @property
    def received(self) -> int:
        """Bytes received from the other side of the tunnel."""
        return 0 if self._flow is None else self._flow.received

    def __repr__(self) -> str:
        end = "" if self.error is None else f", {self.error}"
        return (
            f"<{type(self).__name__} from {self.origin or 'here'} to {self.target}, {self.sent} bytes sent, "
            f"{self.received} received{end}>"
        )

    def __reduce__(self) -> NoReturn:
        raise not_picklable("a connection of a forward")


class ForwardEvent(NamedTuple):
    """What happened to a forward.

    A connection was `opened`, `refused` (`error` says why) or `closed` (with an `error` if it ended early). The tunnel
    was `lost`, and with it every connection; `restored` means that a remote listener listens again. A forward has
    `failed` if it will listen no more.
    """

    kind: ForwardEventKind
    connection: ForwardedConnection | None = None
    error: Exception | None = None


WatchForward: TypeAlias = Callable[[ForwardEvent], None]
"""Called with each event of a forward, in the event loop."""
