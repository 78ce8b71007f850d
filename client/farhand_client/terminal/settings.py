"""What a program has set in the terminal and what outlives the program: how to undo it, and how to set it again.

The numbers are those of xterm's ctlseqs and, for the keyboard, of kitty's keyboard protocol.
"""

from __future__ import annotations

from copy import copy
from typing import Final

from .grid import DEFAULT_ATTRIBUTES, TextAttributes

ALTERNATE_SCREEN_MODES: Final = (47, 1047, 1049)
"""Private modes that show the alternate screen."""

ORIGIN_MODE: Final = 6
AUTOWRAP_MODE: Final = 7
CURSOR_MODE: Final = 25
BRACKETED_PASTE_MODE: Final = 2004
SYNCHRONIZED_MODE: Final = 2026
SIDE_MARGINS_MODE: Final = 69

_INSERT_MODE: Final = 4
_NEWLINE_MODE: Final = 20
"""These two are not private."""

DEFAULT_MODES: Final = {
    1: False,  # application cursor keys
    5: False,  # reverse screen
    ORIGIN_MODE: False,
    AUTOWRAP_MODE: True,
    9: False,  # mouse, as 1000 and so on
    CURSOR_MODE: True,
    45: False,  # reverse wraparound
    66: False,  # application keypad
    SIDE_MARGINS_MODE: False,
    **dict.fromkeys((1000, 1001, 1002, 1003, 1005, 1006, 1015, 1016), False),
    1004: False,  # focus
    BRACKETED_PASTE_MODE: False,
    SYNCHRONIZED_MODE: False,  # synchronized output
    2031: False,  # reports of the colour scheme
    2048: False,  # reports of the size
    9001: False,  # win32 keyboard
}
"""The private modes of a terminal at a prompt. Other modes differ between terminals, or are chosen by their users."""

_SOFT_RESET_MODES: Final = (1, ORIGIN_MODE, AUTOWRAP_MODE, CURSOR_MODE, 66, SIDE_MARGINS_MODE)
"""Private modes that a soft reset (DECSTR) sets to their defaults."""

_MAX_KEYBOARD_STACK: Final = 16
"""Entries kept of kitty's keyboard stack: terminals limit their stacks likewise and drop the oldest entry."""

MAX_TITLE: Final = 1024
"""Bytes of a title that is restored: more than any window shows."""


class TerminalSettings:
    """The settings in effect. A copy is independent: the values held are never changed in place."""

    def __init__(self) -> None:
        self.reset()
        self.title: str | None = None
        """The window title that the program has set; None if it has not set one."""

    def reset(self) -> None:
        """Set everything to the state of a new terminal (RIS), except for the title."""
        self.alternate = 0
        """The private mode that shows the alternate screen, or 0."""
        self.modes = dict[int, bool]()
        self.colours = frozenset[str]()
        """OSC commands that have changed the terminal's colours: 4 the palette, 10 to 12 text, background, cursor."""
        self.hyperlink = False
        self.cursor_saved: tuple[bool, bool] = (False, False)
        """Whether the program has saved the cursor (DECSC), on the main and on the alternate screen."""
        self.cursor_style = ""
        """The parameter of DECSCUSR."""
        self.other_keys = ""
        """The parameters of xterm's modifyOtherKeys."""
        self.keyboards: tuple[tuple[int, ...], tuple[int, ...]] = ((0,), (0,))
        """The stacks of kitty's keyboard flags, on the main and on the alternate screen; the last entry applies."""
        self.soft_reset()

    def soft_reset(self) -> None:
        """Set to their defaults what a soft reset covers (DECSTR)."""
        self.modes = {mode: on for mode, on in self.modes.items() if mode not in _SOFT_RESET_MODES}
        self.insert = self.newline = self.keypad = self.shifted = False
        self.charsets = ("B", "B")
        """G0 and G1; G1 is in use where `shifted`."""
        self.margins: tuple[int, int] | None = None
        """The first and last row of the scrolling region, from 1, as the program requested them."""
        self.attributes: TextAttributes = DEFAULT_ATTRIBUTES

    def is_set(self, mode: int) -> bool:
        """Whether a private mode of `DEFAULT_MODES` is set."""
        return self.modes.get(mode, DEFAULT_MODES[mode])

    def apply_csi(self, prefix: str, parameters: str, final: str) -> None:
        """Apply `CSI prefix parameters final`, where `final` includes intermediates; ignore what sets nothing here."""
        numbers = [parse_parameter(field) for field in parameters.split(";")]
        match prefix + final:
            case "?h" | "?l":
                self._set_private_modes(numbers, final == "h")
            case "h" | "l":
                self.insert = final == "h" if _INSERT_MODE in numbers else self.insert
                self.newline = final == "h" if _NEWLINE_MODE in numbers else self.newline
            case "s":
                self._note_saved_cursor()
            case "r":
                top, bottom = (*numbers, 0)[:2]
                self.margins = (max(1, top), bottom) if top > 1 or bottom else None
            case " q":
                self.cursor_style = parameters if numbers[0] else ""
            case "!p":
                self.soft_reset()
            case ">m" if numbers[0] == 4:
                self.other_keys = parameters if any(numbers[1:]) else ""
            case ">n" if numbers[0] == 4:
                self.other_keys = ""
            case ">u" | "<u" | "=u":
                self._set_keyboard(prefix, numbers)

    def apply_escape(self, final: str) -> None:
        """Apply `ESC final`, where `final` includes intermediates."""
        match final:
            case "=" | ">":
                self.keypad = final == "="
            case "c":
                self.reset()
            case "7":
                self._note_saved_cursor()
            case _ if final[0] == "(" and len(final) == 2:
                self.charsets = (final[1], self.charsets[1])
            case _ if final[0] == ")" and len(final) == 2:
                self.charsets = (self.charsets[0], final[1])

    def apply_osc(self, code: str, text: str) -> None:
        """Apply `OSC code ; text`: a title, a hyperlink or a colour."""
        if code in ("0", "2"):
            self.title = text if len(text) <= MAX_TITLE else ""
        elif code == "8":
            self.hyperlink = not text.endswith(";")
        elif len(code) == 3:
            self.colours -= {str(int(code) - 100)}
        elif "?" not in text:
            self.colours |= {code}

    def _note_saved_cursor(self) -> None:
        self.cursor_saved = (self.cursor_saved[0], True) if self.alternate else (True, self.cursor_saved[1])

    def _set_private_modes(self, modes: list[int], on: bool) -> None:
        for mode in modes:
            if mode in ALTERNATE_SCREEN_MODES:
                self.alternate = mode if on else 0
            elif mode in DEFAULT_MODES and self.is_set(mode) != on:
                self.modes = {**self.modes, mode: on}

    def _set_keyboard(self, prefix: str, numbers: list[int]) -> None:
        flags, how = (*numbers, 1)[:2]
        which = bool(self.alternate)
        stack = self.keyboards[which]
        if prefix == ">":
            stack = (stack[0], *(*stack[1:], flags)[-_MAX_KEYBOARD_STACK:])
        elif prefix == "<":
            stack = stack[: max(1, len(stack) - max(1, flags))]
        else:
            top = stack[-1]
            stack = (*stack[:-1], {1: flags, 2: top | flags, 3: top & ~flags}.get(how, top))
        self.keyboards = (self.keyboards[0], stack) if which else (stack, self.keyboards[1])

    def copy(self) -> TerminalSettings:
        """Return an independent copy."""
        return copy(self)

    def undo_sequence(self) -> str:
        """Return the sequence that undoes all settings; "" if nothing is set."""
        parts = [f"\x1b[?{SYNCHRONIZED_MODE}l"] if self.is_set(SYNCHRONIZED_MODE) else []
        if self.hyperlink:
            parts.append("\x1b]8;;\x1b\\")
        parts += [f"\x1b]1{int(code):02}\x1b\\" for code in sorted(self.colours)]
        if self.attributes != DEFAULT_ATTRIBUTES:
            parts.append("\x1b[m")
        parts += [f"\x1b{which}B" for which, charset in zip("()", self.charsets, strict=True) if charset != "B"]
        if self.shifted:
            parts.append("\x0f")
        parts.append(self._undo_region())
        parts += ["\x1b[4l"] * self.insert + ["\x1b[20l"] * self.newline + ["\x1b>"] * self.keypad
        parts += ["\x1b[0 q"] * bool(self.cursor_style) + ["\x1b[>4m"] * bool(self.other_keys)
        parts += [
            f"\x1b[?{mode}{'h' if DEFAULT_MODES[mode] else 'l'}"
            for mode, on in sorted(self.modes.items())
            if on != DEFAULT_MODES[mode] and mode not in (ORIGIN_MODE, SYNCHRONIZED_MODE)
        ]
        # Each screen has its own keyboard stack: leave the alternate screen between undoing the two.
        parts.append(_undo_keyboard(self.keyboards[1]) if self.alternate else "")
        parts.append(f"\x1b[?{self.alternate}l" if self.alternate else "")
        parts.append(_undo_keyboard(self.keyboards[0]))
        return "".join(parts)

    def _undo_region(self) -> str:
        # Resetting margins or origin mode moves the cursor. Save and restore it around that, except where restoring
        # would also set origin mode again. Leaving the alternate screen (1049) restores it anyway.
        if self.alternate == 1049:
            return "\x1b[?6l" * self.is_set(ORIGIN_MODE) + "\x1b[r" * bool(self.margins)
        if self.is_set(ORIGIN_MODE):
            return "\x1b[?6l\x1b[r\x1b[9999;1H"
        return "\x1b7\x1b[r\x1b8" if self.margins else ""

    def set_sequence(self) -> str:
        """Return the sequence that makes these settings in a terminal where nothing is set.

        It leaves out the alternate screen and its keyboard, colours and the hyperlink, and everything that moves the
        cursor or depends on its position (margins, origin mode, attributes).
        """
        parts = [
            f"\x1b[?{mode}{'h' if on else 'l'}"
            for mode, on in sorted(self.modes.items())
            if on != DEFAULT_MODES[mode] and mode not in (ORIGIN_MODE, CURSOR_MODE, SYNCHRONIZED_MODE)
        ]
        parts += ["\x1b[4h"] * self.insert + ["\x1b[20h"] * self.newline + ["\x1b="] * self.keypad
        parts += [f"\x1b{which}{charset}" for which, charset in zip("()", self.charsets, strict=True) if charset != "B"]
        parts += ["\x0e"] * self.shifted + [f"\x1b[{self.cursor_style} q"] * bool(self.cursor_style)
        parts += [f"\x1b[>{self.other_keys}m"] * bool(self.other_keys)
        return "".join(parts)


def keyboard_sequence(stack: tuple[int, ...]) -> str:
    """Return the sequence that sets these flags of kitty's keyboard protocol where none are set."""
    return (f"\x1b[={stack[0]}u" if stack[0] else "") + "".join(f"\x1b[>{flags}u" for flags in stack[1:])


def _undo_keyboard(stack: tuple[int, ...]) -> str:
    return (f"\x1b[<{len(stack) - 1}u" if len(stack) > 1 else "") + ("\x1b[=0u" if stack[0] else "")


def parse_parameter(text: str) -> int:
    """Return the value of a numeric parameter: 0 if it is missing, at most 99,999."""
    return int(text) if text.isdecimal() and len(text) < 6 else 99_999 if text.isdecimal() else 0
