"""Finds the word being typed, asks a remote sh for the names that could complete it, and quotes them. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from .syntax import Scanner

MAX_NAMES: Final = 500
"""Names that are offered: nobody reads more, and a menu of them is still drawn without delay."""

NEEDS_BACKSLASH: Final = re.compile(r"[^\w./,:@%+=-]", re.ASCII)
"""Characters to put a backslash before outside of quotes. It is harmless before any printable ASCII character."""

ASSIGNMENT_PREFIX: Final = re.compile(r"-{0,2}[\w.-]+=", re.ASCII)
"""What precedes a path in `--file=PATH` and `NAME=PATH`."""

# Arguments: kind, directory, beginning of the name, maximum. Prints for each name its kind (/ or space), itself, NUL.
# `[ -e ]` is false for a dangling link, and for the pattern itself if nothing matches.
NAMES_SCRIPT: Final = r"""
kind=$1 directory=$2 begin=$3 left=$4
give() {
    printf '%s%s\0' "$1" "$2"
    left=$((left - 1))
    [ "$left" -gt 0 ] || exit 0
}
files() {
    case $directory in
    '~') cd ;;
    '~/'*) cd && cd -- "./${directory#??}" ;;
    ?*) cd -- "$directory" ;;
    esac 2>/dev/null || exit 0
    for name in "$begin"*; do
        case $name in
        . | ..) [ "$begin" = .. ] || continue ;;
        esac
        if [ -d "$name" ]; then
            give / "$name"
        elif [ "$kind" != directories ] && { [ -e "$name" ] || [ -L "$name" ]; }; then
            [ "$kind" = paths ] || [ -x "$name" ] && give ' ' "$name"
        fi
    done
}
programs() {
    set -f
    IFS=:
    set -- $PATH
    set +f
    for place; do
        for name in "$place/$begin"*; do
            [ -f "$name" ] && [ -x "$name" ] && give ' ' "${name##*/}"
        done
    done
}
case $kind in
programs) programs ;;
*) files ;;
esac
exit 0
"""
"""Lists names. Written for POSIX sh, whatever the account's shell is."""

SHELL_WORDS: Final = (
    *("alias", "case", "cd", "command", "echo", "eval", "exec", "exit", "export", "for", "if", "kill", "printf"),
    *("pwd", "read", "set", "source", "test", "time", "type", "ulimit", "umask", "unset", "until", "wait", "while"),
)
"""Commands that are part of the shell and not files."""


@dataclass(frozen=True, slots=True)
class CompletionQuery:
    """A query for the names in `directory` (as typed; `~` is the home directory) that begin with `begin`."""

    kind: Literal["programs", "executables", "directories", "paths"]
    directory: str
    begin: str
    typed: int
    """The number of characters before the cursor that an answer replaces."""
    quote: str
    """The quote in which the name is typed, or an empty string."""

    def answers(self, printed: bytes) -> Iterator[CompletionAnswer]:
        """Yield the completions for the output of `NAMES_SCRIPT`, which may be cut off anywhere."""
        found: dict[str, str] = {}
        if self.kind == "programs":
            found = {word: " " for word in SHELL_WORDS if word.startswith(self.begin)}
        for entry in printed.split(b"\0")[:-1]:
            try:
                mark, name = entry[:1].decode(), entry[1:].decode()
            except UnicodeDecodeError:
                continue  # it cannot be typed
            if name.isprintable():
                found.setdefault(name, mark)
        only = len(found) == 1
        for name in sorted(found)[:MAX_NAMES]:
            yield self._answer(name, found[name] == "/", only)

    def _answer(self, name: str, directory: bool, only: bool) -> CompletionAnswer:
        text = quote_name(name, self.quote)
        if name.startswith("-") and not self.directory and not self.quote and self.kind != "programs":
            text = "./" + text
        if directory:
            return CompletionAnswer(text + "/", name + "/")
        return CompletionAnswer(text + (self.quote[-1:] + " " if only else ""), name)


@dataclass(frozen=True, slots=True)
class CompletionAnswer:
    """One completion: `text` is inserted, `shown` is displayed in the menu."""

    text: str
    shown: str


def completion_query(before: str) -> CompletionQuery | None:
    """Return the query that completes the text before the cursor; None if no name can complete it."""
    scanner = Scanner()
    *lines, last = before.split("\n")
    for line in lines:
        scanner.feed(line)
    if scanner.in_document:
        return None
    scanner.part(last)
    word = scanner.word
    if word is None:
        if scanner.command or scanner.in_comment:
            return None  # a list of all programs would not help
        kind: Literal["directories", "paths"] = "directories" if scanner.first in ("cd", "rmdir") else "paths"
        return CompletionQuery(kind, "", "", 0, "")
    if not word.known or scanner.quoted == "$'":
        return None
    assignment = ASSIGNMENT_PREFIX.match(word.value, 0, word.component_at)
    directory = word.value[assignment.end() if assignment else 0 : word.component_at]
    begin = word.value[word.component_at :]
    if before[word.start] == "~":
        if not directory.startswith("~/"):
            return None  # another account's home directory
    elif directory.startswith("~") and not assignment:
        directory = "./" + directory
    typed = len(before) - word.component
    if word.command and not directory:
        return CompletionQuery("programs", "", begin, typed, word.component_quote) if begin else None
    kind_of: Literal["executables", "directories", "paths"] = "paths"
    if word.command:
        kind_of = "executables"
    elif word.first in ("cd", "rmdir"):
        kind_of = "directories"
    return CompletionQuery(kind_of, directory, begin, typed, word.component_quote)


def quote_name(name: str, quote: str) -> str:
    """Return `name` written for any shell, to be inserted after the opening `quote`, which may be empty."""
    if quote == "'":
        return name.replace("'", "'\\''")
    if quote == '"':
        return re.sub(r'([\\"$`])', r"\\\1", name)
    return NEEDS_BACKSLASH.sub(lambda match: "\\" + match[0] if match[0].isascii() else match[0], name)


def query_argv(query: CompletionQuery) -> Iterable[str]:
    """Return the command that answers `query`."""
    return ["/bin/sh", "-c", NAMES_SCRIPT, "sh", query.kind, query.directory, query.begin, str(MAX_NAMES)]
