"""What a command that does not exist was probably meant to be, and what a caller of the API should write."""

from __future__ import annotations

from typing import Any

import pytest

from farhand_client import SpawnFailed
from farhand_client.advice import Meant, keyword_advice, what_was_meant

NOT_FOUND = SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no such program")


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        ([b"ls -l | head -1"], "script"),
        ([b"ls -l"], "script"),
        ([b"a;b"], "script"),
        ([b"*.txt"], "script"),
        ([b"A=1 make"], "script"),
        ([b"~/bin/x -v"], "script"),
        ([b"caf\xe9 $HOME"], "script"),
        ([b"cd", b"/tmp"], "builtin"),
        ([b"export", b"A=1"], "builtin"),
        ([b"source", b"venv/bin/activate"], "builtin"),
        ([b"alias"], "builtin"),
        ([b"A=1", b"make"], "variable"),
        ([b"A="], "variable"),
        ([b"~/bin/x"], "home"),
        ([b"~ann/x", b"y"], "home"),
        ([b"-t", b"top"], "option"),
        ([b"--timeout=5"], "option"),
        ([b"nope"], None),
        ([b"a=b/c", b"x y"], "variable"),
        ([b"no-such/program", b"a b"], None),
        ([b"program with blanks", b"x"], None),
        ([b""], None),
        ([], None),
    ],
)
def test_the_words_of_a_command_say_what_was_meant(argv: list[bytes], meant: Meant | None) -> None:
    assert what_was_meant(argv, NOT_FOUND) == meant


@pytest.mark.parametrize(
    ("changed", "meant"),
    [
        ({"error": "ENAMETOOLONG", "errno": 36}, "script"),
        ({"error": "ENOTDIR", "errno": 20}, "script"),
        ({"error": "EACCES", "errno": 13}, None),
        ({"what": "directory"}, None),
    ],
)
def test_only_a_program_that_does_not_exist_may_be_something_else(changed: Any, meant: Meant | None) -> None:
    assert what_was_meant([b"ls -l"], NOT_FOUND.model_copy(update=changed)) == meant


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([b"ls -l"], "shell=True"),
        ([b"export", b"A=1"], "shell=True"),
        ([b"cd", b"/tmp"], "cwd="),
        ([b"A=1", b"make"], "env={"),
        ([b"~/x"], "home directory"),
    ],
)
def test_callers_of_the_api_are_told_the_keyword(argv: list[bytes], words: str) -> None:
    assert words in keyword_advice(argv, NOT_FOUND)


def test_callers_of_the_api_are_told_nothing_about_any_other_command() -> None:
    assert [keyword_advice(argv, NOT_FOUND) for argv in ([b"nope"], [b"-t"], None)] == ["", "", ""]
