"""What a command that could not be found was probably meant to be: shell text, a built-in, a variable, …

The first thing that users of ssh type is a command line in one argument, which no program is called like.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from farhand_protocol.outcome import SpawnFailed

Meant: TypeAlias = Literal["script", "builtin", "variable", "home", "option"]
"""What the words of a command are:

- script: its only argument is text for a shell, such as `ls -l | head`;
- builtin: it begins with a command that only shells have, such as `cd`;
- variable: it begins with an assignment, `NAME=VALUE`;
- home: its program begins with a tilde, which only shells replace;
- option: its program begins with a hyphen.
"""

_SHELL_SYNTAX: Final = re.compile(rb"""[\s|&;<>()$`\\"'*?\[\]{}#!]""")

_ASSIGNMENT: Final = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*=")

_BUILTINS: Final = frozenset(
    b". : alias bg bind builtin cd command compgen declare dirs disown enable eval exec exit export fc fg function"
    b" hash help history if case for while until jobs let local logout popd pushd read readonly return set setopt"
    b" shift shopt source time times trap type typeset ulimit umask unalias unset wait [[ (( { !".split()
)
"""Commands and words of POSIX shells, bash and zsh. Of those that exist as programs, too, none gets here."""

_NOT_FOUND: Final = frozenset({"ENOENT", "ENOTDIR", "ENAMETOOLONG"})
"""Errors for a program that does not exist, whatever its name looks like."""


def what_was_meant(argv: Sequence[bytes], outcome: SpawnFailed) -> Meant | None:
    """Return what the command `argv`, which ended as `outcome`, was meant to be; None if there is nothing to say."""
    if outcome.what != "program" or outcome.error not in _NOT_FOUND or not argv:
        return None
    program = argv[0]
    if program.startswith(b"-"):
        return "option"
    if len(argv) == 1 and _SHELL_SYNTAX.search(program):
        return "script"
    if _ASSIGNMENT.match(program):
        return "variable"
    if program.startswith(b"~"):
        return "home"
    return "builtin" if program in _BUILTINS else None


def keyword_advice(argv: Sequence[bytes] | None, outcome: SpawnFailed) -> str:
    """Return what to write instead, for a call of the Python API; nothing if there is nothing to say."""
    meant = None if argv is None else what_was_meant(argv, outcome)
    match meant:
        case "script":
            return "to run it in a shell, add shell=True; a program with arguments is a list, one element for each"
        case "builtin":
            other = "; cwd=… sets the directory of a command" if argv and argv[0] == b"cd" else ""
            return f"only shells have this command: give the whole script as one str, with shell=True{other}"
        case "variable":
            return "variables are set with env={…}"
        case "home":
            return "only shells replace the ~; relative paths already begin in the home directory"
        case _:
            return ""
