"""The REPL's own commands: what they are called, what they take, and which one a line means. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Completes: TypeAlias = Literal["", "commands", "directories", "hosts", "runs", "variables"]
"""What the arguments of a command are."""

OWN: Final = re.compile(r"\s*:([A-Za-z][\w-]*)(?=\s|$)(.*)", re.DOTALL)
"""A colon and a letter: nothing a shell could run, whose own `:` stands alone."""

BEGUN: Final = re.compile(r"\s*:([\w-]*)(?:[ \t]+(.*))?", re.ASCII)

LIKE_OWN: Final = re.compile(r"\s*:[A-Za-z]")


class ExitRepl(Exception):
    """Ends the REPL with the exit code `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code: Final = code


@dataclass(frozen=True, slots=True)
class ReplCommand:
    """One command. `usage` is what stands behind its name, `least` and `most` how many words that may be."""

    usage: str
    summary: str
    least: int = 0
    most: int | None = 0
    completes: Completes = ""


TABLE: Final = {
    "attach": ReplCommand("ID", "show a run and, at its terminal, type to it", 1, 1, "runs"),
    "cd": ReplCommand("[DIR]", "go to a directory, as it is written; alone: say where one is", 0, 1, "directories"),
    "detach": ReplCommand("[ID]", "be told no more of a run's end; alone: say how to leave what runs", 0, 1, "runs"),
    "env": ReplCommand("[NAME=VALUE | -NAME]…", "set and unset variables; alone: list them", 0, None, "variables"),
    "help": ReplCommand("[COMMAND]", "say what the commands do", 0, 1, "commands"),
    "host": ReplCommand("[[+|-]HOST]", "switch to a host, add (+) or drop (-) one; alone: list them", 0, 1, "hosts"),
    "jobs": ReplCommand("[-a]", "list the runs that go on without this prompt; with -a those that are over too", 0, 1),
    "kill": ReplCommand("ID…", "end runs, with everything they started", 1, None, "runs"),
}


@dataclass(frozen=True, slots=True)
class Call:
    """A command with its words."""

    name: str
    words: tuple[str, ...]


def is_own(line: str) -> bool:
    """Whether `line` is for the REPL: one of its commands, or something like one."""
    return LIKE_OWN.match(line) is not None


def parse(line: str) -> Call:
    """Return what `line`, of which `is_own` is true, asks for; words are quoted as in a shell, and nothing is expanded.

    Raises ValueError, for the user, where it is no command or has too few or too many words.
    """
    match = OWN.match(line)
    if match is None:
        raise ValueError(f"{line.strip()!r} is no command; {known('')}")
    name = match[1]
    command = TABLE.get(name)
    if command is None:
        raise ValueError(f"there is no command :{name}; {known(name)}")
    from shlex import split

    try:
        words = split(match[2])
    except ValueError:
        raise ValueError(f":{name}: a quote or a backslash has no end") from None
    if len(words) < command.least or (command.most is not None and len(words) > command.most):
        raise ValueError(f"usage: {usage(name)}")
    return Call(name, tuple(words))


@dataclass(frozen=True, slots=True)
class Asked:
    """What could stand at the cursor: one of `kind` that begins with `begin`, behind the `rest` of the words."""

    kind: Completes
    begin: str
    rest: str = ""


def asked(before: str) -> Asked | None:
    """Return what could complete the text before the cursor where that is one of our commands; else None."""
    match = BEGUN.fullmatch(before)
    if match is None:
        return None
    name, rest = match[1], match[2]
    if rest is None:
        return Asked("commands", name)
    if not name:
        return None  # the shell's
    command = TABLE.get(name)
    return Asked(command.completes if command is not None else "", re.split(r"\s", rest)[-1], rest)


def known(name: str) -> str:
    """Say which command may be meant."""
    from difflib import get_close_matches

    nearest = get_close_matches(name, TABLE, n=1, cutoff=0.5)
    if nearest:
        return f"did you mean :{nearest[0]}?"
    return "there are " + ", ".join(f":{each}" for each in TABLE)


def usage(name: str) -> str:
    """Return how the command is written."""
    return f":{name} {TABLE[name].usage}".rstrip()


def help_text(name: str | None = None) -> str:
    """Return a line for each command, or for one. Raises ValueError where there is none of that name."""
    if name is not None:
        name = name.removeprefix(":")
        if name not in TABLE:
            raise ValueError(f"there is no command :{name}; {known(name)}")
    names = list(TABLE) if name is None else [name]
    width = max(len(usage(each)) for each in names)
    lines = [f"{usage(each):{width}}  {TABLE[each].summary}" for each in names]
    return "\n".join(lines if name is not None else [*lines, "", *NOTES])


NOTES: Final = (
    "Everything else is run by the remote shell, on a terminal. A line that ends with & is a run of its own that is",
    "kept. While a program runs: Enter ~d leaves it going, Enter ~? lists the other keys.",
)
