"""Tells the user that the connection is lost, after an outage has lasted a while, and that it is back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from farhand_client.connection.reconnecting import Outage

from .printing import print_message
from .text import format_span

OUTAGE_NOTICE_DELAY: Final = 2.0
"""Seconds before an outage is reported: a restart of the edge takes less, and people suspect a fault after more."""

ATTENDED_RECONNECT: Final = 86400.0
"""Seconds to try to reconnect while somebody sits at a terminal here: as long as services keep a terminal by default. A
user who does not want to wait leaves by a key."""

ATTENDED_KEEPALIVE: Final = 5.0
"""Seconds of silence after which the service is pinged while somebody sits at a terminal here. After three such
intervals without an answer the connection counts as lost, before people wonder."""

ShowNotice: TypeAlias = Callable[[str | None], None]
"""Shows a notice until it is called with None."""


class OutageNotice:
    """The `watch` callback of `connect`, which reports on stderr. `host` is the user's name for the service."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._timer: asyncio.TimerHandle | None = None
        self._down = False
        self._shown = False
        self._show: ShowNotice | None = None

    def __call__(self, down: Outage | None) -> None:
        """Note that the connection is lost, or with None that it is back."""
        self.close()
        self._down = down is not None
        if down is not None:
            if not self._shown:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(OUTAGE_NOTICE_DELAY, self._report, loop.time() + down.left)
        elif self._shown:
            self._shown = False
            if self._show is None:
                print_message(f"connected to {self._host} again")
            else:
                self._show(None)

    def touch(self, sentence: str) -> None:
        """Show which security key has to be touched: the `touch` callback of `connect`."""
        if self._down:
            self.close()  # a report would cover this
            self._shown = True
        (self._show or print_message)(sentence)

    @contextlib.contextmanager
    def through(self, show: ShowNotice) -> Iterator[None]:
        """Report through `show` inside the block, because something else uses the terminal there."""
        self._show = show
        try:
            yield
        finally:
            self._show = None

    def close(self) -> None:
        """Report nothing more about the current outage."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _report(self, deadline: float) -> None:
        self._shown = True
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        (self._show or print_message)(f"connection to {self._host} lost; reconnecting (for up to {format_span(left)})")
