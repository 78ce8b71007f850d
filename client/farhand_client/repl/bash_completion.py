"""Asks the remote host's bash-completion for options and other arguments, whatever the account's shell is. No I/O.

What is typed is never executed. Completion functions do evaluate the words that they are given (bash-completion's
`dequote` is an `eval`), so they get no character that a shell acts on: before the word at the cursor such a character
is replaced, and a word at the cursor that contains one is completed as a path. Only commands without a slash are asked
for, since a function may run its command, as in `COMMAND --help`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

MAX_WORDS: Final = 100
"""Words of a command before the cursor that are passed on; a longer command was pasted."""

ASKED_COMMAND: Final = re.compile(r"[A-Za-z0-9_][\w.+@-]*", re.ASCII)
"""Names of commands that bash-completion is asked for."""

UNSAFE: Final = re.compile(r"[^\w./,:@%+=~^-]")
"""Characters that no completion function is given: they might be evaluated, or are not text."""

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Characters in a name that is not offered: they are keys, and not typed into a line."""

WORD_PART: Final = re.compile(r"[=:]+|[^=:]+")
"""What readline makes of a word: it breaks words before and after `=` and `:` (COMP_WORDBREAKS, bash(1))."""

DESCRIBED: Final = re.compile(r"(\S+) +\((.+)\)", re.DOTALL)
"""A candidate with a description, as commands written with cobra give (kubectl, gh, docker)."""

ARGUMENT_MARKS: Final = b"anfF"
"""Kinds of a candidate: an argument, one without a space after it, a file, a directory."""

# Arguments: maximum number of candidates, index of the word at the cursor, the line, the words. Prints for each
# candidate its kind, itself, NUL. Completion functions may overwrite variables with ordinary names.
BASH_SCRIPT: Final = r"""
farhand_left=$1 COMP_CWORD=$2 COMP_LINE=$3
shift 3
COMP_WORDS=("$@") COMP_POINT=${#COMP_LINE} COMP_TYPE=9 COMP_KEY=9
export COMP_LINE COMP_POINT COMP_TYPE COMP_KEY
cmd=$1 cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
case $cur in
[=:]*) cur= ;;
esac
exec 3>&1 >/dev/null
for file in "$BASH_COMPLETION" \
    {/usr,/usr/local,/opt/homebrew,/run/current-system/sw,"$HOME/.nix-profile"}/share/bash-completion/bash_completion \
    /etc/bash_completion; do
    if [ -f "$file" ]; then
        . "$file"
        break
    fi
done
specification() { complete -p -- "$cmd" 2>/dev/null; }
if ! specification >/dev/null; then
    if declare -F _comp_load >/dev/null; then
        _comp_load -- "$cmd" || _comp_load "$cmd"
    elif declare -F _completion_loader >/dev/null; then
        _completion_loader "$cmd"
    fi
fi
farhand_options=' '
compopt() {
    while [ $# -gt 0 ]; do
        case $1 in
        -o) farhand_options+="$2 "; shift ;;
        +o) farhand_options=${farhand_options// $2 / }; shift ;;
        esac
        shift
    done
}
try() {
    local spec function= program= words=()
    spec=$(specification) || return
    eval "set -- $spec"
    shift
    while [ $# -gt 1 ]; do
        case $1 in
        -o) farhand_options+="$2 "; shift ;;
        -F) function=$2; shift ;;
        -C) program=$2; shift ;;
        -[AGWXPS]) words+=("$1" "$2"); shift ;;
        --) ;;
        *) words+=("$1") ;;
        esac
        shift
    done
    COMPREPLY=()
    case $function in
    _minimal | _comp_complete_minimal) ;;
    ?*) "$function" "$cmd" "$cur" "$prev"; return ;;
    *)
        if [ -n "$program" ]; then
            mapfile -t COMPREPLY < <(eval "$program \"\$cmd\" \"\$cur\" \"\$prev\"")
        else
            mapfile -t COMPREPLY < <(compgen "${words[@]}" -- "$cur")
        fi
        ;;
    esac
    return 0
}
try
if [ $? = 124 ]; then # the function has replaced itself
    farhand_options=' '
    try
fi
for candidate in "${COMPREPLY[@]}"; do
    [ -n "$candidate" ] || continue
    mark=a
    case $farhand_options in
    *' filenames '*)
        mark=f
        name=$candidate
        case $name in
        '~/'*) name=$HOME${name#'~'} ;;
        esac
        [ -d "$name" ] && mark=F
        ;;
    *' nospace '*)
        case $candidate in
        *' ') ;;
        *) mark=n ;;
        esac
        ;;
    esac
    printf '%s%s\0' "$mark" "$candidate" >&3
    farhand_left=$((farhand_left - 1))
    [ "$farhand_left" -gt 0 ] || break
done
"""
"""Completes as readline would (see Programmable Completion in bash(1)), for bash 4.2 and later."""


class BashQuestion(NamedTuple):
    """What bash-completion is asked: the words up to the cursor, none of which a function could execute."""

    words: tuple[str, ...]
    """The last one is at the cursor; it may be empty."""

    @property
    def fixed(self) -> str:
        """What precedes the candidates in the word at the cursor, such as `--color=`."""
        word = self.words[-1]
        return word[: max(word.rfind("="), word.rfind(":")) + 1]

    def arguments(self, maximum: int) -> list[str]:
        """Return the arguments of `BASH_SCRIPT`, for at most `maximum` candidates."""
        parts = [part for word in self.words[:-1] for part in WORD_PART.findall(word) or [""]]
        last = WORD_PART.findall(self.words[-1]) or [""]
        return [str(maximum), str(len(parts) + len(last) - 1), " ".join(self.words), *parts, *last]


def bash_question(words: Sequence[str]) -> BashQuestion | None:
    """Return the question for the words of a command up to the cursor; None if it must not or cannot be asked."""
    if not 2 <= len(words) <= MAX_WORDS or not ASKED_COMMAND.fullmatch(words[0]) or UNSAFE.search(words[-1]):
        return None
    return BashQuestion((words[0], *(UNSAFE.sub("_", word) for word in words[1:-1]), words[-1]))


class Candidate(NamedTuple):
    """One answer: `text` replaces the word at the cursor after `BashQuestion.fixed`."""

    text: str
    description: str
    space: bool
    directory: bool
    is_name: bool
    """Whether it is the name of a file, and so not quoted yet."""


def parse_candidate(mark: bytes, data: bytes) -> Candidate | None:
    """Parse an entry that `BASH_SCRIPT` printed; None if it cannot be typed, or is no candidate (git's `--no-...`)."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    is_name, description = mark in (b"f", b"F"), ""
    if not is_name:
        text = text.rstrip(" ")
        if described := DESCRIBED.fullmatch(text):
            text, description = described[1], described[2]
    if not text or CONTROL.search(text) or text.endswith("..."):
        return None
    return Candidate(text, description, mark in (b"a", b"f") and text[-1] not in "=:/", mark == b"F", is_name)
