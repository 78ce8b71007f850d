"""How large a run's terminal is: as the smallest of the screens that those who type at it have.

Who is attached to a terminal: who types there, whom its program waits for, and in which sizes it is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from ..output.filespool import FileSpool
from ..output.spool import MAX_OFFSET
from ..plan import TerminalSize
from ..streams.pty import PseudoTerminal
from .attachments import Attachment, Attachments, Output


class SharedTerminalSize:
    """The size of a run's terminal, before, while and after there is one.

    `shown` gives those sizes. What comes in one turn of the loop is applied as one: of a storm of them the last counts.
    """

    def __init__(self, first: TerminalSize, shown: Callable[[], Iterable[TerminalSize]]) -> None:
        self.size = first
        self.listeners: list[Callable[[], None]] = []
        """Told whenever the size is another."""
        self._shown = shown
        self._terminal: PseudoTerminal | None = None
        self._over = False
        self._repaint = False
        self._due: asyncio.Handle | None = None

    def connect(self, terminal: PseudoTerminal) -> None:
        """The program has a terminal now, of the size that holds."""
        self._terminal = terminal

    def disconnect(self) -> None:
        """There is no terminal any more; the size stays as it is."""
        self._terminal = None
        self._over = True

    def changed(self, *, repaint: bool = False) -> None:
        """Somebody has come, gone, or shows the terminal in another size; with `repaint` it is to be drawn anew."""
        self._repaint |= repaint
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self.apply)

    def apply(self) -> None:
        """Have the size that follows from who is there."""
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


MAX_TYPING: Final = 16
"""Attachments that type at one terminal at once: more hands than work at one thing. What each has sent without credit
waits in memory."""


class TerminalAttachments(Attachments):
    """The attachments of a run on a terminal, whose output goes into `spool`.

    Its program waits only for holders who are connected, so that it goes on while nobody looks at it; and it is no
    further ahead of any of them than that one's window. One of them types, and makes room for another when its line is
    lost; others type as well where they share.
    """

    def __init__(self, spool: FileSpool, first: TerminalSize, grace: float, abandoned: Callable[[], None]) -> None:
        super().__init__({"stdout": spool}, grace, abandoned)
        self.screen: Final = SharedTerminalSize(first, self._shown)
        self._spool = spool

    def resize(self, attachment: Attachment, size: TerminalSize) -> None:
        """The client shows the terminal in another size now."""
        attachment.size = size
        self.screen.changed()

    def lost(self, attachment: Attachment) -> None:
        """Attachments."""
        super().lost(attachment)
        self.screen.changed()

    def left(self, attachment: Attachment) -> None:
        """Attachments."""
        super().left(attachment)
        self.screen.changed()

    def close(self) -> None:
        """Attachments."""
        super().close()
        self.screen.disconnect()

    def _added(self, attachment: Attachment, *, new: bool) -> None:
        # For somebody new what is on the terminal is drawn; but who only watches does nothing to the program, not even
        # that.
        takes_part = attachment.hold or attachment.feeds
        self.screen.changed(repaint=new and takes_part and attachment.size is not None)

    def _typing(self) -> list[Attachment]:
        return [each for each in self._all.values() if each.feeds and each.watcher is not None]

    def _shown(self) -> list[TerminalSize]:
        return [each.size for each in self._typing() if each.size is not None]

    def _may_feed(self, share: bool, *, fed: bool) -> bool:
        typing = self._typing()
        # Whoever comes back has lost its place to one who wanted it alone, but not to those who only share it.
        may = share or (fed and all(each.share for each in typing))
        return not typing or (may and len(typing) < MAX_TYPING)

    def _make_room(self) -> bool:
        # They are waited for up to a day, and hold no output; what they have typed the keyboard remembers.
        lost = next((each for each in self._all.values() if each.watcher is None), None)
        if lost is not None:
            self._gone(lost)
        return lost is not None

    def _hold_stream(self, stream: Output) -> None:
        if stream not in self._spools:
            return
        ends = []
        for each in self._all.values():
            if each.hold and each.watcher is not None and stream in each.taken:
                end = each.taken[stream] + each.window
                # Whoever looks for the first time, at what is long past, must not make those wait who work here.
                each.caught_up = each.caught_up or end >= self._spool.end
                if each.caught_up:
                    ends.append(end)
        self._spool.wait_at(min(ends, default=MAX_OFFSET))
