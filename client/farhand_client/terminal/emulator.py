"""What a terminal shows after it was told something: a small terminal emulator.

It knows what programs say to an xterm (its ctlseqs), as far as that stays on the screen. Left and right margins,
pictures, links and double-size rows are not known to it. It answers no queries.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from .display import LARGEST, Display
from .graphics import PLAIN, changed
from .sequences import TOKEN, incomplete
from .settings import ORIGIN, Settings, number

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")

_PROPER: Final = re.compile(r"(?P<prefix>[<-?]?)(?P<parameters>[0-9:;]*)(?P<between>[ -/]*)\Z")


class Emulator(Display):
    """A screen of `columns` and `rows` (1 to 1024 of each are drawn), where `settings` are set already."""

    def __init__(self, columns: int, rows: int, settings: Settings) -> None:
        super().__init__(columns, rows, settings)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Show what a program says."""
        data = self._rest + data
        cut = incomplete(data)
        self._rest = data[cut:]
        for match in TOKEN.finditer(self._decoder.decode(data[:cut])):
            match match.lastgroup:
                case "text":
                    self.draw(match["text"])
                case "control":
                    self._control(match["control"])
                case "final":
                    self._sequence(match["body"], match["final"])
                case "escape":
                    self._escape(match["between"] + match["escape"])

    def _control(self, char: str) -> None:
        match char:
            case "\n" | "\v" | "\f":
                self.index()
                if self.settings.newline:
                    self.to_column(0)
            case "\r":
                self.to_column(0)
            case "\b":
                self.to_column(self.x - 1)
            case "\t" if not self.wrapping:
                self.tab(1)
            case "\x0e" | "\x0f":
                self.settings.shifted = char == "\x0e"

    def _escape(self, final: str) -> None:
        match final:
            case "7":
                self.settings.escape(final)
                self.save()
            case "8":
                self.restore()
            case "D":
                self.index()
            case "M":
                self.reverse_index()
            case "E":
                self.to_column(0)
                self.index()
            case "H":
                self.tabs.add(self.x)
            case "#8":
                self.grid.clear(0, self.rows, ("E", PLAIN))
                self.to(0, 0)
            case "c":
                self.reset(Settings())
            case _:
                self.settings.escape(final)

    def _sequence(self, body: str, final: str) -> None:
        if not body.isprintable():
            for char in _CONTROLS.findall(body):
                self._control(char)
            body = _CONTROLS.sub("", body)
        proper = _PROPER.match(body)
        if proper is None:
            return
        prefix, parameters, between = proper.groups()
        if prefix or between or final in "hlr":
            self._setting(prefix, parameters, between + final)
        elif final == "m":
            self.settings.attributes = changed(self.settings.attributes, parameters)
        else:
            self._act(final, parameters)

    def _setting(self, prefix: str, parameters: str, final: str) -> None:
        if prefix + final in ("?J", "?K"):
            self._act(final, parameters)
            return
        before = self.settings.alternate
        modes = {number(field) for field in parameters.split(";")} if prefix == "?" and final in "hl" else set[int]()
        if final == "h" and modes & {1048, 1049} and not before:
            self.save()
        self.settings.control(prefix, parameters, final)
        if not before and self.settings.alternate:
            self.grid.clear(0, self.rows, self.blank)
        self.seen_main |= not self.settings.alternate
        if final == "l" and (1048 in modes or (1049 in modes and before)):
            self.restore()
        if prefix + final == "r" or ORIGIN in modes:
            self.to(0, 0)

    def _act(self, final: str, parameters: str) -> None:
        first, second, *more = [*map(number, parameters.split(";")), 0]
        count = min(max(first, 1), LARGEST)
        match final:
            case "A" | "F":
                self.vertically(-count)
            case "B" | "E" | "e":
                self.vertically(count)
            case "C" | "a":
                self.to_column(self.x + count)
            case "D":
                self.to_column(self.x - count)
            case "G" | "`":
                self.to_column(count - 1)
            case "H" | "f":
                self.to(count - 1, max(second, 1) - 1)
            case "d":
                self.to(count - 1, self.x)
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
                self.settings.control("", parameters, final)
                self.save()
            case "u":
                self.restore()
        if final in "EF":
            self.to_column(0)
