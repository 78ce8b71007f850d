"""Finds the word being typed, asks a remote sh for what could complete it, and quotes that. No I/O.

One run answers one query: an sh prints names of files, and a bash adds what its bash-completion knows (see
`bash_completion`), which is preferred. So where there is no bash, or its answer takes too long, there are still names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from .bash_completion import ARGUMENT_MARKS, BASH_SCRIPT, CONTROL, BashQuestion, bash_question, parse_candidate
from .syntax import Scanner, Word

MAX_NAMES: Final = 500
"""Names that are offered: nobody reads more, and a menu of them is still drawn without delay."""

NEEDS_BACKSLASH: Final = re.compile(r"[^\w./,:@%+=-]", re.ASCII)
"""Characters to put a backslash before outside of quotes. It is harmless before any printable ASCII character."""

ASSIGNMENT_PREFIX: Final = re.compile(r"-{0,2}[\w.-]+=", re.ASCII)
"""What precedes a path in `--file=PATH` and `NAME=PATH`."""

NAMED_HOME: Final = re.compile(r"~[\w.-]*", re.ASCII)
"""A home directory: one's own, or an account's by its name."""

VARIABLE_AT_END: Final = re.compile(r"(?<!\\)\$(\{?)([A-Za-z_][A-Za-z0-9_]*|)")
"""A variable whose name is being typed."""

VARIABLE_PATH: Final = re.compile(
    r"\"?\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})((?:/[^\s$`'\"\\*?\[{~;&|<>()]*)?/)[^/]*", re.ASCII
)
"""A path below a directory that a variable names."""

# Arguments: kind, directory, beginning of the name, maximum; then BASH_SCRIPT and its arguments. Prints for each name
# its kind (/ or space), itself, NUL. `[ -e ]` is false for a dangling link, and for the pattern itself if nothing
# matches.
NAMES_SCRIPT: Final = r"""
kind=$1 directory=$2 begin=$3 left=$4
give() {
    printf '%s%s\0' "$1" "$2"
    left=$((left - 1))
    [ "$left" -gt 0 ] || exit 0
}
accounts() {
    { getent passwd "$@" || cat /etc/passwd; } 2>/dev/null
}
enter() {
    case $1 in
    '') return ;;
    '~') cd ;;
    '~/'*) cd && cd -- "./${1#??}" ;;
    '~'*)
        user=${1%%/*}
        user=${user#?}
        home=$(accounts "$user" | grep "^$user:" | cut -d: -f6)
        [ -n "$home" ] && cd -- "$home/${1#*/}"
        ;;
    '$'*)
        name=${1%%/*}
        eval "base=$name"
        [ -n "$base" ] && cd -- "$base/${1#*/}"
        ;;
    *) cd -- "$1" ;;
    esac 2>/dev/null
}
files() {
    enter "$directory" || exit 0
    for name in "$begin"*; do
        case $name in
        . | ..) [ "$begin" = .. ] || continue ;;
        esac
        if [ -d "$name" ]; then
            give / "$name"
        elif [ "$kind" != directories ] && { [ -e "$name" ] || [ -L "$name" ]; }; then
            [ "$kind" != executables ] || [ -x "$name" ] && give ' ' "$name"
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
variables() {
    env -0 | tr '\n\0' '\1\n' | while IFS='=' read -r name value; do
        case $name in
        *[!A-Za-z0-9_]*) ;;
        "$begin"*) give ' ' "$name" ;;
        esac
    done
}
users() {
    accounts | while IFS=: read -r name rest; do
        case $name in
        "$begin"*) give / "$name" ;;
        esac
    done
}
case $kind in
programs | variables | users) "$kind" ;;
arguments)
    (files)
    script=$5
    shift 5
    command -v bash >/dev/null && BASH_ENV= exec bash --norc --noprofile -c "$script" bash "$@" </dev/null 2>/dev/null
    ;;
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
    """A query for the names in `directory` that begin with `begin`; for arguments, also what `bash` knows.

    The directory is as typed: `~`, `~USER` or `$NAME` at its beginning is expanded by the remote script.
    """

    kind: Literal["programs", "executables", "directories", "paths", "arguments", "users", "variables"]
    directory: str
    begin: str
    typed: int
    """The number of characters before the cursor that an answer replaces."""
    quote: str
    """The quote in which the name is typed, or an empty string; `${` for a variable in braces."""
    bash: BashQuestion | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What the query is about, except for `begin`."""
        if self.bash is None:
            return (self.kind, self.directory)
        options = "options" if self.about_options else ""
        return (self.kind, self.directory, options, *self.bash.words[:-1], self.bash.fixed)

    def without_bash(self) -> CompletionQuery:
        """Return the query for names alone."""
        return self if self.bash is None else replace(self, kind="paths", bash=None)

    @property
    def about_options(self) -> bool:
        """Whether an option is being typed: the answer depends on the command, and not on files."""
        return self.bash is not None and self.bash.words[-1].startswith("-") and not self.bash.fixed

    def answers(self, printed: bytes) -> Iterator[CompletionAnswer]:
        """Yield the completions for the output of `NAMES_SCRIPT`, which may be cut off anywhere."""
        names: dict[str, str] = {}
        arguments: dict[str, CompletionAnswer] = {}
        if self.kind == "programs":
            names = {word: " " for word in SHELL_WORDS if word.startswith(self.begin)}
        for entry in printed.split(b"\0")[:-1]:
            mark, data = entry[:1], entry[1:]
            if mark in (b" ", b"/"):
                try:
                    name = data.decode()
                except UnicodeDecodeError:
                    continue  # it cannot be typed
                if not CONTROL.search(name) and name.startswith(self.begin):
                    names.setdefault(name, mark.decode())
            elif mark and mark in ARGUMENT_MARKS and (argument := self._argument(mark, data)) is not None:
                arguments.setdefault(argument.shown, argument)
        if arguments:
            only = len(arguments) == 1
            for shown in sorted(arguments)[:MAX_NAMES]:
                argument = arguments[shown]
                yield argument if only else argument.without_end()
            return
        only = len(names) == 1
        for name in sorted(names)[:MAX_NAMES]:
            yield self._name(name, names[name] == "/", only)

    def _argument(self, mark: bytes, data: bytes) -> CompletionAnswer | None:
        """Return the completion for a candidate of bash-completion; None if it does not continue what is typed."""
        assert self.bash is not None, "only bash prints these marks"
        candidate = parse_candidate(mark, data)
        word = self.bash.words[-1]
        if candidate is None:
            return None
        fixed = self.bash.fixed
        # Some functions do not know that the words are broken, and repeat what is fixed.
        whole = candidate.text if fixed and candidate.text.startswith(fixed) else fixed + candidate.text
        if not whole.startswith(word):
            return None
        rest = whole[len(word) - len(self.begin) :]
        if candidate.directory:
            text, end = quote_name(rest.rstrip("/"), self.quote) + "/", ""
        else:
            text, end = quote_name(rest, self.quote), self.quote[-1:] + " " if candidate.space else ""
            if not candidate.is_name and "\\" in rest:
                text = rest  # the function has quoted it
        return CompletionAnswer(text + end, candidate.text, candidate.description, end)

    def _name(self, name: str, directory: bool, only: bool) -> CompletionAnswer:
        if self.kind == "variables":
            return CompletionAnswer(name + ("}" if self.quote == "${" else ""), name)
        text = quote_name(name, self.quote)
        dash = name.startswith("-") and not self.directory and not self.quote
        if dash and self.kind not in ("programs", "users"):
            text = "./" + text
        if directory:
            return CompletionAnswer(text + "/", name + "/")
        return CompletionAnswer(text + (self.quote[-1:] + " " if only else ""), name)


@dataclass(frozen=True, slots=True)
class CompletionAnswer:
    """One completion: `text` to insert, `shown` in the menu with a `description`.

    `text` ends with `end`, which belongs only to a completion that is the only one.
    """

    text: str
    shown: str
    description: str = ""
    end: str = ""

    def without_end(self) -> CompletionAnswer:
        """Return this completion as one of several."""
        return CompletionAnswer(self.text.removesuffix(self.end), self.shown, self.description)


class WordScanner(Scanner):
    """Scans text, and keeps the words of the command at the cursor."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[Word] = []
        self._outer_words: list[list[Word]] = []

    @property
    def redirected(self) -> bool:
        """Whether the word at the cursor is the file of a redirection."""
        return self._redirected is not None

    def _end_word(self) -> None:
        word, redirected = self.word, self.redirected
        super()._end_word()
        if word is not None and not redirected:
            if word.command:
                self.words = []
            if not self._command:
                self.words.append(word)

    def _open(self, context: str, at: int, size: int) -> int:
        end = super()._open(context, at, size)
        self._outer_words.append(self.words)
        if context in ("$(", "`"):
            self.words = []
        return end

    def _close(self) -> None:
        outer = len(self._outer)
        super()._close()
        if len(self._outer) < outer:
            self.words = self._outer_words.pop()


def completion_query(before: str) -> CompletionQuery | None:
    """Return the query for the end of the text `before` the cursor; None if nothing can be completed there."""
    scanner = WordScanner()
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
        return _with_arguments(CompletionQuery(_kind_of_path(scanner.first), "", "", 0, ""), scanner, "")
    if scanner.quoted in ("'", "$'"):
        variable = None
    elif variable := VARIABLE_AT_END.fullmatch(before, before.rfind("$")):
        return CompletionQuery("variables", "", variable[2], len(variable[2]), "${" if variable[1] else "")
    if scanner.quoted == "$'":
        return None
    if not word.known:
        return _below_variable(before, word)
    assignment = ASSIGNMENT_PREFIX.match(word.value, 0, word.component_at)
    directory = word.value[assignment.end() if assignment else 0 : word.component_at]
    begin = word.value[word.component_at :]
    typed = len(before) - word.component
    if before[word.start] == "~":
        if not directory and word.plain and word.value.startswith("~"):
            return CompletionQuery("users", "", begin[1:], typed - 1, "")
        if not NAMED_HOME.fullmatch(directory.partition("/")[0]):
            return None
    elif directory.startswith(("~", "$")) and not assignment:
        directory = "./" + directory
    if word.command and not directory:
        return CompletionQuery("programs", "", begin, typed, word.component_quote) if begin else None
    if word.command:
        return CompletionQuery("executables", directory, begin, typed, word.component_quote)
    query = CompletionQuery(_kind_of_path(word.first), directory, begin, typed, word.component_quote)
    return query if scanner.redirected else _with_arguments(query, scanner, word.value)


def _kind_of_path(command: str) -> Literal["directories", "paths"]:
    return "directories" if command in ("cd", "rmdir") else "paths"


def _with_arguments(query: CompletionQuery, scanner: WordScanner, word: str) -> CompletionQuery:
    """Return the query extended by what bash-completion may know about the word at the cursor."""
    bash = None
    if query.kind == "paths":
        bash = bash_question([*(each.value for each in scanner.words), word])
    return query if bash is None else replace(query, kind="arguments", bash=bash)


def _below_variable(before: str, word: Word) -> CompletionQuery | None:
    """Return the query for a path such as `$HOME/x`; None for words with any other expansion."""
    match = VARIABLE_PATH.fullmatch(before, word.start)
    if match is None:
        return None
    begin = before[word.component :]
    if NEEDS_BACKSLASH.search(begin):
        return None
    kind = "executables" if word.command else _kind_of_path(word.first)
    return CompletionQuery(kind, f"${match[1] or match[2]}{match[3]}", begin, len(begin), word.component_quote)


def quote_name(name: str, quote: str) -> str:
    """Return `name` written for any shell, to be inserted after the opening `quote`, which may be empty."""
    if quote == "'":
        return name.replace("'", "'\\''")
    if quote == '"':
        return re.sub(r'([\\"$`])', r"\\\1", name)
    return NEEDS_BACKSLASH.sub(lambda match: "\\" + match[0] if match[0].isascii() else match[0], name)


def query_argv(query: CompletionQuery) -> Iterable[str]:
    """Return the command that answers `query`."""
    argv = ["/bin/sh", "-c", NAMES_SCRIPT, "sh", query.kind, query.directory, query.begin, str(MAX_NAMES)]
    return argv if query.bash is None else [*argv, BASH_SCRIPT, *query.bash.arguments(MAX_NAMES)]
