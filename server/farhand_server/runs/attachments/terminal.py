"""The attachments of a run on a terminal: who types, whom the program waits for, and which size the terminal has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from ..output.filespool import FileSpool
from ..output.spool import MAX_OFFSET
from ..plan import TerminalSize
from .attachments import Attachment, Attachments, Output

MAX_TYPING: Final = 16
"""Attachments that may type at one terminal at once: more people than work on one thing. What each has sent without
credit waits in memory."""


class Resizable(Protocol):
    """A terminal whose size can be changed."""

    def resize(self, size: TerminalSize) -> None:
        """Change the size."""

    def repaint(self) -> None:
        """Make the program draw the screen again."""


class SharedTerminalSize:
    """The size of a run's terminal: the smallest that any client shows it in. It exists before and after the terminal.

    `shown` returns the sizes of the clients. All changes in one turn of the event loop are applied together: of a burst
    only the last counts.
    """

    def __init__(self, first: TerminalSize, shown: Callable[[], Iterable[TerminalSize]]) -> None:
        self.size = first
        self.listeners: list[Callable[[], None]] = []
        """Called after each change of the size."""
        self._shown = shown
        self._terminal: Resizable | None = None
        self._over = False
        self._repaint = False
        self._due: asyncio.Handle | None = None

    def connect(self, terminal: Resizable) -> None:
        """Apply changes to `terminal` from now on; it must have the current size."""
        self._terminal = terminal

    def disconnect(self) -> None:
        """The terminal is closed; the size does not change any more."""
        self._terminal = None
        self._over = True

    def changed(self, *, repaint: bool = False) -> None:
        """A client has attached, detached, or resized its window; with `repaint` the program must draw the screen."""
        self._repaint |= repaint
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self.apply)

    def apply(self) -> None:
        """Compute the size and apply it at once."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._over:
            return
        repaint, self._repaint = self._repaint, False
        shown = list(self._shown())
        size = TerminalSize(
            min((size.columns for size in shown if size.columns), default=self.size.columns),
            min((size.rows for size in shown if size.rows), default=self.size.rows),
        )
        if size != self.size:
            self.size = size
            if self._terminal is not None:
                self._terminal.resize(size)
            for listener in tuple(self.listeners):
                listener()
        elif repaint and self._terminal is not None:
            self._terminal.repaint()


class TerminalAttachments(Attachments):
    """The attachments of a run on a terminal, whose output goes into `spool`.

    The program waits only for holders that are connected, so that it continues while nobody looks at it, and it is
    never further ahead of any of them than that client's window. One client types, and makes room for another when its
    connection is lost; with `share` others type as well.
    """

    def __init__(self, spool: FileSpool, first: TerminalSize, grace: float, abandoned: Callable[[], None]) -> None:
        super().__init__({"stdout": spool}, grace, abandoned)
        self.shared_size: Final = SharedTerminalSize(first, self._shown)
        self._spool = spool

    def resize(self, attachment: Attachment, size: TerminalSize) -> None:
        """Record that the client now shows the terminal in another size."""
        attachment.size = size
        self.shared_size.changed()

    def lost(self, attachment: Attachment) -> None:
        super().lost(attachment)
        self.shared_size.changed()

    def left(self, attachment: Attachment) -> None:
        super().left(attachment)
        self.shared_size.changed()

    def close(self) -> None:
        super().close()
        self.shared_size.disconnect()

    def _added(self, attachment: Attachment, *, new: bool) -> None:
        # The screen is drawn for a new client. A client that only watches must not affect the program, not even so.
        takes_part = attachment.hold or attachment.feeds
        self.shared_size.changed(repaint=new and takes_part and attachment.size is not None)

    def _typing(self) -> list[Attachment]:
        return [each for each in self._all.values() if each.feeds and each.watcher is not None]

    def _shown(self) -> list[TerminalSize]:
        return [each.size for each in self._typing() if each.size is not None]

    def _may_feed(self, share: bool, *, fed: bool) -> bool:
        typing = self._typing()
        # A client that returns has lost its place to one that types alone, but not to those that share.
        may = share or (fed and all(each.share for each in typing))
        return not typing or (may and len(typing) < MAX_TYPING)

    def _make_room(self) -> bool:
        # Absent clients are waited for up to a day, and hold no output. `TerminalInput` remembers what they have typed.
        absent = next((each for each in self._all.values() if each.watcher is None), None)
        if absent is not None:
            self._remove(absent)
        return absent is not None

    def _hold_stream(self, stream: Output) -> None:
        if stream not in self._spools:
            return
        ends = []
        for each in self._all.values():
            if each.hold and each.watcher is not None and stream in each.taken:
                end = each.taken[stream] + each.window
                # A client that reads old output for the first time must not make those wait that work here.
                each.caught_up = each.caught_up or end >= self._spool.end
                if each.caught_up:
                    ends.append(end)
        self._spool.wait_at(min(ends, default=MAX_OFFSET))
