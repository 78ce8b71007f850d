"""`farhandd` as a program: its options, its exit codes, and its end if the reader of its output has gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from farhand_server import __version__
from tests.server.cli.conftest import CommandLine
from tests.support.service import environment

FARHANDD = (sys.executable, "-m", "farhand_server")


@pytest.mark.parametrize("command", ["check", "serve"])
def test_an_error_in_the_configuration_is_a_sentence_without_traceback(
    farhandd: CommandLine, tmp_path: Path, command: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[runs]\nmax_runz = 7\n")
    result = farhandd(command, "--config", file)
    assert (result.code, result.out) == (1, "")
    assert result.err == f"farhandd: {file}: unknown key [runs] max_runz; did you mean 'max_runs'?\n"


@pytest.mark.parametrize("arguments", [(), ("sing",), ("serve", "--sing"), ("authorize",)])
def test_wrong_usage_has_exit_code_2(farhandd: CommandLine, arguments: tuple[str, ...]) -> None:
    result = farhandd(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("usage: farhandd ")


def test_an_invalid_address_is_an_error(farhandd: CommandLine) -> None:
    result = farhandd("serve", "--listen", "nowhere")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith('farhandd: --listen: must be "HOST:PORT"')


def test_its_version_is_that_of_the_package(farhandd: CommandLine) -> None:
    assert farhandd("--version").out == f"farhandd {__version__}\n"


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
            env=environment(tmp_path), stdout=closed, stderr=subprocess.PIPE, check=False, timeout=30,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_closed_stdout_is_not_a_failure(tmp_path: Path) -> None:
    line = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    command = [sys.executable, "-c", line, *FARHANDD[1:], "check"]
    done = subprocess.run(command, env=environment(tmp_path), stderr=subprocess.PIPE, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_is_wrapped_between_words(farhandd: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in (40, 60, 80, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        result = farhandd("explain", "--help")
        assert result.code == 0
        words = result.out.split()
        assert {"SHA256:…;", "login"} <= set(words)
        assert not any(word.endswith("-") for word in words if word.strip("-"))
