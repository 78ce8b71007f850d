"""What a program has set in the terminal, as far as it outlives the program: how to undo it, and how to set it again.

The numbers are those of xterm's ctlseqs and, for the keyboard, of kitty's keyboard protocol.
"""

from __future__ import annotations

from copy import copy
from typing import Final

from .graphics import PLAIN, Attributes, selecting

ALTERNATE: Final = (47, 1047, 1049)
"""Private modes that show the alternate screen."""

ORIGIN: Final = 6
AUTOWRAP: Final = 7
CURSOR: Final = 25

INSERT: Final = 4
NEWLINE: Final = 20
"""These two are not private."""

USUAL: Final = {
    1: False,  # application cursor keys
    5: False,  # reverse screen
    ORIGIN: False,
    AUTOWRAP: True,
    9: False,  # mouse, as 1000 and so on
    CURSOR: True,
    45: False,  # reverse wraparound
    66: False,  # application keypad
    69: False,  # left and right margins
    **dict.fromkeys((1000, 1001, 1002, 1003, 1005, 1006, 1015, 1016), False),
    1004: False,  # focus
    2004: False,  # bracketed paste
    2026: False,  # synchronized output
    2031: False,  # reports of the colour scheme
    2048: False,  # reports of the size
    9001: False,  # win32 keyboard
}
"""How a terminal stands at a prompt. Other modes differ between terminals, or their users choose them."""

_SOFT: Final = (1, ORIGIN, AUTOWRAP, CURSOR, 66, 69)
"""Private modes that a soft reset (DECSTR) sets back."""

_DEEPEST: Final = 16
"""Flags of kitty's keyboard that are remembered: terminals bound their stacks likewise, and forget the oldest."""

MAX_TITLE: Final = 1024
"""Bytes of a title that is put back: more than any window shows."""


class Settings:
    """What is set now. A copy is independent; what it holds is never changed in place."""

    def __init__(self) -> None:
        self.reset()
        self.title: str | None = None
        """What the program calls the window; None where it has not said."""

    def reset(self) -> None:
        """Everything as it is in a new terminal (RIS), but for the title."""
        self.alternate = 0
        """The private mode that shows the alternate screen, or 0."""
        self.modes = dict[int, bool]()
        self.colours = frozenset[str]()
        """Commands (OSC) that have changed the terminal's colours: 4 the palette, 10 to 12 text, background, cursor."""
        self.link = False
        self.saves: tuple[bool, bool] = (False, False)
        """Whether the program has saved the cursor (DECSC), on the main and on the alternate screen."""
        self.style = ""
        """The cursor's (DECSCUSR)."""
        self.other_keys = ""
        """xterm's modifyOtherKeys."""
        self.keyboards: tuple[tuple[int, ...], tuple[int, ...]] = ((0,), (0,))
        """The flags of kitty's keyboard protocol, on the main and on the alternate screen: what counts is on top."""
        self.soft_reset()

    def soft_reset(self) -> None:
        """What DECSTR does."""
        self.modes = {mode: on for mode, on in self.modes.items() if mode not in _SOFT}
        self.insert = self.newline = self.keypad = self.shifted = False
        self.charsets = ("B", "B")
        """G0 and G1; of both, G1 where `shifted`."""
        self.margins: tuple[int, int] | None = None
        """First and last row of the scrolling region, from 1 on, as they were asked for."""
        self.attributes: Attributes = PLAIN

    def on(self, mode: int) -> bool:
        """Whether a private mode of `USUAL` is set."""
        return self.modes.get(mode, USUAL[mode])

    def control(self, prefix: str, parameters: str, final: str) -> None:
        """`CSI prefix parameters final` came, `final` with the intermediates; what sets nothing here is ignored."""
        numbers = [number(field) for field in parameters.split(";")]
        match prefix + final:
            case "?h" | "?l":
                self._private(numbers, final == "h")
            case "h" | "l":
                self.insert = final == "h" if INSERT in numbers else self.insert
                self.newline = final == "h" if NEWLINE in numbers else self.newline
            case "s":
                self._saves()
            case "r":
                top, bottom = (*numbers, 0)[:2]
                self.margins = (max(1, top), bottom) if top > 1 or bottom else None
            case " q":
                self.style = parameters if numbers[0] else ""
            case "!p":
                self.soft_reset()
            case ">m" if numbers[0] == 4:
                self.other_keys = parameters if any(numbers[1:]) else ""
            case ">n" if numbers[0] == 4:
                self.other_keys = ""
            case ">u" | "<u" | "=u":
                self._keyboard(prefix, numbers)

    def escape(self, final: str) -> None:
        """`ESC final` came, `final` with the intermediates."""
        match final:
            case "=" | ">":
                self.keypad = final == "="
            case "c":
                self.reset()
            case "7":
                self._saves()
            case _ if final[0] == "(" and len(final) == 2:
                self.charsets = (final[1], self.charsets[1])
            case _ if final[0] == ")" and len(final) == 2:
                self.charsets = (self.charsets[0], final[1])

    def command(self, code: str, text: str) -> None:
        """`OSC code ; text` came."""
        if code in ("0", "2"):
            self.title = text if len(text) <= MAX_TITLE else ""
        elif code == "8":
            self.link = not text.endswith(";")
        elif len(code) == 3:
            self.colours -= {str(int(code) - 100)}
        elif "?" not in text:
            self.colours |= {code}

    def _saves(self) -> None:
        self.saves = (self.saves[0], True) if self.alternate else (True, self.saves[1])

    def _private(self, modes: list[int], on: bool) -> None:
        for mode in modes:
            if mode in ALTERNATE:
                self.alternate = mode if on else 0
            elif mode in USUAL and self.on(mode) != on:
                self.modes = {**self.modes, mode: on}

    def _keyboard(self, prefix: str, numbers: list[int]) -> None:
        flags, how = (*numbers, 1)[:2]
        at = bool(self.alternate)
        stack = self.keyboards[at]
        if prefix == ">":
            stack = (stack[0], *(*stack[1:], flags)[-_DEEPEST:])
        elif prefix == "<":
            stack = stack[: max(1, len(stack) - max(1, flags))]
        else:
            top = stack[-1]
            stack = (*stack[:-1], {1: flags, 2: top | flags, 3: top & ~flags}.get(how, top))
        self.keyboards = (self.keyboards[0], stack) if at else (stack, self.keyboards[1])

    def copy(self) -> Settings:
        """Return one that stays as it is."""
        return copy(self)

    def undo(self) -> str:
        """Return what undoes all of it; "" where nothing is set."""
        parts = ["\x1b[?2026l"] if self.on(2026) else []
        if self.link:
            parts.append("\x1b]8;;\x1b\\")
        parts += [f"\x1b]1{int(code):02}\x1b\\" for code in sorted(self.colours)]
        if self.attributes != PLAIN:
            parts.append("\x1b[m")
        parts += [f"\x1b{which}B" for which, charset in zip("()", self.charsets, strict=True) if charset != "B"]
        if self.shifted:
            parts.append("\x0f")
        parts.append(self._undo_region())
        parts += ["\x1b[4l"] * self.insert + ["\x1b[20l"] * self.newline + ["\x1b>"] * self.keypad
        parts += ["\x1b[0 q"] * bool(self.style) + ["\x1b[>4m"] * bool(self.other_keys)
        parts += [
            f"\x1b[?{mode}{'h' if USUAL[mode] else 'l'}"
            for mode, on in sorted(self.modes.items())
            if on != USUAL[mode] and mode not in (ORIGIN, 2026)
        ]
        # Each screen has a keyboard of its own: leave the alternate one in between.
        parts.append(_undo_keyboard(self.keyboards[1]) if self.alternate else "")
        parts.append(f"\x1b[?{self.alternate}l" if self.alternate else "")
        parts.append(_undo_keyboard(self.keyboards[0]))
        return "".join(parts)

    def _undo_region(self) -> str:
        # Both move the cursor. It is put back, unless what puts it back would set origin mode again as well. Leaving
        # the alternate screen puts it back anyway.
        if self.alternate == 1049:
            return "\x1b[?6l" * self.on(ORIGIN) + "\x1b[r" * bool(self.margins)
        if self.on(ORIGIN):
            return "\x1b[?6l\x1b[r\x1b[9999;1H"
        return "\x1b7\x1b[r\x1b8" if self.margins else ""

    def again(self) -> str:
        """Return what sets, in a terminal where nothing is set, what `undo` would undo: but for the alternate screen,
        what the keyboard is there, colours and the link, and for all that moves the cursor or depends on it (margins,
        origin, attributes)."""
        parts = [
            f"\x1b[?{mode}{'h' if on else 'l'}"
            for mode, on in sorted(self.modes.items())
            if on != USUAL[mode] and mode not in (ORIGIN, CURSOR, 2026)
        ]
        parts += ["\x1b[4h"] * self.insert + ["\x1b[20h"] * self.newline + ["\x1b="] * self.keypad
        parts += [f"\x1b{which}{charset}" for which, charset in zip("()", self.charsets, strict=True) if charset != "B"]
        parts += ["\x0e"] * self.shifted + [f"\x1b[{self.style} q"] * bool(self.style)
        parts += [f"\x1b[>{self.other_keys}m"] * bool(self.other_keys)
        return "".join(parts)


def keyboard(stack: tuple[int, ...]) -> str:
    """Return what sets these flags of kitty's keyboard where none are set."""
    return (f"\x1b[={stack[0]}u" if stack[0] else "") + "".join(f"\x1b[>{flags}u" for flags in stack[1:])


def _undo_keyboard(stack: tuple[int, ...]) -> str:
    return (f"\x1b[<{len(stack) - 1}u" if len(stack) > 1 else "") + ("\x1b[=0u" if stack[0] else "")


def number(text: str) -> int:
    """Return the value of a parameter; 0 for none, and at most 99,999."""
    return int(text) if text.isdecimal() and len(text) < 6 else 99_999 if text.isdecimal() else 0


def selected(attributes: Attributes) -> str:
    """Return what selects `attributes` where none are."""
    return "" if attributes == PLAIN else selecting(attributes)
