"""Tells the user that the connection is lost, once that has lasted, and that it is back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from farhand_client.connection.reconnecting import Outage

from .main import say
from .spans import span

PATIENCE: Final = 2.0
"""Seconds of an outage nobody needs to know of: less than people take for a fault, more than a restarted edge takes."""

Show: TypeAlias = Callable[[str | None], None]
"""Shows what is to be said for as long as it is true; None takes it away."""


class LineWord:
    """The `watch` of `connect`; `host` is what the user calls the service. It speaks on stderr."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._timer: asyncio.TimerHandle | None = None
        self._said = False
        self._show: Show | None = None

    def __call__(self, down: Outage | None) -> None:
        """Note that the line is down, or with None that it is up."""
        self.close()
        if down is not None:
            if not self._said:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(PATIENCE, self._say_down, loop.time() + down.left)
        elif self._said:
            self._said = False
            if self._show is None:
                say(f"the line to {self._host} is up again")
            else:
                self._show(None)

    @contextlib.contextmanager
    def through(self, show: Show) -> Iterator[None]:
        """Speak through `show` in the block: another has the terminal."""
        self._show = show
        try:
            yield
        finally:
            self._show = None

    def close(self) -> None:
        """Say nothing more of this outage."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _say_down(self, deadline: float) -> None:
        self._said = True
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        (self._show or say)(f"the line to {self._host} is down; trying again for {span(left)}")
