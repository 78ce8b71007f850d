"""Shows on a terminal how far a transfer is: a bar for each file under way, and one for all of it.

Only a transfer on a terminal imports this module, and with it rich, which takes 60 ms.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import IO, Final, NamedTuple, Self

from rich.console import Console, ConsoleDimensions
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from farhand_files.events import Event
from farhand_files.wire import CHUNK
from farhand_protocol.sentences import printable

from .printing import print_message
from .text import format_size, format_time, truncate_start
from .transfer_state import MovingFile, TransferState

REDRAW_INTERVAL: Final = 0.1
"""Seconds between two redraws: what people perceive as immediate, and a ten-thousandth of what a terminal can take."""

IDLE_INTERVAL: Final = 1.0
"""Seconds after which rate and time left are shown again although nothing has happened: they have changed by that."""

MAX_BARS: Final = 4
"""Files that are shown at once: as many as large files travel at once, and few enough for a small terminal."""

MAX_WAITING: Final = 256
"""Lines to be written above the bars that wait for the next redraw: what many terminals scroll in one frame."""

BAR_COLUMNS: Final = 24
"""Columns of a bar; a wider one shows no more."""

MIN_BAR_COLUMNS: Final = 8
"""Columns below which a bar says less than its percentage."""

MIN_NAME_COLUMNS: Final = 16
"""Columns of a name, below which the terminal rather shows less else."""

AMOUNT_COLUMNS: Final = 12
"""Columns of the longest amount, such as `1023M/1023M+`."""

PACE_COLUMNS: Final = 20
"""Columns of the longest rate with the time left, such as `1023K/s, 59m59s left`."""

_PERCENT_COLUMNS: Final = 4
_GAP: Final = 2


class _PlainConsole(Console):
    """Leaves the cursor visible: a program that is stopped or killed could not show it again. Its size is that of the
    terminal to which it writes, also if another one is stdin or COLUMNS says something else."""

    @property
    def size(self) -> ConsoleDimensions:
        try:
            columns, rows = os.get_terminal_size(self.file.fileno())
        except OSError:  # it has hung up
            columns = rows = 0
        return ConsoleDimensions(columns or 80, rows or 24)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        raise AttributeError("the terminal has the size that it has")

    def show_cursor(self, show: bool = True) -> bool:
        return False


class TransferBars:
    """While entered, shows the state of a transfer on the terminal `stream`; call `note` with each of its events.

    What else is written to the terminal meanwhile has to go through `write_above`. At the end the bars are removed.
    """

    def __init__(self, stream: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.state: Final = TransferState()
        self._clock = clock
        self._console = _PlainConsole(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)
        self._live = self._new_live()
        self._drawn = clock()
        self._timer: asyncio.TimerHandle | None = None
        self._idle = True
        self._waiting: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        self.state.sample(self._clock())
        self._live.start()
        self._schedule(IDLE_INTERVAL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._live.stop()
        self._write_waiting()

    def note(self, event: Event) -> None:
        """Take one event, and show it soon."""
        self.state.note(event)
        if self._idle:
            self._schedule(max(0.0, self._drawn + REDRAW_INTERVAL - self._clock()))

    def write_above(self, write: Callable[[], None]) -> None:
        """Call `write`, soon, where lines that it writes to the terminal appear above the bars."""
        self._waiting.append(write)
        if len(self._waiting) >= MAX_WAITING:
            self._redraw()

    def show_notice(self, text: str) -> None:
        """Print a message about the connection at once."""
        self.write_above(partial(print_message, text))
        self._redraw()

    def table(self) -> Table:
        """Return what is shown: a row for each of the first files under way, and one for the whole transfer."""
        layout = _Layout.of(self._console.width)
        table = Table.grid(padding=(0, _GAP, 0, 0))
        table.add_column(width=layout.name, no_wrap=True)
        if layout.bar:
            table.add_column(width=layout.bar)
        table.add_column(width=_PERCENT_COLUMNS, no_wrap=True, justify="right")
        if layout.amount:
            table.add_column(width=AMOUNT_COLUMNS, no_wrap=True, justify="right")
        if layout.pace:
            table.add_column(width=PACE_COLUMNS, no_wrap=True)
        shown = [file for file in self.state.under_way.values() if file.size < 0 or file.size >= CHUNK][:MAX_BARS]
        for row in [*map(_file_row, shown), _total_row(self.state, layout.name)]:
            cells: list[Text | ProgressBar] = [Text(truncate_start(row.name, layout.name))]
            if layout.bar:
                known = row.fraction is not None
                cells.append(ProgressBar(1.0, row.fraction or 0.0, layout.bar) if known else Text(""))
            cells.append(Text("" if row.fraction is None else f"{int(row.fraction * 100)}%"))
            cells += [Text(row.amount)] if layout.amount else []
            cells += [Text(row.pace)] if layout.pace else []
            table.add_row(*cells)
        return table

    def _new_live(self) -> Live:
        return Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            get_renderable=self.table,
        )

    def _schedule(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._idle = seconds == IDLE_INTERVAL
        self._timer = asyncio.get_running_loop().call_later(seconds, self._redraw)

    def _redraw(self) -> None:
        self._drawn = self._clock()
        self.state.sample(self._drawn)
        if self._waiting:
            self._live.stop()
            self._write_waiting()
            self._live = self._new_live()  # one that was stopped would move the cursor to where its lines were
            self._live.start()
        self._live.refresh()
        self._schedule(IDLE_INTERVAL)

    def _write_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for write in waiting:
            write()


class _Layout(NamedTuple):
    """How wide what is shown is, and which of it fits; the same for all rows, and for as long as the terminal is as
    wide."""

    name: int
    bar: int
    amount: bool
    pace: bool

    @classmethod
    def of(cls, columns: int) -> _Layout:
        left = columns - MIN_NAME_COLUMNS - _GAP - _PERCENT_COLUMNS - _GAP
        amount = left >= AMOUNT_COLUMNS + _GAP
        left -= AMOUNT_COLUMNS + _GAP if amount else 0
        pace = amount and left >= PACE_COLUMNS + _GAP
        left -= PACE_COLUMNS + _GAP if pace else 0
        bar = min(left - _GAP, BAR_COLUMNS) if pace and left >= MIN_BAR_COLUMNS + _GAP else 0
        left -= bar + _GAP if bar else 0
        return cls(max(MIN_NAME_COLUMNS + left, 1), bar, amount, pace)


class _BarRow(NamedTuple):
    name: str
    fraction: float | None
    amount: str
    pace: str = ""


def _file_row(file: MovingFile) -> _BarRow:
    name = printable(os.fsdecode(file.path))
    if file.size < 0:
        return _BarRow(name, None, format_size(file.done))
    fraction = min(file.done / file.size, 1.0) if file.size else 1.0
    return _BarRow(name, fraction, f"{format_size(file.done)}/{format_size(file.size)}")


def _total_row(state: TransferState, columns: int) -> _BarRow:
    more = "" if state.walked else "+"
    count = f"{state.over}/{state.files}{more}"
    failed = f", {state.failed} failed" if state.failed else ""
    names = (f"{count} files{failed}", f"{count}{failed}", count)
    name = next((each for each in names if len(each) <= columns), count)
    known = f"/{format_size(state.size)}{more}" if state.sized else ""
    pace = "" if state.rate is None else f"{format_size(round(state.rate))}/s"
    if state.seconds_left is not None:
        pace += f", {format_time(state.seconds_left)} left"
    return _BarRow(name, state.fraction, format_size(state.done) + known, pace)
