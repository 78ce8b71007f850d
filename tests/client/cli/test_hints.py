"""A command line that did not work is answered with one that does, which can be pasted into a shell."""

from __future__ import annotations

import argparse
import shlex

import pytest

from farhand_client import SpawnError, SpawnFailed
from farhand_client.cli.hints import MAX_SUGGESTED, TypedCommand, local_advice
from farhand_client.cli.options import add_connection_options, command_parser, split_arguments

VALUED = frozenset({"-I", "--identity", "--connect-timeout", "-e", "--cwd"})


def not_found(what: str = "program") -> SpawnError:
    outcome = SpawnFailed.model_validate({"errno": 2, "error": "ENOENT", "what": what, "message": "there is none"})
    return SpawnError(outcome, run_id="")


def parser() -> argparse.ArgumentParser:
    made = command_parser("run", "HOST", "Tests.")
    made.add_argument("-t", action="store_true")
    made.add_argument("-e")
    made.add_argument("--cwd")
    add_connection_options(made)
    return made


def instead(*line: str, what: str = "program") -> str:
    options, (host, *words) = split_arguments(line, VALUED)
    return TypedCommand(options, host, words, parser(), VALUED).instead(not_found(what))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["web", "ls -l | head -1"], "to run it in a shell: farhand run --shell web 'ls -l | head -1'"),
        (
            ["-e", "A=b c", "--cwd=x", "-I", "it's", "ann@web", "a\nb"],
            """to run it in a shell: farhand run --shell -e 'A=b c' --cwd=x -I 'it'"'"'s' ann@web $'a\\nb'""",
        ),
        (
            ["web", "cd", "a b"],
            "only shells have cd; to run a command in that directory: farhand run --cwd 'a b' web COMMAND…",
        ),
        (["web", "cd"], "only shells have cd; to run it in one: farhand run --shell web cd"),
        (["web", "export", "A=1"], "only shells have export; to run it in one: farhand run --shell web 'export A=1'"),
        (
            ["-t", "web", "A=1", "B=x y", "env", "C=2"],
            "to set a variable for a command: farhand run -t -e A=1 -e 'B=x y' web env C=2",
        ),
        (["web", "A=1"], "to set a variable for a command: farhand run -e A=1 web COMMAND…"),
        (["web", "A=1", "-x"], "to set a variable for a command: farhand run -e A=1 web -- -x"),
        (
            ["web", "~/x", "a b"],
            "only shells replace the ~, but commands start in the home directory: farhand run web ./x 'a b'",
        ),
        (
            ["--cwd", "/", "web", "~/x", "a b"],
            """only shells replace the ~; to run it in one: farhand run --shell --cwd / web '~/x '"'"'a b'"'"''""",
        ),
        (["web", "~ann/x"], "only shells replace the ~; to run it in one: farhand run --shell web '~ann/x'"),
        (["web", "-t", "top"], "options come before HOST: farhand run -t web top"),
        (["-t", "web", "-e", "A=1", "--", "-x"], "options come before HOST: farhand run -t -e A=1 web -- -x"),
        (["web", "--connect-timeout=3"], "options come before HOST: farhand run --connect-timeout=3 web COMMAND…"),
        (["web", "--no-such-option", "x"], ""),
        (["web", "nope"], ""),
    ],
)
def test_the_line_to_type_instead_has_every_option_that_was_given(line: list[str], sentence: str) -> None:
    assert instead(*line) == sentence


def test_nothing_is_suggested_if_something_else_than_the_program_is_missing() -> None:
    assert instead("--cwd", "x", "web", "ls -l", what="directory") == ""


def test_a_line_that_is_too_long_to_read_is_shortened() -> None:
    assert instead("web", "echo " * MAX_SUGGESTED) == "to run it in a shell: farhand run --shell web COMMAND…"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["ls | head"], "to run it in a shell: farhand local sh -c 'ls | head'"),
        (["cd", "/"], "only shells understand this; to run it in one: farhand local sh -c SCRIPT"),
        (["echo " * MAX_SUGGESTED], "to run it in a shell: farhand local sh -c SCRIPT"),
        (["nope"], ""),
    ],
)
def test_local_commands_have_a_line_of_their_own(words: list[str], sentence: str) -> None:
    assert local_advice(words, not_found()) == sentence


def test_what_is_suggested_is_read_as_it_was_typed() -> None:
    line = instead("-e", "A=b c", "web", "ls -l | head -1").partition(": ")[2]
    assert shlex.split(line) == ["farhand", "run", "--shell", "-e", "A=b c", "web", "ls -l | head -1"]
