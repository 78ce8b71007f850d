"""Which names complete a word, and how they are quoted. The script runs in a real sh."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from farhand_client.repl.completion import (
    MAX_NAMES,
    SHELL_WORDS,
    CompletionQuery,
    completion_query,
    query_argv,
    quote_name,
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with names that are hard to type."""
    for name in ("My Docs", "Übung", "src", ".hidden", "a-dir"):
        (tmp_path / name).mkdir()
    for name in ("My Docs/it's $1", "My Docs/plain", "src/new\nline", "notes", "-n", "~x", 'say "hi"'):
        (tmp_path / name).touch()
    (tmp_path / "src/run").touch(0o755)
    (tmp_path / "dangling").symlink_to("nowhere")
    with (tmp_path / "src").joinpath("run").open("w") as file:
        file.write("#!/bin/sh\n")
    Path(bytes(tmp_path).decode(), "src").joinpath("bad\udcff").touch()
    return tmp_path


def ask(query: CompletionQuery, home: Path, path: str = "/usr/bin:/bin") -> bytes:
    env = {"HOME": str(home), "PATH": path}
    done = subprocess.run(list(query_argv(query)), cwd=home, env=env, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout


def completed(before: str, home: Path) -> list[str]:
    """The lines that completion offers for a line up to the cursor."""
    query = completion_query(before)
    assert query is not None
    kept = before[: len(before) - query.typed]
    return [kept + answer.text for answer in query.answers(ask(query, home))]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("ls My", [r"ls My\ Docs/"]),
        (r"ls My\ D", [r"ls My\ Docs/"]),
        ('ls "My', ['ls "My Docs/']),
        ("ls 'My", ["ls 'My Docs/"]),
        ("ls Ü", ["ls Übung/"]),
        (r"ls My\ Docs/i", [r"ls My\ Docs/it\'s\ \$1 "]),
        ("ls 'My Docs/i", ["ls 'My Docs/it'\\''s $1' "]),
        ('ls "My Docs/i', ['ls "My Docs/it\'s \\$1" ']),
        ('ls "My Docs"/i', ['ls "My Docs"/it\\\'s\\ \\$1 ']),
        (r"ls My\ Docs/", [r"ls My\ Docs/it\'s\ \$1", r"ls My\ Docs/plain"]),
        ("ls sa", [r"ls say\ \"hi\" "]),
        ("ls ~/no", ["ls ~/notes "]),
        ("ls .h", ["ls .hidden/"]),
        ("ls .", ["ls .hidden/"]),
        ("ls ..", ["ls ../"]),
        ("ls -", ["ls ./-n "]),
        ("ls \\~", ["ls \\~x "]),
        ("ls dang", ["ls dangling "]),
        ("cd n", []),
        ("cd s", ["cd src/"]),
        ("cd a; cat n", ["cd a; cat notes "]),
        ("cat <no", ["cat <notes "]),
        ("echo $(cat no", ["echo $(cat notes "]),
        ("dd if=no", ["dd if=notes "]),
        ("dd if=src/r", ["dd if=src/run "]),
        ("dd of=x --file=no", ["dd of=x --file=notes "]),
        ("ls '~", ["ls '~x' "]),
        ("ls '~/n", []),
        ("src/", ["src/run "]),
        ("cat nowhere/x", []),
        ("echo \\\nno", ["echo \\\nnotes "]),
    ],
)
def test_completed_paths_keep_the_quotes_in_which_they_were_started(
    before: str, expected: list[str], home: Path
) -> None:
    assert completed(before, home) == expected


def test_names_that_cannot_be_shown_are_not_offered(home: Path) -> None:
    assert completed("ls src/", home) == ["ls src/run "]


def test_commands_are_programs_in_path_and_words_of_the_shell(home: Path) -> None:
    query = completion_query("make && r")
    assert query is not None
    answers = {answer.shown for answer in query.answers(ask(query, home, path=f"{home}/src:/nowhere"))}
    assert answers == {"run", "read"}
    assert {"cd", "exit", "export", "unset"} <= set(SHELL_WORDS)


@pytest.mark.parametrize(
    "before",
    ["", "ls; ", "ls $HO", "ls $HOME/n", "cat <<E\nfoo", "# no", "ls # no", "ls ~ro", "ls ~root/n", "$'a"],
)
def test_there_is_no_query_if_no_name_can_complete_the_word(before: str) -> None:
    assert completion_query(before) is None


def test_the_number_of_answers_is_limited(tmp_path: Path) -> None:
    for number in range(MAX_NAMES + 10):
        (tmp_path / f"file{number:04}").touch()
    assert len(completed("ls f", tmp_path)) == MAX_NAMES


def test_the_complete_names_of_truncated_output_are_offered() -> None:
    query = completion_query("ls a")
    assert query is not None
    assert [answer.shown for answer in query.answers(b" ab\0/ac\0 a")] == ["ab", "ac/"]


@pytest.mark.parametrize("quote", ["", "'", '"'])
@pytest.mark.parametrize("name", ["a b", "it's", 'q"q', "$HOME", "`x`", "\\", "*?[", "Ü#;&|<>(){}!~^", "=", "a\tb"])
def test_a_shell_reads_the_quoted_name_as_the_name(name: str, quote: str) -> None:
    script = f"printf %s {quote}{quote_name(name, quote)}{quote}"
    assert shells(script) == {name}


def shells(script: str) -> set[str]:
    runs: Iterable[list[str]] = ([shell, "-c", script] for shell in ("sh", "bash"))
    return {subprocess.run(argv, capture_output=True, text=True, check=True).stdout for argv in runs}
