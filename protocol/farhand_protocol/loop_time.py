"""For how long a connection may use the loop before others get their turn, and who decides that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

MAX_TURN_TIME: Final = 0.005
"""Seconds for which a connection that shares its loop with no other user acts on what it has received, or sends, before
the loop turns: its own timers and signals must not wait."""


class LoopTime(Protocol):
    """Who may use the loop's time for acting on what was received and for sending, and when."""

    def left(self) -> float:
        """Return the seconds that may be used now; 0 or less if none."""

    def spend(self, seconds: float) -> None:
        """Record that so many seconds were used."""

    def wait(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` in a later turn of the loop, when there is time again."""

    def reserve(self, size: int, granted: Callable[[], None]) -> bool:
        """Reserve memory for a large message of `size` bytes that has begun to arrive; return whether there is any.

        If not, `granted` is called once there is. Either way `give_back` must follow.
        """

    def give_back(self, size: int) -> None:
        """Give back what was reserved."""

    def decode(self, decode: Callable[[], None], go_on: Callable[[], None]) -> None:
        """Call `decode`, which may take long, in another thread if that is better, and then `go_on` in the loop."""


class OwnTime:
    """The `LoopTime` of a connection that shares its loop with no other user."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """`call_soon` calls a function in the loop's next turn."""
        self._call_soon = call_soon

    def left(self) -> float:
        return MAX_TURN_TIME

    def spend(self, seconds: float) -> None:
        """Do nothing: each turn has as much as any other."""

    def wait(self, go_on: Callable[[], None]) -> None:
        self._call_soon(go_on)

    def reserve(self, size: int, granted: Callable[[], None]) -> bool:
        return True  # what a connection may receive is bounded already

    def give_back(self, size: int) -> None:
        """Do nothing: nothing was counted."""

    def decode(self, decode: Callable[[], None], go_on: Callable[[], None]) -> None:
        decode()
        self.wait(go_on)
