"""Which word is being typed, what could stand there, and how that is written. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from .syntax import Scanner

MAX_NAMES: Final = 500
"""Names that are offered: nobody reads more, and a menu of them is drawn at once."""

SPECIAL: Final = re.compile(r"[^\w./,:@%+=-]", re.ASCII)
"""What a backslash goes before outside of quotes. It does no harm before any printable ASCII character."""

SETTING: Final = re.compile(r"-{0,2}[\w.-]+=", re.ASCII)
"""What comes before a path in `--file=PATH` and `NAME=PATH`."""

# Arguments: kind, directory, beginning of the name, how many. Prints the kind of each and its name, ending in NUL.
# `[ -e ]` is false for a link that leads nowhere, and for the pattern itself where nothing matches.
SCRIPT: Final = r"""
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
"""For the sh that POSIX promises, whatever the account's shell is."""

SHELL_WORDS: Final = (
    *("alias", "case", "cd", "command", "echo", "eval", "exec", "exit", "export", "for", "if", "kill", "printf"),
    *("pwd", "read", "set", "source", "test", "time", "type", "ulimit", "umask", "unset", "until", "wait", "while"),
)
"""Commands that are no files."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the remote machine: names in `directory` (as typed; `~` is the home) that begin with `begin`."""

    kind: Literal["programs", "executables", "directories", "paths"]
    directory: str
    begin: str
    typed: int
    """How many characters before the cursor an answer replaces."""
    quote: str

    def answers(self, printed: bytes) -> Iterator[Answer]:
        """Take what `SCRIPT` printed, whole or cut off."""
        found: dict[str, str] = {}
        if self.kind == "programs":
            found = {word: " " for word in SHELL_WORDS if word.startswith(self.begin)}
        for entry in printed.split(b"\0")[:-1]:
            try:
                mark, name = entry[:1].decode(), entry[1:].decode()
            except UnicodeDecodeError:
                continue  # nothing that can be typed says it
            if name.isprintable():
                found.setdefault(name, mark)
        only = len(found) == 1
        for name in sorted(found)[:MAX_NAMES]:
            yield self._answer(name, found[name] == "/", only)

    def _answer(self, name: str, directory: bool, only: bool) -> Answer:
        text = quoted(name, self.quote)
        if name.startswith("-") and not self.directory and not self.quote and self.kind != "programs":
            text = "./" + text
        if directory:
            return Answer(text + "/", name + "/")
        return Answer(text + (self.quote[-1:] + " " if only else ""), name)


@dataclass(frozen=True, slots=True)
class Answer:
    """One completion: what is written, and what is shown."""

    text: str
    shown: str


def question(before: str) -> Question | None:
    """Return what could complete the text before the cursor; None where nothing can be known."""
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
            return None  # everything there is, is no help
        kind: Literal["directories", "paths"] = "directories" if scanner.first in ("cd", "rmdir") else "paths"
        return Question(kind, "", "", 0, "")
    if not word.known or scanner.quoted == "$'":
        return None
    setting = SETTING.match(word.value, 0, word.component_at)
    directory = word.value[setting.end() if setting else 0 : word.component_at]
    begin = word.value[word.component_at :]
    if before[word.start] == "~":
        if not directory.startswith("~/"):
            return None  # another account's home
    elif directory.startswith("~") and not setting:
        directory = "./" + directory
    typed = len(before) - word.component
    if word.command and not directory:
        return Question("programs", "", begin, typed, word.component_quote) if begin else None
    kind_of: Literal["executables", "directories", "paths"] = "paths"
    if word.command:
        kind_of = "executables"
    elif word.first in ("cd", "rmdir"):
        kind_of = "directories"
    return Question(kind_of, directory, begin, typed, word.component_quote)


def quoted(name: str, quote: str) -> str:
    """Write `name` so that every shell reads it, behind the opening `quote` or, where that is empty, without."""
    if quote == "'":
        return name.replace("'", "'\\''")
    if quote == '"':
        return re.sub(r'([\\"$`])', r"\\\1", name)
    return SPECIAL.sub(lambda match: "\\" + match[0] if match[0].isascii() else match[0], name)


def arguments(asked: Question) -> Iterable[str]:
    """Return the command that answers."""
    return ["/bin/sh", "-c", SCRIPT, "sh", asked.kind, asked.directory, asked.begin, str(MAX_NAMES)]
