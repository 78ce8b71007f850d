"""Which names complete a word, and how they are quoted. The script runs in a real sh."""

import os
import pwd
import signal
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

KNOWN: dict[str, str] = {}
"""Further variables of the remote environment."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with names that are hard to type."""
    for name in ("My Docs", "Übung", "src", ".hidden", "a-dir"):
        (tmp_path / name).mkdir()
    for name in ("My Docs/it's $1", "My Docs/plain", "src/new\nline", "notes", "-n", "~x", 'say "hi"', "\u3000wide"):
        (tmp_path / name).touch()
    (tmp_path / "src/run").touch(0o755)
    (tmp_path / "dangling").symlink_to("nowhere")
    with (tmp_path / "src").joinpath("run").open("w") as file:
        file.write("#!/bin/sh\n")
    Path(bytes(tmp_path).decode(), "src").joinpath("bad\udcff").touch()
    return tmp_path


def ask(query: CompletionQuery, home: Path, path: str = "/usr/bin:/bin") -> bytes:
    env = {"HOME": str(home), "PATH": path, **KNOWN}
    done = subprocess.run(list(query_argv(query)), cwd=home, env=env, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout


def completed(before: str, home: Path) -> list[str]:
    """The lines that completion offers for a line up to the cursor."""
    query = completion_query(before)
    assert query is not None
    query = query.without_bash()
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
        ("ls \u3000wi", ["ls \u3000wide "]),
        ("dd if=src/r", ["dd if=src/run "]),
        ("dd of=x --file=no", ["dd of=x --file=notes "]),
        ("ls '~", ["ls '~x' "]),
        ("ls '~/n", []),
        ("src/", ["src/run "]),
        ("cat nowhere/x", []),
        ("echo \\\nno", ["echo \\\nnotes "]),
        ("ls $HOME/no", ["ls $HOME/notes "]),
        ("ls ${HOME}/no", ["ls ${HOME}/notes "]),
        ('ls "$HOME/My', ['ls "$HOME/My Docs/']),
        ("cd $HOME/s", ["cd $HOME/src/"]),
        ("ls $HOME/src/", ["ls $HOME/src/run "]),
        ("$HOME/src/", ["$HOME/src/run "]),
        ("ls $NONE/", []),
        ("ls '$HOME/n", []),
        ("ls \\$HOME/n", []),
        ("ls ~nobody-here/n", []),
        ("echo $HOM", ["echo $HOME"]),
        ("echo ${HOM", ["echo ${HOME}"]),
        ('echo "$HOM', ['echo "$HOME']),
        ("cd $HOM", ["cd $HOME"]),
        ("echo '$HOM", []),
        ("echo \\$HOM", []),
        ("A=$HOM", ["A=$HOME"]),
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
    [
        *("", "ls; ", "cat <<E\nfoo", "# no", "ls # no", "$'a", "$'$HO", "ls $(pwd)/n", "ls $HOME$X/n", "ls `pwd`/n"),
        *("ls $HOME/$(x)/n", "ls ${HOME:-x}/n", "ls $1/n", "ls ~'ro", "ls ~$X/n"),
    ],
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


def test_accounts_and_what_is_in_their_home_directories_are_completed(home: Path) -> None:
    account = pwd.getpwuid(os.getuid())
    assert f"ls ~{account.pw_name}/" in completed(f"ls ~{account.pw_name[:-1]}", home)
    assert f"cat <~{account.pw_name}/" in completed(f"cat <~{account.pw_name[:-1]}", home)
    inside = sorted(path.name for path in Path(account.pw_dir).iterdir() if path.name.isprintable())
    if inside:
        before = f"ls ~{account.pw_name}/{quote_name(inside[0], '')}"
        assert any(line.startswith(before) for line in completed(before, home))


class TestArguments:
    """What bash-completion knows, from a small one."""

    FUNCTIONS = r"""
    _tool() {
        local cur=$2
        case ${COMP_WORDS[*]:1:COMP_CWORD} in
        '--color ='*) COMPREPLY=($(compgen -W 'always auto never' -- "$cur")); return ;;
        --file*) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
        'remote :'*) COMPREPLY=(x); return ;;
        'whole :'*) COMPREPLY=(whole:x); return ;;
        esac
        case $cur in
        -*) COMPREPLY=($(compgen -W '--color= --file --all' -- "$cur")); compopt -o nospace ;;
        *) COMPREPLY=("start   (Start it)" "status  (Show it)" stop) ;;
        esac
    }
    complete -F _tool tool
    complete -F _evaluates evaluates
    _evaluates() { eval "x=$2"; for word in "${COMP_WORDS[@]}"; do eval "x=$word"; done; COMPREPLY=(done); }
    complete -W 'one two three' words
    complete -C 'printf "%s\n" from-program; :' program
    _hangs() { sleep 60; }
    complete -F _hangs hangs
    complete -F _minimal minimal
    _minimal() { COMPREPLY=(wrong); }
    _completion_loader() { [ "$1" = lazy ] && complete -W 'loaded' lazy; }
    _late() { complete -W 'replaced' late; return 124; }
    complete -F _late late
    _asis() { COMPREPLY=('a\ b' 'c~1' ' ' 'and...'); }
    complete -F _asis asis
    """

    @pytest.fixture(autouse=True)
    def knowledge(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path.parent / "functions"
        file.write_text(self.FUNCTIONS)
        monkeypatch.setitem(KNOWN, "BASH_COMPLETION", str(file))

    def completed(self, before: str, home: Path) -> list[str]:
        query = completion_query(before)
        assert query is not None
        kept = before[: len(before) - query.typed]
        return [kept + answer.text for answer in query.answers(ask(query, home))]

    @pytest.mark.parametrize(
        ("before", "expected"),
        [
            ("tool sta", ["tool start", "tool status"]),
            ("tool stop", ["tool stop "]),
            ("tool remote:", ["tool remote:x "]),
            ("tool whole:", ["tool whole:x "]),
            ("tool --", ["tool --all", "tool --color=", "tool --file"]),
            ("tool --co", ["tool --color="]),
            ("tool --color=al", ["tool --color=always "]),
            ("tool --color=", ["tool --color=always", "tool --color=auto", "tool --color=never"]),
            ("tool --file src/r", ["tool --file src/run "]),
            ("tool --file My", ["tool --file My\\ Docs/"]),
            ("tool --file=sr", ["tool --file=src/"]),
            ("A=1 tool stop", ["A=1 tool stop "]),
            ("x | tool stop", ["x | tool stop "]),
            ("if x; then tool stop", ["if x; then tool stop "]),
            ("echo $(tool stop", ["echo $(tool stop "]),
            ("echo $(x y) | tool stop", ["echo $(x y) | tool stop "]),
            ("tool 'a b;' $(x) \"$y\" stop", ["tool 'a b;' $(x) \"$y\" stop "]),
            ("words t", ["words three", "words two"]),
            ("program f", ["program from-program "]),
            ("lazy ", ["lazy loaded "]),
            ("late r", ["late replaced "]),
            ("asis a", ["asis a\\ b "]),
            ("asis c", ["asis c\\~1 "]),
            # Otherwise there are the names of files:
            ("tool no", ["tool notes "]),
            ("minimal no", ["minimal notes "]),
            ("unknown no", ["unknown notes "]),
            ("./tool no", ["./tool notes "]),
            ("tool >no", ["tool >notes "]),
            ("tool 'My D", ["tool 'My Docs/"]),
        ],
    )
    def test_arguments_are_preferred_to_names_of_files(self, before: str, expected: list[str], home: Path) -> None:
        assert self.completed(before, home) == expected

    def test_a_description_is_shown_beside_its_argument(self, home: Path) -> None:
        query = completion_query("tool sta")
        assert query is not None
        answers = list(query.answers(ask(query, home)))
        assert [(answer.shown, answer.description) for answer in answers] == [
            ("start", "Start it"),
            ("status", "Show it"),
        ]

    @pytest.mark.parametrize(
        "word",
        [
            "$(touch {})",
            "`touch {}`",
            "'$(touch {})'",
            "'x;touch {}'",
            "\\;touch\\ {}",
            '"$(touch {})"',
            "$X'$(touch {})'",
        ],
    )
    def test_what_is_typed_is_not_executed_even_by_functions_that_evaluate_it(self, word: str, home: Path) -> None:
        trap = home / "executed"
        word = word.format(trap)
        for before in (f"evaluates {word} ", f"evaluates {word}", f"{word} ", f"evaluates a={word} x"):
            query = completion_query(before)
            if query is not None:
                ask(query, home)
            assert not trap.exists(), before

    def test_without_bash_there_are_the_names_of_files(
        self, home: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        programs = tmp_path_factory.mktemp("bin")
        query = completion_query("tool no")
        assert query is not None
        assert [answer.text for answer in query.answers(ask(query, home, path=str(programs)))] == ["notes "]

    def test_names_come_before_what_takes_long(self, home: Path) -> None:
        query = completion_query("hangs no")
        assert query is not None
        argv = list(query_argv(query))
        env = {"HOME": str(home), "PATH": "/usr/bin:/bin", **KNOWN}
        with subprocess.Popen(argv, cwd=home, env=env, stdout=subprocess.PIPE, start_new_session=True) as process:
            assert process.stdout is not None
            printed = process.stdout.read(len(b" notes\0"))
            os.killpg(process.pid, signal.SIGKILL)
        assert [answer.text for answer in query.answers(printed)] == ["notes "]


@pytest.mark.parametrize("quote", ["", "'", '"'])
@pytest.mark.parametrize("name", ["a b", "it's", 'q"q', "$HOME", "`x`", "\\", "*?[", "Ü#;&|<>(){}!~^", "=", "a\tb"])
def test_a_shell_reads_the_quoted_name_as_the_name(name: str, quote: str) -> None:
    script = f"printf %s {quote}{quote_name(name, quote)}{quote}"
    assert shells(script) == {name}


def shells(script: str) -> set[str]:
    runs: Iterable[list[str]] = ([shell, "-c", script] for shell in ("sh", "bash"))
    return {subprocess.run(argv, capture_output=True, text=True, check=True).stdout for argv in runs}
