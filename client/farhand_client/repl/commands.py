"""The REPL's own commands: their names and arguments, and how a line is parsed into one. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from farhand_client.ui.text import wrap_words
from farhand_protocol.sentences import closest

ArgumentKind: TypeAlias = Literal["", "commands", "directories", "fetched", "hosts", "runs", "sent", "variables"]
"""What the arguments of a command are, for their completion. Of files that are sent the first one is here, and of those
that are fetched it is there; later ones may be on either side."""

COMMAND_LINE: Final = re.compile(r"[ \t\n]*:([A-Za-z][\w-]*)(?=\s|$)(.*)", re.DOTALL)
"""A colon and a letter, which is no command of any shell: a shell's own `:` is a word by itself."""

PARTIAL_COMMAND: Final = re.compile(r"[ \t\n]*:([\w-]*)(?:[ \t]+(.*))?", re.ASCII)
"""The beginning of a command, up to the cursor."""

FIRST_WORD: Final = re.compile(r"""\s*(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s'"\\])+\s""", re.DOTALL)
"""A word that is complete, because something follows it."""

COMMAND_PREFIX: Final = re.compile(r"[ \t\n]*:[A-Za-z]")

PLAIN_WORDS: Final = {
    "help": "help",
    "?": "help",
    "quit": "quit",
    "bye": "quit",
    "logout": "quit",
    "jobs": "jobs",
    "fg": "attach",
}
"""Lines that are commands without a colon, since people type them to any prompt; a shell that runs one line has no
jobs. With an argument, or a backslash or `command` before them, they are for the shell, so that a program of such a
name can be run."""

ALIASES: Final = {"q": "quit", "exit": "quit", "h": "help"}
"""Other names of commands, as editors and debuggers have them."""

MIN_SUMMARY_COLUMNS: Final = 24
"""Columns for the summaries, below which each is written under its command: four or five words a line."""


class ExitRepl(Exception):
    """Ends the REPL with the exit code `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code: Final = code


@dataclass(frozen=True, slots=True)
class ReplCommand:
    """One command. `usage` describes its arguments; there may be `min_words` to `max_words` of them."""

    usage: str
    summary: str
    min_words: int = 0
    max_words: int | None = 0
    completes: ArgumentKind = ""


REPL_COMMANDS: Final = {
    "attach": ReplCommand("[ID]", "show a run; type to it if it has a terminal; alone: the last job", 0, 1, "runs"),
    "cd": ReplCommand("[DIR]", "change to DIR, taken literally; alone: print the directory", 0, 1, "directories"),
    "detach": ReplCommand("[ID]", "do not report a job's outcome; alone: how to leave a program", 0, 1, "runs"),
    "env": ReplCommand("[NAME=VALUE | -NAME]…", "set and unset variables; alone: list them", 0, None, "variables"),
    "get": ReplCommand(
        "[OPTION…] SRC… [DEST]", "fetch files; alone, SRC is placed in the directory here", 1, None, "fetched"
    ),
    "help": ReplCommand("[COMMAND]", "explain the commands", 0, 1, "commands"),
    "host": ReplCommand("[[+|-]HOST]", "switch to a host, add (+) or remove (-) one; alone: list them", 0, 1, "hosts"),
    "jobs": ReplCommand("[-a]", "list runs in the background; -a: also those that have ended", 0, 1),
    "kill": ReplCommand("ID…", "stop runs and everything they started", 1, None, "runs"),
    "put": ReplCommand(
        "[OPTION…] SRC… [DEST]", "send files; alone, SRC is placed in the directory there", 1, None, "sent"
    ),
    "quit": ReplCommand("", "leave, with the last line's exit code, as exit and Ctrl-D do"),
}


@dataclass(frozen=True, slots=True)
class CommandCall:
    """A command: its name without the colon, and its arguments."""

    name: str
    words: tuple[str, ...]


def is_repl_command(line: str) -> bool:
    """Return whether `line` is for the REPL: one of its commands, or something that looks like one."""
    return COMMAND_PREFIX.match(line) is not None or line.strip(" \t\n") in PLAIN_WORDS


def parse_command(line: str) -> CommandCall:
    """Parse a line for which `is_repl_command` is true. Words are quoted as in a shell; nothing is expanded.

    Raises ValueError, with a message for the user, for an unknown command and a wrong number of words.
    """
    plain = PLAIN_WORDS.get(line.strip(" \t\n"))
    if plain is not None:
        return CommandCall(plain, ())
    match = COMMAND_LINE.match(line)
    if match is None:
        raise ValueError(f"{line.strip()!r} is not a command; {suggest('')}")
    name = ALIASES.get(match[1], match[1])
    command = REPL_COMMANDS.get(name)
    if command is None:
        raise ValueError(f"there is no command :{name}; {suggest(name)}")
    from shlex import split

    try:
        words = split(match[2])
    except ValueError:
        raise ValueError(f":{name}: a quote or a backslash is not closed") from None
    if len(words) < command.min_words or (command.max_words is not None and len(words) > command.max_words):
        raise ValueError(f"usage: {usage(name)}")
    return CommandCall(name, tuple(words))


@dataclass(frozen=True, slots=True)
class CompletionTarget:
    """The word at the cursor: it is of `kind`, begins with `begin`, and `words` is all text after the command."""

    kind: ArgumentKind
    begin: str
    words: str = ""


def completion_target(before: str) -> CompletionTarget | None:
    """Return what to complete at the end of the text `before` the cursor; None if the text is for the shell."""
    match = PARTIAL_COMMAND.fullmatch(before)
    if match is None:
        return None
    name, words = match[1], match[2]
    if words is None:
        return CompletionTarget("commands", name)
    if not name:
        return None  # the shell's own `:`
    command = REPL_COMMANDS.get(name)
    return CompletionTarget(command.completes if command is not None else "", re.split(r"\s", words)[-1], words)


def has_word_before(words: str) -> bool:
    """Return whether the last word of `words`, which may be empty, is not the first one. Words are quoted as in a
    shell."""
    return FIRST_WORD.match(words) is not None


def suggest(name: str) -> str:
    """Return a clause that names the command most like `name`, or all commands."""
    nearest = closest(name, REPL_COMMANDS, cutoff=0.5)
    if nearest:
        return f"did you mean :{nearest}?"
    return "the commands are " + ", ".join(f":{each}" for each in REPL_COMMANDS)


def usage(name: str) -> str:
    """Return how the command is written."""
    return f":{name} {REPL_COMMANDS[name].usage}".rstrip()


def help_text(name: str | None = None, columns: int = 80, escape: str = "~") -> str:
    """Return a text about each command, or about one, with or without its colon, wrapped to `columns`.

    `escape` is the character that begins keys for the REPL while a program runs; empty if there are no such keys.
    Raises ValueError if there is no such command.
    """
    if name is not None:
        name = name.removeprefix(":")
        name = ALIASES.get(name, name)
        if name not in REPL_COMMANDS:
            raise ValueError(f"there is no command :{name}; {suggest(name)}")
        return "\n".join(_help_lines([name], columns))
    notes = [note.replace("ESCAPE", escape) for note in HELP_NOTES if escape or "ESCAPE" not in note]
    paragraphs = [wrap_words(note, columns) for note in notes]
    return "\n\n".join("\n".join(lines) for lines in [_help_lines(list(REPL_COMMANDS), columns), *paragraphs])


def _help_lines(names: list[str], columns: int) -> list[str]:
    width = max(len(usage(name)) for name in names)
    beside = columns - width - 2 >= MIN_SUMMARY_COLUMNS
    lines: list[str] = []
    for name in names:
        summary = REPL_COMMANDS[name].summary
        if beside:
            first, *rest = wrap_words(summary, columns - width - 2)
            lines.append(f"{usage(name):{width}}  {first}")
            lines += [" " * (width + 2) + line for line in rest]
        else:
            lines += wrap_words(usage(name), columns, "  ")
            lines += ["  " + line for line in wrap_words(summary, columns - 2)]
    return lines


HELP_NOTES: Final = (
    "The remote shell runs everything else, on a terminal. A line that ends with & becomes a job, which keeps running "
    "after you leave.",
    "While a program runs: Enter ESCAPEd leaves it running, as Ctrl-Z and bg would; :attach ID returns to it. Enter "
    "ESCAPE? lists the other keys.",
    "Tab completes; Right, Ctrl-E and Ctrl-F take the rest of the line that is suggested from the history, Alt-F its "
    "next word. Up and Ctrl-R search the history.",
    "help, ?, jobs, fg, quit, bye and logout alone on a line are for farhand; command help, \\quit and so on are for "
    "the shell.",
)
"""Paragraphs after the list of commands, with ESCAPE for the character that begins keys for the REPL."""
