"""A run's channel while its request is being judged: keeps what the client sends until there is a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from farhand_protocol import messages as m

from .handler import ChannelOutlet, QueryChannel

MAX_EARLY: Final = 64
"""Messages kept, besides stdin, which the channel's window limits. A client has reason for one or two: somebody has
pressed Ctrl-C. The rest would find a program that has just started, which does not notice them one by one."""


class JudgedChannel(QueryChannel):
    """Stands in for a `RunChannel`. `abandon` is called if the client leaves or is lost before the judgement."""

    def __init__(self, outlet: ChannelOutlet, number: int, abandon: Callable[[], None]) -> None:
        super().__init__(outlet, number)
        self.data: Final = bytearray()
        """What was received for stdin."""
        self.messages: Final[list[m.AnyMessage]] = []
        """What else was received. The end of stdin follows all of `data`."""
        self._abandon = abandon

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

    def finish(self) -> None:
        """Wait no longer."""
        super().finish()
        self._abandon()
