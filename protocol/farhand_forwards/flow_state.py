"""What a side of a tunnel knows about one flow, and about one listener. No I/O."""

from __future__ import annotations

from typing import Final

from farhand_protocol.limits import MiB

from .targets import ForwardTarget, InetTarget
from .windows import FlowWindow, WindowPool

MAX_FLOWS: Final = 2048
"""Flows of a tunnel at once, whoever opened them: twice what the service's machine has descriptors for by default.
Bounds what is stored for flows that nobody reads to 320 MiB (`windows`)."""

MAX_LISTENERS: Final = 256
"""Listeners at once that one side may have the other one open. More than a person types; each has two sockets."""

MAX_UNSENT_ANSWERS: Final = 4 * MiB
"""Bytes of frames waiting to be sent above which nothing more is read (`Mux.flooded`): a sentence for each of
`MAX_FLOWS` refused flows, so that only a side that does not keep to that number is held up."""


class FlowState:
    """What a side knows about one flow. `ours` says whether this side has opened it."""

    __slots__ = ("answered", "credit", "datagrams", "eof_received", "eof_sent", "ours", "wants_turn", "window")

    def __init__(self, credit: int, pool: WindowPool, *, ours: bool, datagrams: bool) -> None:
        self.credit = credit
        self.window = FlowWindow(pool)
        self.ours = ours
        self.datagrams = datagrams
        self.answered = False
        self.eof_sent = self.eof_received = self.wants_turn = False

    @property
    def may_send(self) -> bool:
        """Whether this side may send, if it has credit."""
        return (self.ours or self.answered) and not self.eof_sent

    @property
    def over(self) -> bool:
        """Whether it has ended in both directions. With bytes that nobody has consumed, it has not."""
        return self.eof_sent and self.eof_received and not self.window.unread


class ListenerState:
    """What a side knows about one listener."""

    __slots__ = ("answered", "datagrams")

    def __init__(self, *, datagrams: bool) -> None:
        self.datagrams = datagrams
        self.answered = False


ANSWERED: Final = ListenerState(datagrams=False)
"""Stands for what cannot be answered any more."""
ANSWERED.answered = True


def leads_datagrams(target: ForwardTarget | None) -> bool:
    """Return whether a flow that leads there is one of datagrams."""
    return isinstance(target, InetTarget) and target.transport == "udp"
