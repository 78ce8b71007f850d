"""A run's channel while its request is being judged: keeps what the client sends until there is a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from farhand_protocol import messages as m
from farhand_protocol.limits import KiB

from .handler import ChannelOutlet, QueryChannel

MAX_EARLY: Final = 64
"""Messages kept, besides stdin. A client has reason for one or two: somebody has pressed Ctrl-C. The rest would find a
program that has just started, which does not notice them one by one."""

MAX_EARLY_STDIN: Final = 64 * KiB
"""Bytes of stdin from which on nothing more is received on the connection: a full data frame. All requests of one user
that are being judged keep 80 MiB at most, because there are no more than the user may have runs (`admission.shares`),
and a second frame may arrive when there is almost one."""


class JudgedChannel(QueryChannel):
    """Stands in for a `RunChannel`, until `give_way` is called. `abandon` is called if the client leaves or is lost
    before that, and `over` in any case."""

    def __init__(
        self, outlet: ChannelOutlet, number: int, abandon: Callable[[], None], over: Callable[[], None]
    ) -> None:
        super().__init__(outlet, number)
        self.data: Final = bytearray()
        """What was received for stdin."""
        self.messages: Final[list[m.AnyMessage]] = []
        """What else was received. The end of stdin follows all of `data`."""
        self._abandon = abandon
        self._on_over = over

    def received(self, message: m.AnyMessage) -> None:
        """Keep a message for the run. A `close` ends the request."""
        if isinstance(message, m.Close):
            self.answer(m.Done())
            return
        if isinstance(message, m.Resize):
            self.messages[:] = [each for each in self.messages if not isinstance(each, m.Resize)]
        if len(self.messages) < MAX_EARLY or isinstance(message, m.End):
            self.messages.append(message)

    def received_data(self, data: bytes) -> None:
        """Keep stdin for the run."""
        self.data.extend(data)
        if self.overfull:
            self._outlet.hold(self)

    @property
    def overfull(self) -> bool:
        return not self._over and len(self.data) >= MAX_EARLY_STDIN

    def give_way(self) -> None:
        """Wait no longer, because the request is judged."""
        super().finish()
        self._outlet.release(self)
        self._on_over()

    def finish(self) -> None:
        """Wait no longer for the judgement, which nobody wants any more."""
        self.give_way()
        self._abandon()
