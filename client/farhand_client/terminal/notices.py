"""Notices on the user's terminal while a program's output is on it.

`NoticeRow` draws one notice and removes it without a trace; `Notices` decides which one is shown and when;
`ResponseWatch` detects that the service does not answer, long before the connection counts as lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from .grid import DEFAULT_ATTRIBUTES, REVERSE, character_width, sgr_sequence
from .painting import paint_last_row, row_content
from .screen import ScreenTracker
from .sequences import CANCEL_SEQUENCE

NOTICE_DURATION: Final = 6.0
"""Seconds for which a temporary notice is shown unless a key is pressed: long enough to read two lines."""

MIN_NOTICE_DURATION: Final = 3.0
"""Seconds for which a temporary notice is shown if another one is waiting: long enough to read one line."""

NOTICE_REDRAW_DELAY: Final = 0.25
"""Seconds without output after which a notice is shown again. It is removed for output; doing so for each chunk of a
flood would flicker."""

PROBE_DELAY: Final = 1.5
"""Seconds without output after a key until the service is pinged. Most programs respond earlier; for those that do not,
it costs one ping."""

PROBE_TIMEOUT: Final = 1.5
"""Seconds that the service may take to answer: longer than on any connection on which one can still type."""

_REVERSE_VIDEO: Final = sgr_sequence((*DEFAULT_ATTRIBUTES[:REVERSE], "7", *DEFAULT_ATTRIBUTES[REVERSE + 1 :]))


class NoticeRow:
    """Shows a text in the title and in the last row of the terminal that `screen` is shown on.

    While it is shown, nothing else may be written to the terminal, and the screen may not be resized: hide it first.
    """

    def __init__(self, screen: ScreenTracker) -> None:
        self._screen = screen
        self._shown = False

    @property
    def shown(self) -> bool:
        """Whether a text is on the terminal."""
        return self._shown

    def show(self, text: str) -> bytes:
        """Return the output that shows `text`, cut to the row, in place of any other text."""
        parts = [] if self._shown else ["\x1b[22;2t"]
        text = _printable(text)
        # `hide` repeats the program's incomplete sequence; the terminal must not take our output for its rest.
        begin = CANCEL_SEQUENCE if self._screen.pending and not self._shown else b""
        self._shown = True
        emulator = self._screen.emulator
        parts.append(f"\x1b]2;{text}\x07")
        row = _REVERSE_VIDEO + _fitted(text, emulator.columns)
        parts.append(paint_last_row(emulator, row, self._screen.pending, ready=False))
        return begin + "".join(parts).encode()

    def hide(self) -> bytes:
        """Return the output that restores the terminal, ready for the program's next output; b"" if nothing is
        shown."""
        if not self._shown:
            return b""
        self._shown = False
        emulator = self._screen.emulator
        # A terminal's replacement for an incomplete character is in the cursor's row.
        pending = self._screen.pending
        rows = {emulator.rows - 1, emulator.y} if pending >= b"\x80" else {emulator.rows - 1}
        restored = [
            f"\x1b[{row + 1};1H\x1b[m\x1b[2K{row_content(emulator.grid.rows[row], emulator.columns)}" for row in rows
        ]
        text = paint_last_row(emulator, "".join(restored), pending, ready=True)
        # Restore the title from the terminal's stack, and for terminals without one, as the program has set it.
        title = self._screen.title
        text += "\x1b[23;2t" + (f"\x1b]2;{title}\x07" if title is not None else "")
        return text.encode() + pending


class Notices:
    """Chooses the notice to show: a temporary one, then the latest temporary one added meanwhile, else the permanent
    one.

    `due` is called when the caller has to write the result of `update`.
    """

    def __init__(self, row: NoticeRow, due: Callable[[], None]) -> None:
        self._row = row
        self._due = due
        self._loop = asyncio.get_running_loop()
        self._permanent: str | None = None
        self._temporary: str | None = None
        self._next: str | None = None
        self._shown: str | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._redraw: asyncio.TimerHandle | None = None

    def set_permanent(self, text: str | None) -> None:
        """Show `text` until the next call; None removes it."""
        self._permanent = text
        self._due()

    def add_temporary(self, text: str) -> None:
        """Show `text` for a while, once a temporary notice that is shown has been read."""
        if self._temporary is None or self._temporary == text:
            self._set_temporary(text, NOTICE_DURATION)
            self._due()
            return
        if self._next is None:
            self._set_temporary(self._temporary, MIN_NOTICE_DURATION)
        self._next = text

    def key_pressed(self) -> None:
        """Remove the temporary notice: a user who presses a key has seen it."""
        if self._temporary is not None:
            self._expire()

    def update(self) -> bytes:
        """Return the output that shows the notice to be shown now; b"" if nothing changes."""
        wanted = self._permanent if self._temporary is None else self._temporary
        if wanted == self._shown or self._redraw is not None:
            return b""
        self._shown = wanted
        return self._row.hide() if wanted is None else self._row.show(wanted)

    def hide_for_output(self) -> bytes:
        """Return the output that removes the notice, to be written before output of the program.

        After `NOTICE_REDRAW_DELAY` without output, `update` shows the notice again.
        """
        if self._permanent is None and self._temporary is None and self._shown is None:
            return b""
        if self._redraw is not None:
            self._redraw.cancel()
        self._redraw = self._loop.call_later(NOTICE_REDRAW_DELAY, self._redraw_due)
        self._shown = None
        return self._row.hide()

    def hide(self) -> bytes:
        """Return the output that removes the notice while others use the terminal; `update` shows it again."""
        if self._redraw is not None:
            self._redraw.cancel()
            self._redraw = None
        self._shown = None
        return self._row.hide()

    def close(self) -> bytes:
        """Drop all notices; return the output that removes the one shown."""
        self._next = None
        self._set_temporary(None)
        self._permanent = None
        return self.hide()

    def _set_temporary(self, text: str | None, seconds: float = NOTICE_DURATION) -> None:
        self._temporary = text
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = None if text is None else self._loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        following, self._next = self._next, None
        self._set_temporary(following)
        self._due()

    def _redraw_due(self) -> None:
        self._redraw = None
        self._due()


class ResponseWatch:
    """Reports to `show` that the service does not answer after a key, and with None that it answers again.

    `ping` returns once the service has answered.
    """

    def __init__(self, ping: Callable[[], Awaitable[object]], show: Callable[[str | None], None]) -> None:
        self._ping = ping
        self._show = show
        self._loop = asyncio.get_running_loop()
        self._responded = True
        self._timer: asyncio.TimerHandle | None = None
        self._probing: asyncio.Task[None] | None = None

    def key_sent(self) -> None:
        """Note that a key was sent to the program."""
        self._responded = False
        if self._timer is None and self._probing is None:
            self._timer = self._loop.call_later(PROBE_DELAY, self._probe)

    def output_received(self) -> None:
        """Note that output has arrived."""
        self._responded = True

    def close(self) -> None:
        """Stop probing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._probing is not None:
            self._probing.cancel()

    def _probe(self) -> None:
        self._timer = None
        if not self._responded:
            self._probing = asyncio.ensure_future(self._wait_for_answer())
            self._probing.add_done_callback(self._probed)

    async def _wait_for_answer(self) -> None:
        ping = asyncio.ensure_future(self._ping())
        try:
            answered, _ = await asyncio.wait([ping], timeout=PROBE_TIMEOUT)
            if not answered:
                self._show("the service does not answer")
                await asyncio.wait([ping])
                self._show(None)
        finally:
            if not ping.cancel():
                ping.exception()  # retrieved, but not reported: a lost connection is reported elsewhere

    def _probed(self, probing: asyncio.Task[None]) -> None:
        self._probing = None


def _printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable() and character_width(char) > 0)


def _fitted(text: str, columns: int) -> str:
    """Return `text` cut or filled to exactly `columns`."""
    room = columns
    for at, char in enumerate(text):
        if character_width(char) > room:
            return text[:at] + " " * room
        room -= character_width(char)
    return text + " " * room
