"""The state of real shells from line to line: a table of lines, and what the next line finds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farhand_client.repl import shell_code
from tests.support.shell_lines import ShellLines, lines_of

SHELLS = [pytest.param("bash", marks=pytest.mark.needs("bash"))]


@pytest.fixture(params=SHELLS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ShellLines]:
    with lines_of(request.param, tmp_path) as made:
        yield made


BASH = [
    ("cd /usr; PWD=/etc", "pwd", "/usr\n"),
    ("cd /usr; PWD=", "pwd", "/usr\n"),
    ("cd /usr; unset PWD", "pwd", "/usr\n"),
    ('mkdir -p "d\'  \n"; cd "d\'  \n"', 'printf "%s|" "${PWD##*/}"', "d'  \n|"),
    ("mkdir nd && cd nd", 'echo "${PWD##*/} ${OLDPWD##*/}"', "nd t\n"),
    ("mkdir nd; ln -s nd link; cd link", 'echo "${PWD##*/}"; basename "$(pwd -P)"', "link\nnd\n"),
    ("mkdir x; pushd x >/dev/null; pushd / >/dev/null", "popd >/dev/null; echo ${PWD##*/}; dirs | wc -w", "x\n2\n"),
    ("A=5 && export A; B=6", "echo $A $B; sh -c 'echo \"$A-$B\"'", "5 6\n5-\n"),
    ("unset LANG; export -n HOME", "env | grep -E '^(LANG|HOME)='; echo $?; [ -n \"$HOME\" ] && echo set", "1\nset\n"),
    (
        "a=(1 '2 3' [7]=x); declare -A m=([k]='v\nw' ['] ']=2)",
        'echo "${a[1]}${#a[@]}${!a[*]} ${m[k]}${m["] "]}"',
        "2 330 1 7 v\nw2\n",
    ),
    ("declare -i n=3; declare -r r=1; declare -u u=x", "n+=4; u=abc; echo $n $u; r=2", "7 ABC\n"),
    ("declare -n ref=target; target=7", "ref=8; echo $target", "8\n"),
    ('f() { echo "f $1"; }; export -f f', "f x; bash -c 'f y'", "f x\nf y\n"),
    ("alias greet='echo hello'", "greet you", "hello you\n"),
    (
        "set -o pipefail; set -u; shopt -s nullglob; set +B",
        "set -o | grep -E 'pipefail|nounset|brace' | tr -d ' \\t'; shopt -q nullglob; echo $?",
        "braceexpandoff\nnounseton\npipefailon\n0\n",
    ),
    ("umask 027; ulimit -n 77", "umask; ulimit -n", "0027\n77\n"),
    ("trap 'echo usr1' USR1", "kill -USR1 $$", "usr1\n"),
    ("set -- 'a b' ''", 'echo "$# $1"', "2 a b\n"),
    ("(exit 37)", "echo $?", "37\n"),
    ("no-such-program", "echo $?", "127\n"),
    ("source ./lib", "hi; echo $FROM", "hi from lib\nlib\n"),
    ("IFS=:", "x=a:b; echo $x; echo ${#IFS}", "a b\n1\n"),
    ("exec 2>&1; X=1", "echo $X", "1\n"),
    ("echo )", "echo $?", "2\n"),
    ("X=1; kill -INT $$", "echo ${X-none}", "1\n"),
    ("X=1; kill -KILL $$", "echo ${X-none}", "none\n"),
    ("X=1; exec true", "echo ${X-none}", "none\n"),
    ("X=1; echo ${nothing?gone}", "echo ${X-none}", "1\n"),
    ("mkdir nd", "cd $_; echo ${PWD##*/}", "nd\n"),
    ("echo 'a b' >/dev/null; true 'x  y'", 'echo "$_ $?"', "x  y 0\n"),
    ("for i in 1; do true; done", 'echo "[$_]"', "[/dev/null/last-word-not-known]\n"),
    ("false | true | sh -c 'exit 3' | cat", "echo ${PIPESTATUS[@]}", "1 0 3 0\n"),
    (
        "declare -A m; declare -x e; declare -i n; declare -a v",
        "m[a]=1 m[b]=2 e=3 n=2+3; echo ${#m[@]} $n; env | grep ^e",
        "2 5\ne=3\n",
    ),
    ("set -C; ls() { echo mine; }; A=1", "ls", "mine\n"),
    ("unset PWD", "echo ${PWD##*/}", "t\n"),
    (
        "mkdir a b; ln -s a cur; cd cur; ln -sfn b ../cur",
        'pwd; basename "$PWD"; rmdir ../b && echo free',
        "PWD/a\na\nfree\n",
    ),
    ("trap 'echo err' ERR", "false; true", "err\n"),
    ("trap 'echo bug $BASH_COMMAND' DEBUG", "X=1", "bug X=1\n"),
]


@pytest.mark.needs("bash")
@pytest.mark.parametrize(("first", "second", "printed"), BASH)
def test_the_next_line_finds_what_a_line_has_left(tmp_path: Path, first: str, second: str, printed: str) -> None:
    (tmp_path / "lib").write_text("hi() { echo hi from lib; }\nexport FROM=lib\n")
    with lines_of("bash", tmp_path) as run:
        run(first)
        assert run(second).out.decode().replace(str(tmp_path), "PWD").replace(tmp_path.name, "t") == printed


def test_what_a_line_prints_about_its_error_is_what_was_typed(run: ShellLines) -> None:
    assert run("cat <nofile").err == b"bash: line 1: nofile: No such file or directory\n"
    assert run("echo a; echo (").err.endswith(b"`echo a; echo ('\n")


def test_the_environment_is_reported_when_it_has_changed_and_only_then(run: ShellLines) -> None:
    reports = [run(line).report for line in ("A=1", "A=2", "export A", "A=2; true")]
    assert [report and report.environment is not None for report in reports[1:]] == [False, True, False]


def test_plain_lines_set_the_last_word(run: ShellLines) -> None:
    run("echo /usr")
    assert run("ls -d $_").out == b"/usr\n"
    assert run("echo ${_##*/}").out == b"usr\n"


def test_the_last_word_of_a_new_shell_is_nothing_of_ours(run: ShellLines) -> None:
    assert run('echo "[$_]"').out == b"[/dev/null/last-word-not-known]\n"


def test_a_trap_for_the_exit_is_run_with_the_mask_of_the_line_whatever_separates_words(run: ShellLines) -> None:
    run("IFS=:; umask 027; trap umask EXIT")
    assert run("exit 3").out == b"0027\n"


SH = [
    ("cd /usr; PWD=/etc", "pwd", "/usr\n"),
    ("cd /usr; PWD=", "pwd", "/usr\n"),
    ("cd /usr; unset PWD", "pwd", "/usr\n"),
    ('mkdir -p "d\'  \n"; cd "d\'  \n"', 'printf "%s|" "${PWD##*/}"', "d'  \n|"),
    ("mkdir -p nd && cd nd", "echo ${PWD##*/} ${OLDPWD##*/}", "nd t\n"),
    (
        'A=5 && export A; B="it\'s\nx"; unset LANG; readonly R=1',
        "echo \"$A $B $R ${LANG-none}\"; sh -c 'echo $A-$B'",
        "5 it's\nx 1 none\n5-\n",
    ),
    (
        "alias greet='echo hello'; umask 027; ulimit -n 77; set -u -f",
        "greet *; umask; ulimit -n; echo $nothing; echo no",
        "hello *\n0027\n77\n",
    ),
    ("trap 'echo usr1' USR1; set -- 'a b' ''", "kill -USR1 $$; echo $# $1", "usr1\n2 a b\n"),
    ("(exit 37)", "echo $?", "37\n"),
    ("IFS=:", "v=a:b; echo $v", "a b\n"),
    (". ./lib", "echo $FROM", "lib\n"),
    ("X=1; sh -c 'kill -INT $$ $PPID'; echo not", "echo ${X-none}", "1\n"),
    ("X=1; kill -KILL $$", "echo ${X-none}", "none\n"),
    ("X=1; echo ${nothing?gone}", "echo ${X-none}", "1\n"),
    ("f() { echo f $1; }; X=1", "f x; echo $X", "f x\n1\n"),
    ("f() {\n  echo f\n}", "unset -f f; f || echo none", "none\n"),
    ("trap 'echo bye' EXIT", "exit 3", "bye\n"),
    ("alias cat='cat -n' printf='echo oops' read=no set=no umask=no; A=1", "echo $A", "1\n"),
    ("alias a='echo it'\"'\"'s ok'; alias b='a'", "alias b", "b='a'\n"),
    ("cd() { command cd $1 && echo moved; }; printf() { :; }; umask() { echo no; }", "cd /usr; pwd", "moved\n/usr\n"),
    ("unset PWD", "echo ${PWD##*/}", "t\n"),
    ("mkdir a b; ln -s a cur; cd cur; ln -sfn b ../cur", "basename $PWD; rmdir ../b && echo free", "a\nfree\n"),
]


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.needs(name)) for name in ("dash", "busybox")])
def sh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ShellLines]:
    found = shutil.which(request.param)
    assert found is not None
    # busybox is the program that it is called by.
    program = tmp_path / "ash" if request.param == "busybox" else Path(found)
    if request.param == "busybox":
        program.symlink_to(found)
    with ShellLines(program, tmp_path) as made:
        yield made


@pytest.mark.parametrize(("first", "second", "printed"), SH)
def test_the_next_line_of_a_small_sh_finds_what_a_line_has_left(
    sh: ShellLines, first: str, second: str, printed: str
) -> None:
    (sh.home / "lib").write_text("export FROM=lib\n")
    sh(first)
    assert sh(second).out.decode().replace(sh.home.name, "t") == printed


@pytest.mark.parametrize(
    "shell", [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("bash", "zsh", "dash")]
)
def test_a_state_that_does_not_fit_on_the_disk_is_not_used(tmp_path: Path, shell: str) -> None:
    with lines_of(shell, tmp_path) as run:
        run("A=1")
        ended = run("trap '' XFSZ; ulimit -f 1; A=2; Z=$(printf %9000d 1)")
        assert (ended.word, ended.code) == ("sync", 0)
        assert b"farhand: cannot write the state of the shell to" in ended.err
        assert run("echo $A${Z-}").out == b"1\n"


@pytest.mark.needs("fish")
def test_a_state_of_fish_that_does_not_fit_on_the_disk_is_not_used(tmp_path: Path) -> None:
    with lines_of("fish", tmp_path) as run:
        run("set A 1; function f; end")
        long = "(string repeat -n 9000 x)"
        for line in (f"set Z {long}", f"echo 'function g; echo' {long}'; end' | source"):
            ended = run(f"trap true XFSZ; ulimit -f 1; set A 2; {line}")
            assert (ended.word, ended.code) == ("sync", 0)
            assert b"farhand: cannot write the state of the shell to" in ended.err
            assert run('echo "$A$Z"').out == b"1\n"


@pytest.mark.needs("bash")
def test_a_keeper_removes_what_killed_ones_have_left_on_the_same_machine(tmp_path: Path) -> None:
    here = f"{os.uname().nodename} {Path('/proc/self/ns/pid').readlink()}"
    pids = {"killed": f"99999999\n{here}", "living": f"{os.getpid()}\n{here}", "elsewhere": "99999999\nother pid:[1]"}
    for name, text in pids.items():
        (tmp_path / f"farhand-repl.{name}").mkdir()
        (tmp_path / f"farhand-repl.{name}/keeper").write_text(text + "\n")
    with lines_of("bash", tmp_path):
        pass
    assert {each.name for each in tmp_path.iterdir()} == {"farhand-repl.living", "farhand-repl.elsewhere"}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"f() { echo a; echo b; }; X=1", b"f() { echo a; echo b; }"),
        (b"X=1; f ()\n{ echo ';' \xff; }\ng() ( ls; ) && h", b" f ()\n{ echo ';' \xff; }\ng() ( ls; ) "),
        (b"unset -f f g; unset -f", b"unset -f f g"),
        (b"echo f() { x; }", b""),
        (b"ls", b""),
    ],
)
def test_definitions_of_functions_are_found_in_a_line(line: bytes, found: bytes) -> None:
    assert shell_code.definitions(line) == found


def test_errors_name_the_shell_and_the_line_as_typed(run: ShellLines) -> None:
    assert run("true\nno-such-program").err == b"bash: line 2: no-such-program: command not found\n"
    assert run("echo (").err.startswith(b"bash: eval: line 1: syntax error")


def test_tracing_shows_the_lines_and_nothing_of_what_surrounds_them(run: ShellLines) -> None:
    assert run("set -x").err == b""
    assert run("echo a").err == b"++ echo a\n"
    assert run("set +x").err == b"++ set +x\n"
    assert run("echo a").err == b""


@pytest.mark.parametrize(
    ("line", "how", "code"),
    [
        ("X=1; exit 3", "exit", 3),
        ("test -e nowhere || exit", "exit", 1),
        ("set -e; false; echo never", "exit", 1),
        ("echo ${nothing?gone}", "error", 127),
        ("X=1", "end", 0),
    ],
)
def test_it_is_known_whether_the_line_has_left_the_shell(run: ShellLines, line: str, how: str, code: int) -> None:
    ended = run(line)
    assert ended.report is not None
    assert (ended.report.how, ended.code) == (how, code)


LEAVING = [
    ("exit_fun", "exit", 1),
    ("outer", "exit", 1),
    (". ./exits", "exit", 7),
    ("quit", "exit", 0),
    (": ${nothing?gone}", "error", None),
    ("(exit 3); true", "end", 0),
]


@pytest.mark.parametrize(
    "shell", [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("bash", "zsh", "dash", "busybox", "fish")]
)
def test_a_function_that_exits_leaves_the_shell_and_an_error_does_not(tmp_path: Path, shell: str) -> None:
    (tmp_path / "exits").write_text("exit 7\n")
    program = Path(shutil.which(shell) or "")
    if shell == "busybox":
        program = tmp_path / "ash"
        program.symlink_to(shutil.which(shell) or "")
    with ShellLines(program, tmp_path) as run:
        if shell == "fish":
            run("function exit_fun; exit 1; end; function outer; exit_fun; end; function quit; exit; end")
        else:
            run("exit_fun() { exit 1; }; outer() { exit_fun; }; quit() { exit; }")
        for line, how, code in LEAVING:
            if shell == "fish" and (how != "exit" or line == ". ./exits"):
                continue  # in fish, the exit of a file ends only that
            run("true")
            ended = run(line)
            assert ended.report is not None
            assert (line, ended.report.how) == (line, how)
            assert code in (None, ended.code)


def test_a_trap_for_the_exit_is_run_once_when_the_shell_is_left(run: ShellLines) -> None:
    first = run("trap 'echo bye' EXIT")
    assert first.report is not None
    assert (first.out, first.report.exit_trap) == (b"", True)
    assert run("echo a").out == b"a\n"
    assert run("exit 4").out == b"bye\n"


def test_a_plain_program_replaces_the_shell_and_nothing_is_saved(run: ShellLines) -> None:
    run("f() { :; }; alias ls='ls -d'")
    assert (run("ls /").word, run("ls /").out) == ("same", b"/\n")
    assert run("f").word == "saved"
    assert run("X=1").word == "saved"
    assert run("cat $SHELL_IS_NOT_SET").word == "same"


@pytest.mark.parametrize("busy", ["trap 'echo bye' EXIT", "trap : USR1", "set -e", "export -f f"])
def test_plain_lines_keep_functions_where_something_must_run_after_them(run: ShellLines, busy: str) -> None:
    run(f"f() {{ echo f; }}; {busy}")
    for line in ("f", "ls", "f"):
        assert run(line).word == "saved"
    assert run("f").out == b"f\n"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"make -j4 CC='a b'", b"make"),
        (b"ls $HOME/*.py", b"ls"),
        (b"A=1 make", None),
        (b"make; cd x", None),
        (b"echo $((i++))", None),
        (b"echo `x`", None),
        (b"echo ${a:=1}", None),
        (b"a b\nc", None),
        (b"echo >f", None),
    ],
)
def test_only_plain_words_are_plain(line: bytes, name: bytes | None) -> None:
    found = shell_code.PLAIN_LINE.fullmatch(line)
    assert (found and found[1]) == name


@pytest.mark.parametrize("shell", [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("bash", "zsh")])
def test_values_of_any_bytes_are_kept(new_directory: Callable[[], Path], shell: str) -> None:
    with lines_of(shell, new_directory()) as run:

        @settings(max_examples=15, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(st.integers(1, 255) | st.sampled_from(b"'\"\\$`\n !~\x01\x7f\xc3\xa9"), max_size=12).map(bytes))
        def check(value: bytes) -> None:
            quoted = b"$'" + b"".join(b"\\%03o" % byte for byte in value) + b"'"
            line = b"v=%b w=(%b x); export e=%b; declare -A m; m[k]=%b; x=(%b); set -- %b; f() { printf %s %b; }"
            assert run(line.replace(b"%b", quoted)).err == b""
            shown = run('printf "%s|" "$v" "${w[@]:0:1}" "${m[k]}" "${x[@]}" "$1"; f; exec env -0').out
            assert shown.startswith(b"|".join([value] * 6))
            assert b"e=" + value + b"\0" in shown

        check()


@pytest.mark.needs("fish")
def test_values_of_any_bytes_are_kept_by_fish(new_directory: Callable[[], Path]) -> None:
    with lines_of("fish", new_directory()) as run:

        @settings(max_examples=15, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(st.integers(1, 255) | st.sampled_from(b"'\"\\$`\n !~\x01\x7f\xc3\xa9"), max_size=12).map(bytes))
        def check(value: bytes) -> None:
            quoted = b"''" + b"".join(b"\\X%02x" % byte for byte in value)
            line = b"set v %b; set w %b x; set -gx e %b; function f -V v; printf %s $v; end"
            assert run(line.replace(b"%b", quoted)).err == b""
            shown = run("printf '%s|' $v $w; f; env -0").out
            assert shown.startswith(b"|".join([value, value, b"x", value]))
            assert b"e=" + value + b"\0" in shown

        check()


def test_aliases_and_functions_of_startup_files_are_there_and_their_noise_is_not(tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("echo noise; echo more >&2\nalias ll='echo LL'\nhi() { echo hi; }\nexport RC=1\n")
    with lines_of("bash", tmp_path, interactive=True) as run:
        assert run.base == 0
        assert run.first.environment is not None
        assert run.first.environment[b"RC"] == b"1"
        ended = run("ll; hi; cd -")
        assert (ended.out, b"noise" in ended.err) == (b"LL\nhi\n", False)


@pytest.mark.parametrize("startup", ["exec sh -c :\n", "exit 3\n", "kill -9 $$\n"])
def test_startup_files_that_end_the_shell_are_done_without(tmp_path: Path, startup: str) -> None:
    (tmp_path / ".bashrc").write_text(startup)
    with lines_of("bash", tmp_path, interactive=True) as run:
        assert run.base == 1
        assert run("echo here").out == b"here\n"


def test_the_state_can_be_read_by_its_owner_alone_and_is_removed_at_the_end(run: ShellLines) -> None:
    run("SECRET=1")
    assert run.path.stat().st_mode & 0o777 == 0o700
    public = {file.name for file in run.path.iterdir() if file.stat().st_mode & 0o077}
    assert public <= {"umask.2", "fresh.2"}, "these name variables, without their values"
    run.__exit__()
    assert not run.path.exists()
