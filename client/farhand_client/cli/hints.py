"""What to type instead of a command line that did not work, ready to be pasted into a shell."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from farhand_client.advice import what_was_meant
from farhand_client.errors import SpawnError
from farhand_protocol.sentences import shell_quoted

from .options import split_arguments
from .parser import known_options

MAX_SUGGESTED: Final = 500
"""Characters of a line to type instead; a longer one is shown with an ellipsis for the command. Twice what fits on a
line of a wide terminal, so that it is still seen where it ends."""

_COMMAND: Final = "COMMAND…"
"""Stands for a command that is not known or too long."""


@dataclass(frozen=True, slots=True)
class TypedCommand:
    """A command line of `farhand run` as it was typed: the options, HOST, and the words of the command.

    `parser` knows the options, of which `valued` take a value.
    """

    options: Sequence[str]
    host: str
    words: Sequence[str]
    parser: argparse.ArgumentParser
    valued: frozenset[str]

    def instead(self, error: SpawnError) -> str:
        """Return a sentence with the line to type instead, on a line of its own; nothing if there is none."""
        match what_was_meant([os.fsencode(word) for word in self.words], error.outcome):
            case "script":
                return f"to run it in a shell: {self._in_shell(self.words[0])}"
            case "builtin":
                return self._builtin()
            case "variable":
                return self._variables()
            case "home":
                return self._home()
            case "option":
                return self._moved_options()
            case None:
                return ""

    def _builtin(self) -> str:
        name, *rest = self.words
        if name == "cd" and len(rest) == 1:
            line = self._line([*self.options, "--cwd", rest[0]], [])
            return f"only shells have cd; to run a command in that directory: {line}"
        return f"only shells have {name}; to run it in one: {self._in_shell(shell_quoted(self.words))}"

    def _variables(self) -> str:
        assigned = 1
        while assigned < len(self.words) and _is_assignment(self.words[assigned]):
            assigned += 1
        added = [part for word in self.words[:assigned] for part in ("-e", word)]
        line = self._line([*self.options, *added], self.words[assigned:])
        return f"to set a variable for a command: {line}"

    def _home(self) -> str:
        program, *rest = self.words
        if program.startswith("~/") and not any(word.startswith("--cwd") for word in self.options):
            line = self._line(self.options, [f"./{program[2:]}", *rest])
            return f"only shells replace the ~, but commands start in the home directory: {line}"
        script = f"{program} {shell_quoted(rest)}".rstrip()
        return f"only shells replace the ~; to run it in one: {self._in_shell(script)}"

    def _moved_options(self) -> str:
        if self.words[0].partition("=")[0] not in known_options(self.parser):
            return ""
        options, rest = split_arguments(self.words, self.valued)
        return f"options come before HOST: {self._line([*self.options, *options], rest)}"

    def _in_shell(self, script: str) -> str:
        return self._line(["--shell", *self.options], [script])

    def _line(self, options: Sequence[str], words: Sequence[str]) -> str:
        separator = ["--"] if words and words[0].startswith("-") else []
        line = f"farhand run {shell_quoted([*options, self.host])}"
        whole = f"{line} {shell_quoted([*separator, *words])}"
        return whole if words and len(whole) <= MAX_SUGGESTED else f"{line} {_COMMAND}"


def local_advice(words: Sequence[str], error: SpawnError) -> str:
    """Return what to type instead of `farhand local` with `words`; nothing if there is nothing to say."""
    match what_was_meant([os.fsencode(word) for word in words], error.outcome):
        case "script":
            line = f"farhand local {shell_quoted(['sh', '-c', words[0]])}"
            return f"to run it in a shell: {line if len(line) <= MAX_SUGGESTED else 'farhand local sh -c SCRIPT'}"
        case "builtin" | "variable" | "home":
            return "only shells understand this; to run it in one: farhand local sh -c SCRIPT"
        case _:
            return ""


def _is_assignment(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name.isidentifier()
