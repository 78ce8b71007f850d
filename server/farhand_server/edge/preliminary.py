"""What a client and a process that faces the network say to each other before the client's bytes go to the core.

Native clients say nothing: after TLS their bytes are copied. Browsers speak HTTP (`farhand_server.web`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from .streams import ClientStream


class PreliminaryEnd(Exception):
    """The connection ends before anything goes to the core. `fault` is what the client did wrong, if anything."""

    def __init__(self, fault: str | None) -> None:
        super().__init__(fault)
        self.fault = fault


class Preliminary(Protocol):
    """One client's preliminary exchange."""

    idle_time: float
    """Seconds for which the connection is kept after an answer."""

    answered: int
    """Requests that were answered: an end after one is none of the client's failures."""

    @property
    def wants_write(self) -> bool:
        """Whether to call `advance` once the descriptor is writable, and not before."""

    def advance(self) -> ClientStream | None:
        """Read, answer and write for one turn. Return the stream to copy from and to once the exchange is over.

        Raises `PreliminaryEnd` once the connection is to be ended, and OSError if it fails.
        """


class BrowserEntry(NamedTuple):
    """How browsers come in: `start` begins an exchange, `idle` is how many seconds a page may do nothing."""

    start: Callable[[ClientStream], Preliminary]
    idle: float
