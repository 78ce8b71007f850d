"""Scans shell text as far as a prompt needs it: is it complete, where does its first command end, what is being typed.

The grammar is that of POSIX 2018 XCU 2, with the quotes and operators that bash and zsh add. Nothing is rejected: text
with a syntax error counts as complete, and the remote shell reports the error. No I/O.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Final

BLANKS: Final = " \t"
"""What separates words. To a shell no other character is a blank (XBD 7.3.1), such as U+3000 and U+00A0."""

PLAIN: Final = re.compile(r"[^ \t;&|<>()'\"\\`$#{}/]+")
HEREDOC: Final = re.compile(r"<<(-?)[ \t]*((?:'[^']*'|\"[^\"]*\"|\\.|[^ \t;&|<>()'\"\\])+)")
QUOTES: Final = re.compile(r"['\"]|\\(?=.)")
ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")

OPENS: Final = {"if": "fi", "while": "done", "until": "done", "for": "done", "select": "done", "case": "esac", "{": "}"}
FISH_OPENS: Final = dict.fromkeys(("if", "while", "for", "begin", "switch"), "end")
"""The same inside of a function of fish; elsewhere the words that only fish has may be programs."""
CLOSES: Final = frozenset({*OPENS.values(), "end"})
BEFORE_COMMAND: Final = frozenset(
    {"if", "then", "else", "elif", "do", "while", "until", "{", "!", "time", "and", "or", "not"}
)
"""Words after which a command begins; the last three are fish's."""

UNFINISHED: Final = {
    "'": "a ' quote",
    '"': 'a " quote',
    "$'": "a $' quote",
    "`": "a ` substitution",
    "$(": "a $( substitution",
    "${": "a ${ expansion",
    "((": "an arithmetic expression",
    "(": "a parenthesis",
    "fi": "an if",
    "done": "a loop",
    "esac": "a case",
    "}": "a brace",
    "end": "a function",
}


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator outside of all quotes and compound commands: `;`, `&&`, a newline, a comment's `#`, and so on."""

    offset: int
    text: str


@dataclass(slots=True)
class Word:
    """A word. Its last component begins after the last `/`, or after the `=` of an assignment."""

    start: int
    command: bool
    first: str = ""
    """The name of the command that this word is an argument of."""
    value: str = ""
    """The word without its quotes; expansions are not performed."""
    plain: bool = True
    """Whether no part of it is quoted."""
    known: bool = True
    """Whether it contains no expansion, so that `value` is the whole word."""
    component: int = 0
    component_at: int = 0
    component_quote: str = ""
    """Where the last component begins in the text and in `value`, and the quote that is open there."""


@dataclass(slots=True)
class Scanner:
    """Scans text line by line, and keeps what decides how the next line continues it."""

    word: Word | None = None
    in_comment: bool = False
    operators: list[Operator] = field(default_factory=list)
    last_word: int = -1
    """The offset of the last word; -1 if there is none."""
    _stack: list[str] = field(default_factory=list)
    _outer: list[Word] = field(default_factory=list)
    _due: deque[tuple[str, bool]] = field(default_factory=deque)
    """Here-documents whose text follows: the delimiter, and whether tabs before it are ignored."""
    _offset: int = 0
    _command: bool = True
    _first: str = ""
    _operator: str = ""
    _joined: bool = False
    _pattern: bool = False
    _redirected: bool | None = None
    _named: bool = False
    """Whether `function NAME` precedes: then `{` or `(` begins its body, and anything else one of fish."""

    @property
    def unfinished(self) -> str | None:
        """The construct that is not complete, as a noun phrase; None if the text is complete."""
        if self._stack:
            return UNFINISHED[self._stack[-1]]
        if self._due:
            return f"the here-document {self._due[0][0]}"
        if self._joined:
            return "a line that ends with a backslash"
        return f"the command after {self._operator}" if self._operator else None

    @property
    def command(self) -> bool:
        """Whether a word that begins here would be the name of a command."""
        return self._command and self._redirected is None

    @property
    def first(self) -> str:
        """The name of the command that a word beginning here would be an argument of."""
        return self._first

    @property
    def quoted(self) -> str:
        """The quote that is open here, or an empty string."""
        top = self._stack[-1] if self._stack else ""
        return top if top in ("'", '"', "$'") else ""

    @property
    def in_document(self) -> bool:
        """Whether the next line belongs to a here-document."""
        return bool(self._due) and not self._stack and self.word is None

    def feed(self, line: str) -> None:
        """Scan one line, without its newline."""
        if self._due and not self._joined and not self.quoted:
            delimiter, tabs = self._due[0]
            if (line.lstrip("\t") if tabs else line) == delimiter:
                self._due.popleft()
            self._offset += len(line) + 1
            return
        self.part(line)
        self._offset += 1
        if not self._joined:
            self._end_line()

    def part(self, line: str) -> None:
        """Scan the beginning of a line, up to the cursor."""
        self._joined = self.in_comment = False
        at = 0
        while at < len(line):
            top = self._stack[-1] if self._stack else ""
            if top in ("'", '"', "$'"):
                at = self._in_quote(line, at, top)
            elif top in ("${", "(("):
                at = self._in_expansion(line, at, top)
            else:
                at = self._in_command(line, at, top)
        self._offset += len(line)

    # Each of these methods scans from `at` and returns the index at which to continue.

    def _in_quote(self, line: str, at: int, top: str) -> int:
        char = line[at]
        if char == top[-1]:
            self._stack.pop()
            return at + 1
        if top != "'" and char == "\\":
            return self._escape(line, at, kept=top == '"' and line[at + 1 : at + 2] not in ('"', "\\", "$", "`"))
        if top == '"' and char in "$`":
            return self._dollar(line, at) if char == "$" else self._open("`", at, 1)
        end = at + 1
        while end < len(line) and line[end] not in "'\"\\$`/":
            end += 1
        self._literal(line[at:end], at, end)
        return end

    def _in_expansion(self, line: str, at: int, top: str) -> int:
        char = line[at]
        if char == ("}" if top == "${" else ")"):
            self._close()
        elif char == "(" and top == "((":
            self._open("((", at, 0)
        elif char == "\\":
            self._joined = at + 1 == len(line)
            return at + 2
        elif char in "'\"":
            self._stack.append(char)
        elif char == "$":
            return self._dollar(line, at)
        elif char == "`":
            return self._open("`", at, 1)
        return at + 1

    def _in_command(self, line: str, at: int, top: str) -> int:
        char = line[at]
        if char in BLANKS:
            self._end_word()
            return at + 1
        if char == "\\":
            return self._escape(line, at, kept=False)
        if char in "'\"":
            return self._quote(char, at, 1)
        if char == "$":
            return self._dollar(line, at)
        if char == "`":
            if top != "`":
                return self._open("`", at, 1)
            self._end_word()
            self._close()
            return at + 1
        if char == "#" and self.word is None:
            self._add_operator(at, "#")
            self.in_comment = True
            return len(line)
        if char in ";&|":
            return self._separator(line, at, top)
        if char in "<>":
            return self._redirection(line, at)
        if char in "()":
            return self._parenthesis(line, at)
        match = PLAIN.match(line, at)
        end = match.end() if match else at + 1
        self._literal(line[at:end], at, end)
        return end

    def _escape(self, line: str, at: int, *, kept: bool) -> int:
        if at + 1 == len(line):
            self._joined = True
            return at + 1
        self._literal(line[at : at + 2] if kept else line[at + 1], at, at + 2)
        word = self._begin(at)
        word.plain = False
        word.known = word.known and self.quoted != "$'"
        return at + 2

    def _quote(self, quote: str, at: int, size: int) -> int:
        word = self._begin(at)
        word.plain = False
        self._stack.append(quote)
        if len(word.value) == word.component_at:
            word.component, word.component_quote = self._offset + at + size, quote
        return at + size

    def _dollar(self, line: str, at: int) -> int:
        inside = self.quoted == '"'
        for opening, context in (("$((", "(("), ("$(", "$("), ("${", "${")):
            if line.startswith(opening, at):
                self._open(context, at, 0)
                if context == "((":
                    self._open("((", at, 0)
                return at + len(opening)
        if not inside and line[at + 1 : at + 2] == "'":
            return self._quote("$'", at, 2)
        if not inside and line[at + 1 : at + 2] == '"':
            return self._quote('"', at, 2)
        self._begin(at).known = False
        self._literal("$", at, at + 1)
        return at + 1

    def _open(self, context: str, at: int, size: int) -> int:
        word = self._begin(at)
        word.known = word.plain = False
        self._stack.append(context)
        self._outer.append(word)
        if context in ("$(", "`"):
            self.word, self._command, self._redirected = None, True, None
        return at + size

    def _close(self) -> None:
        if self._stack.pop() in ("$(", "`", "${", "(("):
            word = self.word = self._outer.pop()
            self._command, self._first, self._operator = word.command, word.first, ""

    def _separator(self, line: str, at: int, top: str) -> int:
        if top == "esac" and self._pattern and line[at] == "|":
            self._end_word()
            return at + 1
        before, after = line[at - 1 : at] if at else "", line[at + 1 : at + 2]
        if (line[at] == "&" and (before in ("<", ">") or after == ">")) or (line[at] == "|" and before == ">"):
            return at + 1  # part of a redirection
        self._end_word()
        operator = next(text for text in (";;&", ";;", ";&", "&&", "||", "|&", line[at]) if line.startswith(text, at))
        self._add_operator(at, operator)
        self._command = True
        self._pattern = top == "esac" and operator in (";;&", ";;", ";&")
        self._operator = operator if operator in ("&&", "||", "|&", "|") else ""
        return at + len(operator)

    def _redirection(self, line: str, at: int) -> int:
        if line.startswith(("<(", ">("), at):
            self._open("$(", at, 0)
            return at + 2
        self._end_word()
        if line.startswith("<<<", at):
            return at + 3
        document = HEREDOC.match(line, at)
        if document is not None:
            self._due.append((QUOTES.sub("", document[2]), bool(document[1])))
            return document.end()
        self._redirected = self._command
        return at + 1

    def _parenthesis(self, line: str, at: int) -> int:
        starting = self.word is None
        self._end_word()
        top = self._stack[-1] if self._stack else ""
        if line[at] == "(":
            self._add_operator(at, "(")
            if line.startswith("((", at) and self._command and starting:
                self._open("((", at, 0)
                self._open("((", at, 0)
                return at + 2
            self._stack.append("(")
        elif top in ("(", "$("):
            self._close()
            if top == "$(":
                return at + 1
        self._pattern = self._named = False
        self._command, self._operator = True, ""
        if line[at] == ")" and line[at - 1 : at] == "(" and line[at - 2 : at - 1] not in ("", "="):
            self._operator = "()"
        return at + 1

    # Words

    def _begin(self, at: int) -> Word:
        if self.word is None:
            start = self._offset + at
            self.word = Word(start, command=self.command, first=self._first, component=start)
            self.last_word = start
            self._operator = ""
        return self.word

    def _literal(self, text: str, at: int, end: int) -> None:
        word = self._begin(at)
        slash = text.rfind("/")
        if slash >= 0:
            after = self._offset + end - (len(text) - slash - 1)
            word.component, word.component_at = after, len(word.value) + slash + 1
            word.component_quote = self.quoted
        elif text.endswith("=") or (word.component_at == 0 and "=" in text):
            equals = text.rindex("=")
            word.component, word.component_at = self._offset + at + equals + 1, len(word.value) + equals + 1
            word.component_quote = self.quoted
        word.value += text

    def _end_word(self) -> None:
        word, self.word = self.word, None
        if word is None:
            return
        if self._redirected is not None:
            self._command, self._redirected = self._redirected, None
            return
        if not self._command:
            if self._first == "function":
                self._first, self._operator = word.value, "function"
                self._named = self._command = True
            elif word.value == "in" and word.plain and self._stack[-1:] == ["esac"] and self._first == "case":
                self._pattern = self._command = True
            return
        self._keyword(word.value if word.plain else "")
        if not (word.plain and word.value in BEFORE_COMMAND):
            self._command = word.plain and ASSIGNMENT.match(word.value) is not None
            if not self._command:
                self._first = word.value

    def _keyword(self, text: str) -> None:
        named, self._named = self._named, False
        if named and text != "{":
            self._stack.append("end")
        top = self._stack[-1] if self._stack else ""
        opens = FISH_OPENS if "end" in self._stack else OPENS
        if text in opens and not self._pattern:
            self._stack.append(opens[text])
        elif text and top in CLOSES and (text == top or (text == "end" and top != "}")):
            self._stack.pop()
            self._pattern = False

    def _end_line(self) -> None:
        if self.quoted:
            self._literal("\n", -1, 0)
            return
        if self._stack[-1:] in (["${"], ["(("]):
            return
        self._end_word()
        if not self._operator:
            self._add_operator(-1, "\n")
        self._command = True

    def _add_operator(self, at: int, text: str) -> None:
        if not self._stack:
            self.operators.append(Operator(self._offset + at, text))


def scan(text: str) -> Scanner:
    """Return a scanner that has scanned all of `text`."""
    scanner = Scanner()
    for line in text.split("\n"):
        scanner.feed(line)
    return scanner
