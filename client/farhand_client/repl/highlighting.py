"""Colours shell text while it is typed, with the scanner that also decides whether the text is complete."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby
from typing import TYPE_CHECKING, Final

from prompt_toolkit.document import Document
from prompt_toolkit.lexers import Lexer

from farhand_protocol.limits import KiB

from .commands import is_repl_command
from .syntax import BEFORE_COMMAND, CLOSES, OPENS, Scanner

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples

MAX_HIGHLIGHTED: Final = 4 * KiB
"""Characters of a text that is coloured: scanned within ten milliseconds after each key. A longer one was pasted."""

COMMAND: Final = "bold"
KEYWORD: Final = "ansimagenta"
STRING: Final = "ansigreen"
EXPANSION: Final = "ansicyan"
OPERATOR: Final = "bold ansicyan"
COMMENT: Final = "ansibrightblack"
OWN_COMMAND: Final = "ansimagenta"
"""Styles, in the terminal's own sixteen colours, which suit its background. With NO_COLOR only bold is left."""

EXPANDED: Final = re.compile(r"\$(?:[A-Za-z_]\w*|[0-9@*#?$!-]|\{|\(\(?)?", re.ASCII)


class ShellLexer(Lexer):
    """Colours commands, keywords, quotes, expansions, operators and comments. Each line is scanned once per change."""

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """Implements `Lexer`."""
        lines = document.lines
        if len(document.text) > MAX_HIGHLIGHTED:
            return lambda number: [("", lines[number])] if number < len(lines) else []
        scanner = StyleScanner()
        styled = [scanner.styled(line) for line in lines]
        return lambda number: styled[number] if number < len(styled) else []


class StyleScanner(Scanner):
    """Scans text as `Scanner`, and notes the style of each character of the current line."""

    _line = ""
    _line_offset = 0
    _at = 0

    def __init__(self) -> None:
        super().__init__()
        self._styles: list[str] = []

    def styled(self, line: str) -> StyleAndTextTuples:
        """Scan one line; return it in fragments with their styles."""
        self._line, self._line_offset, self._styles = line, self._offset, [""] * len(line)
        if self.unfinished is None and is_repl_command(line):
            blank = len(line) - len(line.lstrip())
            self._mark(blank, blank + len(line.split(None, 1)[0]), OWN_COMMAND)
            self._offset += len(line) + 1
        else:
            if self.in_document:
                self._mark(0, len(line), STRING)
            self.feed(line)
        fragments: StyleAndTextTuples = []
        begin = 0
        for style, group in groupby(self._styles):
            end = begin + sum(1 for _ in group)
            fragments.append((style, line[begin:end]))
            begin = end
        return fragments

    def _mark(self, begin: int, end: int, style: str) -> None:
        """Give the characters that have no style yet this one."""
        for at in range(max(begin, 0), min(end, len(self._styles))):
            self._styles[at] = self._styles[at] or style

    # Extend the scanner's steps.

    def _in_quote(self, line: str, at: int, top: str) -> int:
        self._at = at
        if top == '"' and line[at] in "$`":
            self._mark_expansion(at)
        end = super()._in_quote(line, at, top)
        self._mark(at, end, STRING)
        return end

    def _in_expansion(self, line: str, at: int, top: str) -> int:
        self._at = at
        end = super()._in_expansion(line, at, top)
        self._mark(at, end, EXPANSION)
        return end

    def _in_command(self, line: str, at: int, top: str) -> int:
        self._at = at
        char = line[at]
        if char in "$`":
            self._mark_expansion(at)
        end = super()._in_command(line, at, top)
        if char in "'\"" or line.startswith(("$'", '$"'), at):
            self._mark(at, end, STRING)
        elif self.in_comment:
            self._mark(at, end, COMMENT)
        elif char in ";&|<>()":
            self._mark(at, end, OPERATOR)
        return end

    def _end_line(self) -> None:
        self._at = len(self._line)
        super()._end_line()

    def _end_word(self) -> None:
        word, could_be_command = self.word, self.command
        super()._end_word()
        if word is None or not could_be_command:
            return
        begin = word.start - self._line_offset
        if word.plain and (word.value in OPENS or word.value in CLOSES or word.value in BEFORE_COMMAND):
            self._mark(begin, self._at, KEYWORD)
        elif not self._command:
            self._mark(begin, self._at, COMMAND)

    def _mark_expansion(self, at: int) -> None:
        match = EXPANDED.match(self._line, at)
        if match is None or not self._line.startswith(("$'", '$"'), at):
            self._mark(at, match.end() if match else at + 1, EXPANSION)
