"""What we say on the terminal while a program's output is on it, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from .notice import Notice

PASSING: Final = 6.0
"""Seconds for which a note stays unless a key is pressed: long enough to read two lines."""

READ: Final = 3.0
"""Seconds for which a note stays at least, where another one waits: long enough to read one line."""

QUIET: Final = 0.25
"""Seconds without output after which a note is shown again: it is taken away for output, and twice for each piece of a
flood would be seen as flicker."""


class Notes:
    """One note is shown at a time: one that passes, behind it the one said last meanwhile, or else the lasting one.

    `due` is called when `bring` has to be.
    """

    def __init__(self, notice: Notice, due: Callable[[], None]) -> None:
        self._notice = notice
        self._due = due
        self._loop = asyncio.get_running_loop()
        self._lasting: str | None = None
        self._passing: str | None = None
        self._next: str | None = None
        self._shown: str | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._quiet: asyncio.TimerHandle | None = None

    def last(self, text: str | None) -> None:
        """Show `text` until told otherwise; None takes it away."""
        self._lasting = text
        self._due()

    def say(self, text: str) -> None:
        """Show `text` for a while, once the one that is shown was seen."""
        if self._passing is None or self._passing == text:
            self._pass(text, PASSING)
            self._due()
            return
        if self._next is None:
            self._pass(self._passing, READ)
        self._next = text

    def typed(self) -> None:
        """A key was pressed: who has done that has seen the note."""
        if self._passing is not None:
            self._passed()

    def bring(self) -> bytes:
        """Return what shows what is to be shown now."""
        wanted = self._lasting if self._passing is None else self._passing
        if wanted == self._shown or self._quiet is not None:
            return b""
        self._shown = wanted
        return self._notice.hide() if wanted is None else self._notice.show(wanted)

    def give_way(self) -> bytes:
        """Return what takes the note away before output is written, for as long as that goes on."""
        if self._lasting is None and self._passing is None and self._shown is None:
            return b""
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = self._loop.call_later(QUIET, self._quieted)
        self._shown = None
        return self._notice.hide()

    def close(self) -> bytes:
        """Return what takes the note away for good."""
        self._next = None
        self._pass(None)
        self._lasting = None
        return self.leave()

    def leave(self) -> bytes:
        """Return what takes the note away while somebody else has the terminal; then `bring` shows it again."""
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        self._shown = None
        return self._notice.hide()

    def _pass(self, text: str | None, seconds: float = PASSING) -> None:
        self._passing = text
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = None if text is None else self._loop.call_later(seconds, self._passed)

    def _passed(self) -> None:
        following, self._next = self._next, None
        self._pass(following)
        self._due()

    def _quieted(self) -> None:
        self._quiet = None
        self._due()
