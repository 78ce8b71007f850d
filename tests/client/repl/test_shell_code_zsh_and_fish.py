"""What a line leaves in zsh and fish is there for the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.shell_lines import lines_of

ZSH = [
    ("cd /usr; PWD=/etc", "pwd", "/usr\n"),
    ("cd /usr; PWD=", "pwd", "/usr\n"),
    ("cd /usr; unset PWD", "pwd", "/usr\n"),
    ('mkdir -p "d\'  \n"; cd "d\'  \n"', 'printf "%s|" "${PWD##*/}"', "d'  \n|"),
    ("mkdir -p nd && cd nd", "echo ${PWD##*/} ${OLDPWD##*/}", "nd t\n"),
    ("mkdir nd; ln -s nd link; cd link", 'echo "${PWD##*/}"; basename "$(pwd -P)"', "link\nnd\n"),
    ("mkdir x; pushd x >/dev/null; pushd / >/dev/null", "popd >/dev/null; echo ${PWD##*/} $#dirstack", "x 1\n"),
    (
        "A=5 && export A; B=6; unset LANG; path+=(/opt/x)",
        "echo $A $B ${LANG-none} $PATH; sh -c 'echo $A-$B'",
        "5 6 none /usr/bin:/bin:/opt/x\n5-\n",
    ),
    (
        "a=(1 '2 3'); typeset -A m; m=(k 'v\nw'); typeset -i n=3; readonly r=1",
        "echo ${a[2]} ${m[k]}; n+=4; echo $n $r",
        "2 3 v\nw\n7 1\n",
    ),
    (
        "f() { echo f $1; }; alias greet='echo hello'; alias -g G='| grep'",
        "f x; greet you; echo abc G b",
        "f x\nhello you\nabc\n",
    ),
    (
        "setopt nullglob shwordsplit; umask 027; ulimit -n 77",
        "echo none*; x='a b'; printf '%s.' $x; umask; ulimit -n",
        "\na.b.027\n77\n",
    ),
    (
        "hash -d here=/usr; trap 'echo usr1' USR1; set -- 'a b' ''",
        "echo ~here $#; kill -USR1 $$; echo $1",
        "/usr 2\nusr1\na b\n",
    ),
    ("(exit 37)", "echo $?", "37\n"),
    ("source ./lib", "hi; echo $FROM", "hi from lib\nlib\n"),
    ("X=1; sh -c 'kill -INT $$ $PPID'; echo not", "echo ${X-none}", "1\n"),
    ("X=1; kill -KILL $$", "echo ${X-none}", "none\n"),
    ("X=1; echo ${nothing?gone}", "echo ${X-none}", "1\n"),
    ("mkdir nd; (exit 3)", "echo $? $_; true; echo $_", "3 /dev/null/last-word-not-known\ntrue\n"),
    ("false | true", "echo $pipestatus", "1 0\n"),
    ("setopt ksharrays; a=(1 2)", "echo ${a[1]}", "2\n"),
    ("alias -g d='| grep'; A=1", "echo $A d 1", "1\n"),
    ("unset PWD", "echo ${PWD##*/}", "t\n"),
    ("mkdir a b; ln -s a cur; cd cur; ln -sfn b ../cur", "basename $PWD; rmdir ../b && echo free", "a\nfree\n"),
]


@pytest.mark.needs("zsh")
@pytest.mark.parametrize(("first", "second", "printed"), ZSH)
def test_the_next_line_of_zsh_finds_what_a_line_has_left(tmp_path: Path, first: str, second: str, printed: str) -> None:
    (tmp_path / "lib").write_text("hi() { echo hi from lib; }\nexport FROM=lib\n")
    with lines_of("zsh", tmp_path) as run:
        run(first)
        assert run(second).out.decode().replace(tmp_path.name, "t") == printed


@pytest.mark.needs("zsh")
def test_zsh_reads_its_startup_files_once_and_says_when_it_is_left(tmp_path: Path) -> None:
    (tmp_path / ".zshrc").write_text("echo noise; alias ll='echo LL'\nhi() { echo hi; }\nsetopt extendedglob\n")
    with lines_of("zsh", tmp_path, interactive=True) as run:
        assert run.base == 0
        assert run("ll; hi; [[ -o extendedglob ]] && echo on").out == b"LL\nhi\non\n"
        assert run("set -x").err == b""
        assert run("echo a").err == b"+(eval):1> echo a\n"
        run("set +x; trap 'echo bye' EXIT")
        assert run("no-such").err == b"(eval):1: command not found: no-such\n"
        left = run("false || exit 3")
        assert left.report is not None
        assert (left.out, left.report.how, left.code) == (b"bye\n", "exit", 3)


FISH = [
    ("mkdir a b; ln -s a cur; cd cur; ln -sfn b ../cur", "basename $PWD; rmdir ../b; and echo free", "a\nfree\n"),
    ("mkdir -p nd; cd nd", "echo (basename $PWD); cd -; echo (basename $PWD)", "nd\nt\n"),
    ("mkdir nd; ln -s nd link; cd link", "basename $PWD; basename (pwd -P)", "link\nnd\n"),
    ("mkdir x; pushd x; pushd /", "popd; basename $PWD; count $dirstack", "x\n1\n"),
    ("set A 5; set -gx B 'b b'; set -e LANG", "echo $A $B; sh -c 'echo $A-$B-${LANG-none}'", "5 b b\n-b b-none\n"),
    (
        "set l a 'b c' ''; set -g --path P /a; set -g n",
        'count $l; set -a P /b; echo "$P $l"; set -q n; count $n',
        "3\n/a:/b a b c \n0\n",
    ),
    ("set PATH $PATH /opt/x", "echo \"$PATH\"; sh -c 'echo $PATH'", "/usr/bin:/bin:/opt/x\n" * 2),
    ("function f --argument-names a; echo f $a; end; alias greet 'echo hello'", "f x; greet you", "f x\nhello you\n"),
    (
        "function kill; echo own; end; f() 2>/dev/null",
        "kill; functions -e kill; kill -l | count >/dev/null; echo $status",
        "own\n0\n",
    ),
    ('function f; echo "a\nb" # why\nend', "f", "a\nb\n"),
    ("umask 027; ulimit -n 77", "umask; ulimit -n", "0027\n77\n"),
    ("trap 'echo usr1' USR1", "kill -USR1 $fish_pid; true", "usr1\n"),
    ("set -U u 7; function w --on-variable A; echo $A; end", "echo $u; set A 1", "7\n1\n"),
    ("set A 1; function w --on-variable A; echo never; end", "functions -q w; echo $status", "0\n"),
    ("abbr -a gs 'git status'", "abbr", "abbr -a -- gs 'git status'\n"),
    ("sh -c 'exit 37'", "echo $status", "37\n"),
    ("no-such-program", "echo $status", "127\n"),
    ("echo (", "echo $status", "123\n"),
    ("source ./lib", "hi; echo $FROM", "hi from lib\nlib\n"),
    ("set X 1; sh -c 'kill -INT $PPID $$'; echo not", "echo $X $status", "1 130\n"),
    ("set X 1; kill -KILL $fish_pid", "set -q X; or echo none", "none\n"),
    ("set X 1; exec true", "set -q X; or echo none", "none\n"),
    ("set argv x", "set -q XDG_CONFIG_HOME; basename (dirname $__fish_config_dir); count $argv", ".config\n0\n"),
]


@pytest.mark.needs("fish")
@pytest.mark.parametrize(("first", "second", "printed"), FISH)
def test_the_next_line_of_fish_finds_what_a_line_has_left(
    tmp_path: Path, first: str, second: str, printed: str
) -> None:
    (tmp_path / "lib").write_text("function hi; echo hi from lib; end\nset -gx FROM lib\n")
    with lines_of("fish", tmp_path) as run:
        run(first)
        assert run(second).out.decode().replace(tmp_path.name, "t") == printed


@pytest.mark.needs("fish")
def test_fish_reads_its_startup_files_once_and_says_when_it_is_left(tmp_path: Path) -> None:
    (tmp_path / ".config/fish/functions").mkdir(parents=True)
    (tmp_path / ".config/fish/functions/own.fish").write_text("function own; echo own; end\n")
    (tmp_path / ".config/fish/config.fish").write_text(
        "echo noise; set -g n $n x; status is-interactive; and alias ll 'echo LL'\n"
    )
    with lines_of("fish", tmp_path, interactive=True) as run:
        assert run.base == 0
        assert run("ll; count $n; own").out == b"LL\n1\nown\n"
        (tmp_path / ".config/fish/functions/own.fish").write_text("function own; echo new; end\n")
        assert run("own; ll").out == b"new\nLL\n"
        ended = run("trap 'echo bye' EXIT")
        assert ended.report is not None
        assert (ended.out, ended.report.how, ended.report.exit_trap) == (b"", "end", True)
        assert run("no-such").err.startswith(b"fish: Unknown command: no-such\n")
        left = run("function die; exit 4; end; true; and die; echo never")
        assert left.report is not None
        assert (left.out, left.report.how, left.code) == (b"bye\n", "exit", 4)


@pytest.mark.needs("fish")
@pytest.mark.parametrize("startup", ["exec sh -c :\n", "kill -9 $fish_pid\n"])
def test_startup_files_that_end_fish_are_done_without(tmp_path: Path, startup: str) -> None:
    (tmp_path / ".config/fish").mkdir(parents=True)
    (tmp_path / ".config/fish/config.fish").write_text(startup)
    with lines_of("fish", tmp_path, interactive=True) as run:
        assert run.base == 1
        assert run("set -U u 1; echo here").out == b"here\n"
        assert run("echo $u; type -q umask; and echo found").out == b"1\nfound\n"
