"""A small terminal emulator: computes what a terminal shows after some output.

It implements the control sequences of xterm (its ctlseqs) whose effect remains on the screen. It does not implement
left and right margins, pictures, links and double-size rows, and it answers no queries.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from .display import MAX_SCREEN_SIZE, Display
from .grid import DEFAULT_ATTRIBUTES, apply_sgr
from .sequences import TOKEN, incomplete_start
from .settings import ORIGIN_MODE, TerminalSettings, parse_parameter

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")

_WELL_FORMED: Final = re.compile(r"(?P<prefix>[<-?]?)(?P<parameters>[0-9:;]*)(?P<intermediates>[ -/]*)\Z")


class Emulator(Display):
    """A terminal of `columns` and `rows` (1 to 1024 of each are drawn) to which `settings` already apply."""

    def __init__(self, columns: int, rows: int, settings: TerminalSettings) -> None:
        super().__init__(columns, rows, settings)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial = b""

    def feed(self, data: bytes) -> None:
        """Process a program's output."""
        data = self._partial + data
        cut = incomplete_start(data)
        self._partial = data[cut:]
        for match in TOKEN.finditer(self._decoder.decode(data[:cut])):
            match match.lastgroup:
                case "text":
                    self.draw(match["text"])
                case "control":
                    self._control(match["control"])
                case "final":
                    self._control_sequence(match["body"], match["final"])
                case "escape":
                    self._escape(match["intermediates"] + match["escape"])

    def _control(self, char: str) -> None:
        match char:
            case "\n" | "\v" | "\f":
                self.index()
                if self.settings.newline:
                    self.move_to_column(0)
            case "\r":
                self.move_to_column(0)
            case "\b":
                self.move_to_column(self.x - 1)
            case "\t" if not self.wrapping:
                self.tab(1)
            case "\x0e" | "\x0f":
                self.settings.shifted = char == "\x0e"

    def _escape(self, final: str) -> None:
        match final:
            case "7":
                self.settings.apply_escape(final)
                self.save_cursor()
            case "8":
                self.restore_cursor()
            case "D":
                self.index()
            case "M":
                self.reverse_index()
            case "E":
                self.move_to_column(0)
                self.index()
            case "H":
                self.tabs.add(self.x)
            case "#8":
                self.grid.clear(0, self.rows, ("E", DEFAULT_ATTRIBUTES))
                self.move_to(0, 0)
            case "c":
                self.reset(TerminalSettings())
            case _:
                self.settings.apply_escape(final)

    def _control_sequence(self, body: str, final: str) -> None:
        if not body.isprintable():
            for char in _CONTROLS.findall(body):
                self._control(char)
            body = _CONTROLS.sub("", body)
        well_formed = _WELL_FORMED.match(body)
        if well_formed is None:
            return
        prefix, parameters, intermediates = well_formed.groups()
        if prefix or intermediates or final in "hlr":
            self._apply_setting(prefix, parameters, intermediates + final)
        elif final == "m":
            self.settings.attributes = apply_sgr(self.settings.attributes, parameters)
        else:
            self._act(final, parameters)

    def _apply_setting(self, prefix: str, parameters: str, final: str) -> None:
        if prefix + final in ("?J", "?K"):
            self._act(final, parameters)
            return
        before = self.settings.alternate
        modes = set[int]()
        if prefix == "?" and final in "hl":
            modes = {parse_parameter(field) for field in parameters.split(";")}
        if final == "h" and modes & {1048, 1049} and not before:
            self.save_cursor()
        self.settings.apply_csi(prefix, parameters, final)
        if not before and self.settings.alternate:
            self.grid.clear(0, self.rows, self.blank)
        self.seen_main |= not self.settings.alternate
        if final == "l" and (1048 in modes or (1049 in modes and before)):
            self.restore_cursor()
        if prefix + final == "r" or ORIGIN_MODE in modes:
            self.move_to(0, 0)

    def _act(self, final: str, parameters: str) -> None:
        first, second, *more = [*map(parse_parameter, parameters.split(";")), 0]
        count = min(max(first, 1), MAX_SCREEN_SIZE)
        match final:
            case "A" | "F":
                self.move_vertically(-count)
            case "B" | "E" | "e":
                self.move_vertically(count)
            case "C" | "a":
                self.move_to_column(self.x + count)
            case "D":
                self.move_to_column(self.x - count)
            case "G" | "`":
                self.move_to_column(count - 1)
            case "H" | "f":
                self.move_to(count - 1, max(second, 1) - 1)
            case "d":
                self.move_to(count - 1, self.x)
            case "I" | "Z":
                self.tab(count if final == "I" else -count)
            case "J":
                self.erase_display(first)
            case "K" if first in (0, 1, 2):
                self.erase_line(first)
            case "X":
                self.erase_characters(count)
            case "@" | "P":
                self.insert_characters(count if final == "@" else -count)
            case "L" | "M":
                self.insert_rows(count if final == "L" else -count)
            case "S" | "T" if len(more) < 2:
                self.scroll(count if final == "S" else -count)
            case "b" if self.last is not None:
                self.place([self.last] * min(count, self.columns))
            case "g":
                self.tabs = set() if first == 3 else self.tabs - {self.x} if first == 0 else self.tabs
            case "s":
                self.settings.apply_csi("", parameters, final)
                self.save_cursor()
            case "u":
                self.restore_cursor()
        if final in "EF":
            self.move_to_column(0)
