"""Predicts how a program will echo what is typed, by the rules of mosh's prediction engine (its terminaloverlay.cc).

Each typed key makes a guess of what a cell will contain, and of where the cursor will be (guesses.py). A guess is
judged once everything that the key has caused must have arrived (`Predictor.acknowledge`): either it is what the
program shows, or all guesses are dropped.

Whether a program echoes at all is known only after it has done so. Guesses therefore belong to epochs, and those of an
epoch are shown only once one of them has proved right. Whatever may change how the program treats its input begins a
new epoch: the end of a line, a control key, a wrong guess, a cursor that is not where the last guess left it. What is
typed at a prompt for a password is not echoed, so its epoch is never confirmed, and nothing of it is ever shown.

There is one exception, so that people need not wait at the beginning of each line: where a line editor (it has set
bracketed paste) shows a prompt at which it has echoed before in this session, its echo is expected at once.

Beyond mosh:
- After a key whose effect is unknown, nothing is guessed until the screen shows that effect; what was typed meanwhile
  is then guessed from there on.
- Text behind the cursor moves along only if the user has moved the cursor into the line. Otherwise it is a suggestion
  of the shell, or a prompt on the right.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from functools import reduce
from typing import Final, NamedTuple

from .emulator import Emulator
from .grid import BLANK_CELL, Cell, TextAttributes, character_width
from .guesses import CursorGuess, Guesses, cursor_of
from .keystrokes import KeyKind, Keystroke
from .settings import BRACKETED_PASTE_MODE

MAX_UNSETTLED: Final = 256
"""Inputs that are not acknowledged, beyond which guessing stops: half a minute of fast typing. A connection that
answers nothing counts as lost sooner."""

MAX_PROMPTS: Final = 64
"""Prompts that are remembered. Most sessions have fewer: one for each directory and state that a prompt shows."""

_MIN_PROMPT: Final = 2
"""Characters that make a prompt recognizable, not all of them blanks."""


class Predicted(NamedTuple):
    """What to show in the cursor's row: cells by column that differ from the screen, and the cursor's column."""

    cells: dict[int, Cell]
    column: int


class Predictor:
    """Guesses for one terminal. `screen` is always the screen as the program's output has left it.

    Pass everything that is typed to `type`, and the number of the last input whose effect must be visible to
    `acknowledge`, after all output that arrived before. `predicted` returns what to show at any time.
    """

    def __init__(self) -> None:
        self.typed = 0
        """The number of the last input."""
        self.settled = 0
        """The number of the last input whose effect must be visible."""
        self._unsettled: deque[_Input] = deque()
        self._guesses = Guesses()
        self._lost_at: int | None = None
        """The input after which it is unknown where the program's cursor will be."""
        self._epoch = 1
        self._confirmed = 0
        self._prompts = _Prompts()
        self._place: tuple[int, int, int] | None = None
        """The size of the screen for which the guesses were made, and whether it is the alternate one."""
        self._left_at: tuple[int, int, bool] | None = None
        """Where the last guess expected the cursor, and whether bracketed paste was set."""
        self._start: tuple[int, int] | None = None
        """Where the first character of the line was typed: nothing left of it can be deleted."""
        self._line = _Line()
        """The line before the key whose effect is being guessed."""
        self._typed_line = _Line()
        """The line after everything typed."""

    @property
    def pending(self) -> bool:
        """Whether there are guesses."""
        return bool(self._guesses)

    def type(self, keys: Sequence[Keystroke], screen: Emulator) -> None:
        """Guess the effect of `keys`, the input number `typed` after this call."""
        if len(self._unsettled) >= MAX_UNSETTLED:
            self.skip()
            return
        self._check_place(screen)
        self.typed += 1
        typed = _Input(self.typed, keys, self._typed_line)
        self._typed_line = reduce(_Line.after, keys, self._typed_line)
        self._unsettled.append(typed)
        if self._lost_at is None:
            self._guess_all(typed, screen)

    def skip(self) -> None:
        """Note an input whose effect cannot be guessed."""
        self.typed += 1
        self._typed_line = _Line(fresh=False, moved=True)
        self._unsettled.clear()
        self.reset()

    def acknowledge(self, settled: int, received: int, screen: Emulator) -> None:
        """Judge the guesses of all inputs up to number `settled`: `screen` shows their effect, if they have any.

        `received` is the number of the last input that the program had received then, at least `settled`.
        """
        self.settled = max(self.settled, settled)
        self._check_place(screen)
        # Whatever has happened since an unknown key may have changed what was guessed before it.
        certain = self._lost_at is None or received < self._lost_at
        wrong = not self._judge(screen) and certain
        if wrong:
            self._prompts.refuted()
        if wrong or (self._lost_at is not None and self.settled >= self._lost_at):
            self._drop()
            self._lost_at = None
            for each in self._unsettled:
                if each.number > received and self._lost_at is None:
                    self._guess_all(each, screen)
        while self._unsettled and self._unsettled[0].number <= self.settled:
            self._unsettled.popleft()

    def reset(self) -> None:
        """Drop all guesses, and make no others before everything typed so far is settled."""
        self._drop()
        self._lost_at = self.typed if self.settled < self.typed else None

    def predicted(self, screen: Emulator) -> Predicted | None:
        """Return what to show in the cursor's row of `screen`; None if the row is to be shown as it is."""
        if not self._guesses or self._place != _place(screen):
            return None
        number = screen.y + screen.scrolled
        cursor = next((guess for guess in reversed(self._guesses.cursors) if guess.epoch <= self._confirmed), None)
        if cursor is not None and cursor.row != number:
            return None
        row = screen.grid.rows[screen.y]
        cells = {
            column: (guess.text, guess.attributes)
            for column, guess in self._guesses.rows.get(number, {}).items()
            if guess.text is not None and guess.epoch <= self._confirmed and guess.text != row.at(column)[0]
        }
        column = screen.x if cursor is None else cursor.column
        return Predicted(cells, column) if cells or column != screen.x else None

    def _judge(self, screen: Emulator) -> bool:
        right, proven = self._guesses.judge_cells(self.settled, self._confirmed, screen)
        if proven > self._confirmed:
            self._confirmed = proven
            self._prompts.confirmed(proven)
        right = right and self._guesses.judge_cursor(self.settled, screen)
        if not right:
            self._drop()
        return right

    # Guessing

    def _guess_all(self, typed: _Input, screen: Emulator) -> None:
        self._line = typed.line
        for key in typed.keys:
            if self._lost_at is None:
                self._guess(key, typed.number, screen)
            self._line = self._line.after(key)

    def _guess(self, key: Keystroke, number: int, screen: Emulator) -> None:
        if key.kind in (KeyKind.LINE_END, KeyKind.OTHER):
            self._lose(number)
            return
        row, column = self._cursor(screen, number)
        match key.kind:
            case KeyKind.CHARACTER:
                self._guess_character(key.text, row, column, number, screen)
            case KeyKind.BACKSPACE if column and (row, column) != self._start:
                self._guess_backspace(row, column, number, screen)
            case KeyKind.LEFT if column and (row, column) != self._start:
                self._move(row, column - 1, number)
            case KeyKind.RIGHT if self._text_behind(row, column, screen):
                if self._line.moved and column < screen.columns - 2:
                    self._move(row, column + 1, number)
                else:
                    self._lose(number)  # a suggestion is accepted

    def _cursor(self, screen: Emulator, number: int) -> tuple[int, int]:
        """Return where the next character goes; at first that is where the program's cursor is."""
        if self._guesses.cursors:
            return self._guesses.cursors[-1][:2]
        at, brackets = cursor_of(screen), screen.settings.is_set(BRACKETED_PASTE_MODE)
        continued = (*at, brackets) == self._left_at
        self._place = _place(screen)
        self._left_at = (*at, brackets)
        if self._line.fresh:
            self._start = at
            self._epoch += 1
            if self._prompts.begin(self._epoch, _prompt_of(screen)):
                self._confirmed = self._epoch
        elif not continued:
            self._epoch += 1
        self._move(*at, number)
        return at

    def _guess_character(self, char: str, row: int, column: int, number: int, screen: Emulator) -> None:
        if column >= screen.columns - 1:
            # An editor may show a mark in the last column, and what it does next is uncertain.
            self._epoch += 1
        left = self._guesses.cell(row, column - 1, screen) if column else None
        attributes = screen.settings.attributes if left is None else left[1]
        if not self._line.moved or self._shift(row, column, 1, number, attributes, screen):
            self._expect(row, column, (char, attributes), number, screen)
        if column < screen.columns - 1:
            self._move(row, column + 1, number)
        else:
            self._epoch += 1
            self._move(row + 1, 0, number)

    def _guess_backspace(self, row: int, column: int, number: int, screen: Emulator) -> None:
        column -= 1
        cell = self._guesses.cell(row, column, screen)
        following = self._guesses.cell(row, column + 1, screen)
        if cell is not None and following is not None and "" in (cell[0], following[0]):
            self._lose(number)  # a wide character
            return
        if self._line.moved and self._text_behind(row, column + 1, screen):
            self._shift(row, column, -1, number, None if cell is None else cell[1], screen)
        else:
            self._expect(row, column, BLANK_CELL, number, screen)
        self._move(row, column, number)

    def _shift(
        self, row: int, column: int, by: int, number: int, attributes: TextAttributes | None, screen: Emulator
    ) -> bool:
        """Guess that the text from `column` on moves one column to the right, or the text after it to the left.

        Return False if that is uncertain: then its cells become unknown.
        """
        first = column if by > 0 else column + 1
        end = self._guesses.text_end(row, first, screen)
        cells = [self._guesses.cell(row, at, screen) for at in range(first, end)]
        plain = all(cell is not None and _is_plain(cell) and cell[1] == attributes for cell in cells)
        if plain and end < screen.columns - 1:
            for at, cell in enumerate(cells, first + by):
                self._expect(row, at, cell, number, screen)
            if by < 0:
                self._expect(row, end - 1, BLANK_CELL, number, screen)
            return True
        for at in range(column, min(end + 1, screen.columns)):
            self._expect(row, at, None, number, screen)
        return False

    def _text_behind(self, row: int, column: int, screen: Emulator) -> bool:
        return self._guesses.text_end(row, column, screen) > column

    def _expect(self, row: int, column: int, cell: Cell | None, number: int, screen: Emulator) -> None:
        self._guesses.expect(row, column, cell, self._epoch, number, screen)

    def _move(self, row: int, column: int, number: int) -> None:
        self._guesses.cursors.append(CursorGuess(row, column, self._epoch, number))
        self._left_at = None if self._left_at is None else (row, column, self._left_at[2])

    def _lose(self, number: int) -> None:
        """Make no more guesses until the effect of input `number` is visible."""
        self._epoch += 1
        self._start = self._left_at = None
        self._lost_at = number

    def _drop(self) -> None:
        self._guesses.clear()
        self._left_at = self._place = self._start = None
        self._epoch += 1

    def _check_place(self, screen: Emulator) -> None:
        """Drop all guesses if the screen is another one than that for which they were made."""
        if self._place is not None and self._place != _place(screen):
            self.reset()


class _Line(NamedTuple):
    """What is known of the line that is being typed."""

    fresh: bool = True
    """Whether nothing was typed since the last line ended."""
    moved: bool = False
    """Whether the cursor may be inside the text rather than at its end."""

    def after(self, key: Keystroke) -> _Line:
        if key.kind is KeyKind.LINE_END:
            return _Line()
        return _Line(fresh=False, moved=self.moved or key.kind in (KeyKind.LEFT, KeyKind.RIGHT, KeyKind.OTHER))


class _Input(NamedTuple):
    number: int
    keys: Sequence[Keystroke]
    line: _Line
    """The line before these keys."""


class _Prompts:
    """The prompts at which a program has echoed."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()
        self._candidate: tuple[int, str] | None = None
        self._trusted: str | None = None

    def begin(self, epoch: int, prompt: str | None) -> bool:
        """Note that the first guess of `epoch` is made at `prompt`; return whether to expect an echo there."""
        known = prompt is not None and prompt in self._known
        self._trusted = prompt if known else None
        self._candidate = None if known or prompt is None else (epoch, prompt)
        return known

    def confirmed(self, epoch: int) -> None:
        """Remember the prompt of this epoch, if it has one."""
        if self._candidate is not None and self._candidate[0] == epoch:
            self._known[self._candidate[1]] = None
            if len(self._known) > MAX_PROMPTS:
                self._known.popitem(last=False)

    def refuted(self) -> None:
        """Forget the prompt at which the last echo was expected."""
        if self._trusted is not None:
            self._known.pop(self._trusted, None)
        self._candidate = self._trusted = None


def _prompt_of(screen: Emulator) -> str | None:
    """Return the text before the cursor if a line editor may be waiting behind it."""
    settings = screen.settings
    if settings.alternate or screen.wrapping or not settings.is_set(BRACKETED_PASTE_MODE):
        return None
    row = screen.grid.rows[screen.y]
    text = "".join(row.at(column)[0] for column in range(screen.x))
    return text if len(text) >= _MIN_PROMPT and not text.isspace() else None


def _place(screen: Emulator) -> tuple[int, int, int]:
    return screen.columns, screen.rows, bool(screen.settings.alternate)


def _is_plain(cell: Cell) -> bool:
    return len(cell[0]) == 1 and character_width(cell[0]) == 1
