"""How large a run's terminal is: as the smallest of the screens that those who type at it have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from .streams.terminal import PseudoTerminal, TerminalSize


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
