"""Help and errors of argparse, on streams that do not take them as they are."""

from __future__ import annotations

import argparse
import errno
import io

import pytest

from farhand_client.cli.parser import CommandParser, known_options, suggestion
from farhand_client.ui import printing
from farhand_client.ui.printing import LocalError


def test_what_an_error_quotes_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    parser = CommandParser(prog="x", usage="x")
    parser.add_argument("--n", choices=("a",))
    for wrong, shown in (
        ([" "], "unrecognized arguments: "),
        (["--\udcff\x1b[2J"], "--\\xff\\x1b[2J"),
        (["--n", "\udcff"], "'\\xff'"),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args(wrong)
        assert shown in capsys.readouterr().err


def test_help_that_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sys.stdout", Full())
    monkeypatch.setattr(printing, "discard_buffer", lambda fd: None)
    with pytest.raises(LocalError, match="cannot write to stdout: No space left on device"):
        CommandParser(prog="x").parse_args(["--help"])


def test_a_similar_option_is_suggested_for_one_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    parser = CommandParser(prog="x", usage="x", allow_abbrev=False)
    parser.add_argument("-t", "--timeout")
    parser.add_mutually_exclusive_group().add_argument("--connect")
    for wrong, end in (
        ("--tiemout", "--tiemout; did you mean --timeout?\n"),
        ("--CONNECT=5", "--CONNECT=5; did you mean --connect?\n"),
        ("--zzz", "--zzz\n"),
        ("--keep", "--keep\n"),  # --help has little more than the hyphens in common with it
        ("-v", "-v\n"),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args([wrong])
        assert capsys.readouterr().err.endswith(f"error: unrecognized arguments: {end}")


@pytest.mark.parametrize(
    ("wrong", "end"),
    [
        ("-p", "-p; the port is part of HOST: name:port"),
        ("-p22", "-p22; the port is part of HOST: name:port"),
        ("-l", "-l; the user is part of HOST: user@name"),
        (
            "-oPort=22",
            "-oPort=22; options of ssh are for farhand rsh; hosts are described in config.toml and ~/.ssh/config",
        ),
        ("-pager", "-pager"),
        ("-L", "-L; connections are forwarded by farhand forward, run and shell"),
    ],
)
def test_an_option_of_ssh_is_answered_with_what_does_its_job(
    wrong: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = CommandParser(prog="x", usage="x [HOST]", allow_abbrev=False)
    with pytest.raises(SystemExit):
        parser.parse_args([wrong])
    assert capsys.readouterr().err.endswith(f"error: unrecognized arguments: {end}\n")


@pytest.mark.parametrize(("wrong", "where", "value"), [("-aq", "-a/--all", "q"), ("--all=1", "-a/--all", "1")])
def test_a_value_for_an_option_without_one_is_named(
    wrong: str, where: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = CommandParser(prog="x", usage="x", allow_abbrev=False)
    parser.add_argument("-a", "--all", action="store_true")
    with pytest.raises(SystemExit):
        parser.parse_args([wrong])
    assert f"error: {where} takes no value, but {value!r} follows it; " in capsys.readouterr().err


def test_help_explains_the_times_and_sizes_that_occur_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    parser = CommandParser(prog="x", epilog="The end.")
    assert parser.format_help().endswith("The end.\n")
    parser.add_argument("--timeout", metavar="TIME")
    parser.add_argument("--buffer", metavar="block|spool=SIZE")
    _, _, forms = parser.format_help().partition("The end.\n\n")
    assert forms.startswith("TIME is seconds (90, 0.5) or a form\nlike 30s")
    assert "\nSIZE is bytes (65536)" in forms
    assert max(map(len, forms.splitlines())) <= 40


def test_the_options_that_help_shows_are_known() -> None:
    parser = CommandParser(prog="x", description="Not an --option.")
    parser.add_argument("-s", "--size", metavar="CxR")
    parser.add_argument("--secret", help=argparse.SUPPRESS)
    assert known_options(parser) == ["-h", "--help", "-s", "--size"]


def test_only_a_similar_word_is_suggested() -> None:
    assert suggestion("pign", ["ping", "ps"]) == "; did you mean ping?"
    assert suggestion("PS", ["ping", "ps"]) == "; did you mean ps?"
    assert suggestion("zzz", ["ping", "ps"]) == ""


def test_a_similar_value_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    parser = CommandParser(prog="x", usage="x")
    parser.add_argument("--on-disconnect", choices=("kill", "keep"))
    with pytest.raises(SystemExit):
        parser.parse_args(["--on-disconnect", "kepp"])
    assert capsys.readouterr().err.endswith("; did you mean keep?\n")
