"""Whatever happens to `farhandd` ends as one sentence and the right exit code."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from farhand_server.cli import main
from tests.server.cli.conftest import CommandLine
from tests.support import warm
from tests.support.service import environment
from tests.support.warm import FARHANDD


@pytest.mark.parametrize("command", ["check", "serve"])
def test_an_error_in_the_configuration_is_a_sentence_without_traceback(
    farhandd: CommandLine, tmp_path: Path, command: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[runs]\nmax_runz = 7\n")
    result = farhandd(command, "--config", file)
    assert (result.code, result.out) == (1, "")
    assert result.err == f"farhandd: {file}:2: unknown key [runs] max_runz; did you mean 'max_runs'?\n"


def test_an_invalid_address_is_an_error(farhandd: CommandLine) -> None:
    result = farhandd("serve", "--listen", "nowhere")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith('farhandd: --listen: must be "HOST:PORT"')


def test_an_interrupt_has_exit_code_130(farhandd: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("farhand_server.cli.admin.check", interrupt)
    result = farhandd("check")
    assert (result.code, result.out, result.err) == (130, "", "")


def test_a_reader_that_has_closed_the_pipe_causes_no_traceback(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [*FARHANDD, "check"],
            env=environment(tmp_path), stdout=closed, stderr=subprocess.PIPE, check=False, timeout=100,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (141, b"")


ALWAYS = (("check",), ("--version",), ("--help",), ("explain", "--help"), ("example", "config"), ("host-key",))
"""Commands that print a result."""


def ended(tmp_path: Path, *line: str, **options: Any) -> tuple[int, bytes]:
    """Return the exit code of `farhandd` and what it has written on stderr."""
    done = warm.run(
        [*FARHANDD, *line], env=environment(tmp_path), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **options
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("line", ALWAYS, ids=" ".join)
def test_a_full_disk_at_stdout_is_one_sentence_and_255(tmp_path: Path, line: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        found = ended(tmp_path, *line, stdout=full)
    assert found == (255, b"farhandd: cannot write to stdout: No space left on device\n")


def test_a_closed_stdout_is_reported_as_a_full_disk_is(tmp_path: Path) -> None:
    found = ended(tmp_path, "check", preexec_fn=partial(os.close, 1))
    assert found == (255, b"farhandd: cannot write to stdout: it is closed\n")


@pytest.mark.parametrize("line", [("explain", "--user", "root", "--", "ls"), ("explain", "--user", "0")])
def test_a_decision_that_cannot_be_printed_is_not_denied(tmp_path: Path, line: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        assert ended(tmp_path, *line, stdout=full)[0] not in (0, 1)


def test_a_full_disk_at_stderr_does_not_change_the_exit_code(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        for line in (("sing",), ("serve", "--sing")):
            done = warm.run([*FARHANDD, *line], env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=full)
            assert done.returncode == 2


@pytest.mark.needs("root", "setpriv")
def test_a_user_without_home_and_account_is_told_what_is_missing(tmp_path: Path) -> None:
    nobody = ("setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups")
    reading = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search", "env", "-i")
    for command in ("serve", "check", "host-key", "upgrade", "edge"):
        done = subprocess.run(
            [*nobody, *reading, *FARHANDD, command], capture_output=True, check=False, timeout=100, cwd=tmp_path
        )
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.startswith(b"farhandd: no home directory is known: HOME is not set, and the user id 54321 ")
    example = subprocess.run(
        [*nobody, *reading, *FARHANDD, "example", "policy"], capture_output=True, check=False, timeout=100
    )
    assert (example.returncode, example.stderr) == (0, b"")


@pytest.mark.parametrize("name", ["a..b", ".example.org", "a" * 64])
def test_a_name_that_cannot_be_encoded_is_named(farhandd: CommandLine, name: str) -> None:
    result = farhandd("serve", "--listen", f"{name}:1")
    assert (result.code, result.out) == (1, "")
    assert result.err == f"farhandd: cannot listen on {name}:1: '{name}' cannot be a host name\n"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (KeyError("x"), "unexpected error KeyError: 'x'; this is a fault in Farhand, FARHAND_DEBUG=1 shows where"),
        (MemoryError(), "there is not enough memory (ulimit -v)"),
        (PermissionError(errno.EACCES, "Permission denied", "/x\udcff"), "/x\\xff: Permission denied"),
    ],
    ids=repr,
)
def test_an_unforeseen_error_is_one_sentence_and_255(
    farhandd: CommandLine, monkeypatch: pytest.MonkeyPatch, error: BaseException, sentence: str
) -> None:
    def fail(options: object) -> int:
        raise error

    monkeypatch.setattr("farhand_server.cli.admin.check", fail)
    result = farhandd("check")
    assert (result.code, result.out, result.err) == (255, "", f"farhandd: {sentence}\n")


def test_a_report_that_fails_itself_is_still_a_line_and_255(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> int:
        raise MemoryError

    monkeypatch.setattr("farhand_server.cli.report.report_failure", fail)
    monkeypatch.setattr("farhand_server.cli.commands.run_command", fail)
    assert main([]) == 255
    assert capfd.readouterr().err == "farhandd: MemoryError: \n"


def test_text_that_a_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    line = [*FARHANDD, "explain", "--user", str(os.getuid()), "--local", "--cwd", os.fsdecode("/日".encode() + b"\xff")]
    env = environment(tmp_path) | {"PYTHONIOENCODING": "ascii"}
    done = warm.run([*line, "--", "ls"], env=env, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b'directory: "/\\u65e5\\xff"' in done.stdout
    done = warm.run([*FARHANDD, os.fsdecode("日".encode() + b"\xff\x1b")], env=env, capture_output=True)
    assert done.returncode == 2
    assert b"'\\u65e5\\xff\\x1b'" in done.stderr


@pytest.mark.parametrize("words", [["stdio"], ["stdio", "--socket", "/s"], ["stdio", "--socket=/s"]])
def test_stdio_is_served_before_the_other_commands_are_loaded(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[str | None] = []

    def join(path: str | None) -> int:
        joined.append(path)
        return 7

    monkeypatch.setattr("farhand_server.cli.stdio.join", join)
    monkeypatch.setattr(sys, "argv", ["farhandd", *words])
    assert main() == 7
    assert joined == [None if words == ["stdio"] else "/s"]
