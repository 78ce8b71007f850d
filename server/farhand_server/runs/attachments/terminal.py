"""The attachments of a run on a terminal: who types, for whom the program waits, and which size the terminal has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from ..output.filespool import FileSpool
from ..output.spool import MAX_OFFSET
from ..plan import TerminalSize
from .attachments import Attachment, Attachments, Output

MAX_TYPING: Final = 16
"""Attachments that may type at one terminal at once: more people than work together on one thing. The bytes that each
may send without credit wait in memory."""


class Resizable(Protocol):
    """A terminal whose size can be changed."""

    def resize(self, size: TerminalSize) -> None:
        """Change the terminal's size."""

    def repaint(self) -> None:
        """Make the program redraw the screen."""


class SharedTerminalSize:
    """The size of a run's terminal: the smallest size in which a client shows it. It exists before and after the
    terminal.

    `shown` returns the clients' sizes. All changes in one turn of the event loop are applied together, so only the last
    change of a burst takes effect.
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
        """From now on, apply changes to `terminal`, which must already have the current size."""
        self._terminal = terminal

    def disconnect(self) -> None:
        """Handle the closing of the terminal: its size no longer changes."""
        self._terminal = None
        self._over = True

    def changed(self, *, repaint: bool = False) -> None:
        """Handle that a client has attached, detached, or resized its window. With `repaint` the program must redraw
        the screen."""
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
    """The attachments of a run on a terminal whose output goes into `spool`.

    The program waits only for connected holders, so it continues while nobody looks at it. It is never further ahead of
    a connected holder than that client's window. Only one client types, and another may take its place when its
    connection is lost; with `share`, others type as well.
    """

    def __init__(self, spool: FileSpool, first: TerminalSize, grace: float, abandoned: Callable[[], None]) -> None:
        super().__init__({"stdout": spool}, grace, abandoned)
        self.shared_size: Final = SharedTerminalSize(first, self._shown)
        self._spool = spool

    def resize(self, attachment: Attachment, size: TerminalSize) -> None:
        """Record that the client now shows the terminal in a new size."""
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
        # The screen is redrawn for a new client, but not for one that only watches: it must not affect the program at
        # all.
        takes_part = attachment.hold or attachment.feeds
        self.shared_size.changed(repaint=new and takes_part and attachment.size is not None)

    def _typing(self) -> list[Attachment]:
        return [each for each in self._all.values() if each.feeds and each.watcher is not None]

    def _shown(self) -> list[TerminalSize]:
        return [each.size for each in self._typing() if each.size is not None]

    def _may_feed(self, share: bool, *, fed: bool) -> bool:
        typing = self._typing()
        # A returning client has lost its right to type if another types alone, but not if the others share.
        may = share or (fed and all(each.share for each in typing))
        return not typing or (may and len(typing) < MAX_TYPING)

    def _make_room(self) -> bool:
        # An absent client holds no output and can be removed, though it may be expected for up to a day.
        # `TerminalInput` remembers what it has typed.
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
                # A client that reads old output for the first time must not delay those that are working here.
                each.caught_up = each.caught_up or end >= self._spool.end
                if each.caught_up:
                    ends.append(end)
        self._spool.wait_at(min(ends, default=MAX_OFFSET))
