"""Notices that the service says nothing to what is typed, long before the line counts as lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

SOON: Final = 1.5
"""Seconds without output behind a key until the service is asked whether it is there: most programs answer at once, and
those that do not cost a question."""

PATIENCE: Final = 1.5
"""Seconds that it may take to answer: longer than any line does that one can still type on."""


class Silence:
    """`ask` returns once the service has answered; `show` shows that it does not, and with None that it does."""

    def __init__(self, ask: Callable[[], Awaitable[object]], show: Callable[[str | None], None]) -> None:
        self._ask = ask
        self._show = show
        self._loop = asyncio.get_running_loop()
        self._heard = True
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None

    def typed(self) -> None:
        """A key went out."""
        self._heard = False
        if self._timer is None and self._asking is None:
            self._timer = self._loop.call_later(SOON, self._look)

    def heard(self) -> None:
        """Something came."""
        self._heard = True

    def close(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asking is not None:
            self._asking.cancel()

    def _look(self) -> None:
        self._timer = None
        if not self._heard:
            self._asking = asyncio.ensure_future(self._listen())
            self._asking.add_done_callback(self._listened)

    async def _listen(self) -> None:
        asked = asyncio.ensure_future(self._ask())
        try:
            answered, _ = await asyncio.wait([asked], timeout=PATIENCE)
            if not answered:
                self._show("the service does not answer")
                await asyncio.wait([asked])
                self._show(None)
        finally:
            if not asked.cancel():
                asked.exception()  # a line that is lost for good is told otherwise

    def _listened(self, asking: asyncio.Task[None]) -> None:
        self._asking = None
