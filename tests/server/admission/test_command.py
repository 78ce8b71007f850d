"""Commands in listings can be read, pasted into a shell, and shown on any terminal."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import messages as m
from farhand_server.admission.command import command_text, shell_argv
from tests.support.client import new_id
from tests.support.pairs import run


def shown(*argv: bytes) -> str:
    return command_text(m.RunRequest(id=new_id(), argv=argv), shell=b"/bin/sh")


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ((b"ls", b"-l"), "ls -l"),
        ((b"echo", b"a b", b"", b"it's"), """echo 'a b' '' 'it'"'"'s'"""),
        ((b"grep", b"caf\xe9", b"menu.txt"), r"grep $'caf\351' menu.txt"),
        ((b"grep", "café".encode()), "grep 'café'"),
        ((b"printf", b"a\n\tb\x1b[2J'\\"), r"printf $'a\n\tb\033[2J\'\\'"),
        (("\u202e".encode(),), r"$'\342\200\256'"),
    ],
)
def test_arguments_are_quoted_for_a_shell_on_one_line(argv: tuple[bytes, ...], text: str) -> None:
    assert shown(*argv) == text


def test_shell_text_is_shown_as_it_was_written() -> None:
    request = m.RunRequest(id=new_id(), shell=b"cd /tmp &&\nls \xff")
    assert command_text(request, shell=b"/bin/sh") == "cd /tmp &&\nls \\xff"


@pytest.mark.parametrize(
    ("shell", "text"), [(b"/bin/bash", "-bash"), (b"/opt/my shells/caf\xe9", r"$'-caf\351'"), (b"sh", "-sh")]
)
def test_a_login_shell_has_the_name_that_ps_shows(shell: bytes, text: str) -> None:
    assert command_text(m.RunRequest(id=new_id(), login=True), shell=shell) == text


@pytest.mark.parametrize(
    ("access", "paths", "text"),
    [
        ("write", (b"/srv/data",), "put /srv/data"),
        ("read", (b"/var/log/*.gz", b"~/x"), "get /var/log/*.gz ~/x"),
        ("read", (b"*", b"a b*", b"caf\xe9", b"\n"), r"get * 'a b*' $'caf\351' $'\n'"),
        ("read", (b"x" * 4096,) * 1024, "get " + "x" * (m.MAX_COMMAND_TEXT - 4)),
    ],
)
def test_a_transfer_is_shown_as_what_it_does_with_which_paths(access: str, paths: tuple[bytes, ...], text: str) -> None:
    request = run(argv=None, transfer={"access": access, "paths": paths})
    assert command_text(request, shell=b"/bin/sh") == text


@pytest.mark.parametrize(("purpose", "text"), [("-L 8080:db:5432", "forward -L 8080:db:5432"), ("", "forward")])
def test_a_tunnel_is_shown_with_its_purpose(purpose: str, text: str) -> None:
    assert command_text(run(argv=None, forward={"purpose": purpose}), shell=b"/bin/sh") == text


@pytest.mark.needs("bash")
@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda word: b"\0" not in word), min_size=1, max_size=8))
def test_a_shell_reads_the_same_arguments_again(argv: list[bytes]) -> None:
    script = f"printf '%s\\0' {shown(*argv)}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, env={"LC_ALL": "C.UTF-8"}, check=True)
    assert done.stdout.split(b"\0")[:-1] == argv


@pytest.mark.parametrize(
    "argv", [(b"x" * 100_000,), (b"\xff" * 100_000,), (b"",) * 5000, ("é" * 2000).encode().split()]
)
def test_long_commands_are_cut(argv: tuple[bytes, ...]) -> None:
    text = shown(*argv)
    assert len(text) == m.MAX_COMMAND_TEXT
    text.encode()


@pytest.mark.parametrize("script", [b"-x", b"+O", b"--help", b"-"])
@pytest.mark.parametrize(
    "shell",
    b"/bin/sh /bin/bash /usr/bin/rbash bash-5.2 dash ash zsh /opt/zsh-5.9 ksh ksh93 rksh93 mksh lksh yash".split(),
)
def test_a_posix_shell_is_told_that_a_script_is_not_an_option(shell: bytes, script: bytes) -> None:
    assert shell_argv(shell, script) == (shell, b"-c", b"--", script)
    assert shell_argv(shell, b"echo " + script) == (shell, b"-c", b"echo " + script)


@pytest.mark.parametrize("shell", [b"/usr/bin/fish", b"/bin/csh", b"tcsh", b"rc", b"/usr/bin/git-shell", b"pwsh"])
def test_any_other_shell_takes_the_argument_after_c_as_it_is(shell: bytes) -> None:
    assert shell_argv(shell, b"-x") == (shell, b"-c", b"-x")


SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "yash", "fish", "csh", "tcsh")


@pytest.mark.parametrize("script", ["-x", "+O"])
@pytest.mark.parametrize("shell", [path for name in SHELLS if (path := shutil.which(name))])
def test_the_shells_of_this_machine_run_such_a_script(shell: str, script: str) -> None:
    done = subprocess.run(shell_argv(shell.encode(), script.encode()), capture_output=True, timeout=10)
    # None of them has such a command.
    assert done.returncode not in (0, 2)
    assert script.encode() in done.stderr
    assert b"usage" not in done.stderr.lower()
