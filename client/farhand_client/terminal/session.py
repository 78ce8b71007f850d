"""A run's terminal on the one in front of the user: keys there, output here, sizes both ways, until one ends."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from typing import Final

from farhand_client.errors import FarhandError
from farhand_client.output import Gap
from farhand_client.run import Run
from farhand_protocol.limits import KiB
from farhand_protocol.messages.terminal import WindowSize

from .changes import Changes
from .escapes import DEFAULT, Escapes, Key
from .keys import Keys
from .local import LocalTerminal
from .notes import Notes
from .notice import Notice
from .output import TerminalOutput
from .screen import Screen
from .sequences import CANCEL
from .silence import Silence

PIECE: Final = 64 * KiB
"""Bytes written to the terminal at once: keys are looked at between two of them."""

AGREEING: Final = 0.3
"""Seconds until a size that differs from ours is spoken of: while a window is dragged, the service's word is about the
size before, and a program draws for the new one first."""


REMEMBER: Final = 0.1
"""Seconds between two times that a guard of the terminal is told what a program has set there: in a flood of colours it
is another thing in each piece."""


class Parting(enum.Enum):
    """How it ended."""

    ENDED = enum.auto()
    """The run is over, or lost for good; `Run.wait` says which."""
    LEFT = enum.auto()
    """By a key: the run is left as its client goes (`Run.abandon`)."""
    DETACHED = enum.auto()
    """By a key: the run is left going (`Run.detach`)."""
    GONE = enum.auto()
    """The terminal is no more; the run is left going."""


class Interaction:
    """Shows `run` on `terminal`. Make `gap` its `on_gap`.

    With `escape`, keys behind it are for the client. A run that this client does not feed is only watched. The first
    `behind` bytes of its output, made on a terminal of the size `before`, are not shown as they come, but what they
    have left on the screen, once all of them are there. `ask` asks the service whether it is there (`Client.ping`).
    """

    def __init__(
        self,
        run: Run,
        terminal: LocalTerminal,
        *,
        escape: int | None = DEFAULT,
        behind: int = 0,
        before: WindowSize | None = None,
        ask: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._run = run
        self._terminal = terminal
        self._escape = escape
        self._behind = behind
        self._loop = asyncio.get_running_loop()
        self._size = _known(run.size, terminal.size)
        shown = before or self._size
        self._screen = Screen(shown.columns, shown.rows)
        self._repaint = behind > 0
        self._over: asyncio.Future[Parting] = self._loop.create_future()
        self._output = TerminalOutput(terminal, self._show, self.gone)
        self._notes = Notes(Notice(self._screen), self._show)
        self._types = run.stdin is not None and not run.stdin.over
        self._keys = Keys(terminal, run.stdin if self._types else None, Escapes(escape), self)
        self._changes = Changes(self, lambda: terminal.size)
        self._showing = True  # not before the terminal is raw
        self._set_in_terminal = False
        self._remembering: asyncio.TimerHandle | None = None
        self._silence = None if ask is None else Silence(ask, self._unanswered)
        self._differing: asyncio.TimerHandle | None = None
        self._said_size: WindowSize | None = None

    async def over(self) -> Parting:
        """Show it until one of them ends; the terminal is then as it was. Raises `NoTerminal`."""
        with self._terminal.raw(), self._changes:
            try:
                self._run.on_resize(self._agreed)
                self._run.on_going_away(self._stopping)
                self._run.stdout.on_ready(self._show)
                self._keys.start()
                self._showing = False
                self._agreed(self._run.size or self._size)
                return await self._over
            finally:
                self._end()

    def last(self, text: str | None) -> None:
        """Show a note of ours, and the way out, until told otherwise; None takes it away."""
        if text is not None and self._escape is not None:
            text = f"{text}; Enter {caret(self._escape)}d leaves it going"
        self._notes.last(text)

    def say(self, text: str) -> None:
        """Show a note of ours for a while."""
        self._notes.say(text)

    def lost(self, gap: Gap) -> None:
        """Bytes of the output are missing here."""
        if self._behind:
            self._behind = max(0, self._behind - gap.bytes)
        else:
            self.say(f"{gap.bytes} bytes of output are no longer kept; what is shown may be wrong until it is redrawn")

    def _stopping(self, grace: float) -> None:
        # With no way out: what is left is stopped as well.
        self._notes.last(f"the service is stopping; what runs here is ended in {grace:g} seconds")

    def _unanswered(self, text: str | None) -> None:
        if text is None or self._run.connected:  # of one that is lost more is said
            self.last(text)

    # Typist

    def key(self, key: Key) -> None:
        """Typist."""
        match key:
            case Key.LEAVE:
                self._part(Parting.LEFT)
                self._run.abandon()
            case Key.DETACH:
                self._part(Parting.DETACHED)
                self._run.detach()
            case Key.SUSPEND:
                self.suspend()
            case Key.HELP:
                self.say(self._help())

    def typed(self) -> None:
        """Typist."""
        self._notes.typed()
        if self._silence is not None and self._types:
            self._silence.typed()

    def unheard(self) -> None:
        """Typist."""
        self.say("nothing takes what is typed; it is thrown away")

    def watching(self, *, interrupt: bool) -> None:
        """Typist."""
        if self._types and self._run.outcome is not None:
            return  # the program is over: what is left of its output is on its way
        if interrupt:
            self.key(Key.LEAVE if self._run.kept else Key.DETACH)  # what others work in is not to be stopped
        elif self._types:
            self._types = False  # another client has come while the line was lost
            self.say("another client types here by now, and this terminal only watches; Ctrl-C leaves")
        else:
            self.say("what is typed here goes nowhere, this terminal only watches; Ctrl-C leaves")

    def gone(self) -> None:
        """Typist."""
        self._part(Parting.GONE)
        self._run.detach()

    # Shown

    def resized(self, size: WindowSize) -> None:
        """Shown."""
        self._run.resize(size.columns, size.rows)
        if self._types:
            # It grows only by the service's word: others may show it smaller.
            columns, rows = min(size.columns, self._size.columns), min(size.rows, self._size.rows)
            self._agreed(WindowSize(columns=columns, rows=rows))

    def suspend(self) -> None:
        """Shown."""
        self._give_back(self._notes.leave())
        self._terminal.stop()
        self._take_back()

    def continued(self) -> None:
        """Shown."""
        self._terminal.again()
        self._take_back()

    # The way of the output

    def _show(self) -> None:
        """Write what is to be seen, as far as the terminal takes it."""
        if self._showing:
            return
        self._showing = True
        try:
            while self._output.free and not self._over.done() and self._step():
                pass
        finally:
            self._showing = False

    def _step(self) -> bool:
        """Do what is next; return whether there was something to do."""
        screen = self._screen
        if self._repaint and not self._behind:
            self._paint()
        elif (self._size.columns != screen.columns or self._size.rows != screen.rows) and not self._behind:
            self._output.write(self._notes.give_way())
            screen.resize(self._size.columns, self._size.rows)
        elif note := self._notes.bring():
            self._output.write(note)
        else:
            return self._pass()
        return True

    def _pass(self) -> bool:
        """Pass a piece of the output on; return whether there was one."""
        try:
            chunks = self._run.stdout.read_nowait(PIECE)
        except FarhandError:
            chunks = None  # that is for who waits for the run's end
        if chunks is None:
            return self._finish()
        if not chunks:
            return False
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if self._silence is not None:
            self._silence.heard()
        if self._behind:
            self._screen.feed(data)  # what comes after is seen in what is painted as well
            self._behind = max(0, self._behind - len(data))
            return True
        shown = self._notes.give_way() + data
        if b"\x1b[?" in data:
            self._keep(data)  # who is killed from here on leaves modes that are known
            self._output.write(shown)
        else:
            self._output.write(shown)
            self._keep(data)
        return True

    def _keep(self, data: bytes) -> None:
        self._screen.feed(data)
        if b"\x1b" in data:
            self._set_in_terminal = True
            if self._remembering is None:
                self._remember()

    def _finish(self) -> bool:
        if self._behind:
            self._behind = 0  # there is no more
            return True
        self._part(Parting.ENDED)
        return False

    def _paint(self) -> None:
        self._repaint = False
        way = self._notes.give_way()
        self._screen.resize(self._size.columns, self._size.rows)
        self._output.write(way + self._screen.repaint(self._terminal.size.rows))
        self._terminal.undo(self._screen.undo())

    def _remember(self) -> None:
        """Have undone what the program has set, also where this process is killed."""
        self._remembering = None
        if self._set_in_terminal:
            self._set_in_terminal = False
            self._terminal.undo(self._screen.undo())
            self._remembering = self._loop.call_later(REMEMBER, self._remember)

    def _part(self, parting: Parting) -> None:
        if not self._over.done():
            self._over.set_result(parting)

    def _end(self) -> None:
        self._keys.stop()
        if self._silence is not None:
            self._silence.close()
        self._run.stdout.on_ready(None)
        self._run.on_resize(None)
        self._run.on_going_away(None)
        for timer in (self._differing, self._remembering):
            if timer is not None:
                timer.cancel()
        self._showing = True
        self._give_back(self._notes.close())

    def _give_back(self, way: bytes) -> None:
        cut = CANCEL if self._output.drop() else b""
        self._terminal.undo(cut + way + self._screen.undo())

    def _take_back(self) -> None:
        self._repaint = True
        self._changes.look()
        self._show()

    # Sizes

    def _agreed(self, size: WindowSize) -> None:
        self._size = _known(size, self._size)
        if self._differing is None:
            self._differing = self._loop.call_later(AGREEING, self._say_size)
        self._show()

    def _say_size(self) -> None:
        self._differing = None
        size, own = self._size, self._terminal.size
        if size == self._said_size:
            return
        self._said_size = size
        if size.columns < own.columns or size.rows < own.rows:
            self.say(f"the terminal is {size.columns}x{size.rows} here: another client shows it no larger")
        elif size != own:
            self.say(f"the terminal is {size.columns}x{size.rows}, larger than this one: not all of it is seen")

    def _help(self) -> str:
        escape = "" if self._escape is None else caret(self._escape)
        return f"{escape}. leaves  {escape}d detaches  {escape}^Z suspends  {escape}{escape} is {escape} itself"


def _known(size: WindowSize | None, otherwise: WindowSize) -> WindowSize:
    """Return `size` where it says something: 0 is unknown, as of a run whose service has died."""
    return size if size is not None and size.columns and size.rows else otherwise


def caret(code: int) -> str:
    """Return how a character is written for people: control characters with a circumflex."""
    return chr(code) if code >= 0x20 else f"^{chr(code + 0x40)}"
