"""Who is attached to a terminal: who types there, whom its program waits for, and in which sizes it is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .attachments import Attachment, Attachments, Output
from .output.filespool import FileSpool
from .output.spool import MAX_OFFSET
from .screen import SharedTerminalSize
from .streams.terminal import TerminalSize

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
