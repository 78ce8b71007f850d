"""Answers a question about the service itself. Everybody who is logged in may ask it."""

from __future__ import annotations

from collections.abc import Callable

from farhand_protocol import messages as m

from .handler import ChannelOutlet, QueryChannel


class StatusChannel(QueryChannel):
    """Answers at once with what `status` returns."""

    def __init__(self, outlet: ChannelOutlet, number: int, status: Callable[[], m.ServiceStatus]) -> None:
        super().__init__(outlet, number)
        self._status = status

    def begin(self) -> None:
        self.answer(self._status())
