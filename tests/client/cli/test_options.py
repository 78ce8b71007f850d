"""Where the options of `farhand run` end: at HOST, and not one word later."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from farhand_client.cli.options import split_arguments
from farhand_client.cli.run import VALUED_OPTIONS, run_command
from farhand_client.cli.values import duration, limits, positive_seconds, size
from farhand_client.ui.text import format_span


@pytest.mark.parametrize(
    ("line", "options", "rest"),
    [
        (["web", "ls"], [], ["web", "ls"]),
        (["web", "--", "ls", "-l"], [], ["web", "ls", "-l"]),
        (["web", "-i", "--cwd", "x"], [], ["web", "-i", "--cwd", "x"]),
        (["web", "--", "--", "x"], [], ["web", "--", "x"]),
        (["web", "ls", "--", "x"], [], ["web", "ls", "--", "x"]),
        (["web"], [], ["web"]),
        (["-i", "web", "ls"], ["-i"], ["web", "ls"]),
        (["--cwd", "dir", "web", "ls"], ["--cwd", "dir"], ["web", "ls"]),
        (["--cwd=dir", "web", "ls"], ["--cwd=dir"], ["web", "ls"]),
        (["-e", "A=b", "-eC=d", "web", "ls"], ["-e", "A=b", "-eC=d"], ["web", "ls"]),
        (["-ie", "A=b", "web", "ls"], ["-ie", "A=b"], ["web", "ls"]),
        (["-I", "key", "-iI", "key2", "web"], ["-I", "key", "-iI", "key2"], ["web"]),
        (["--status-json", "-", "web", "ls"], ["--status-json", "-"], ["web", "ls"]),
        (["--timeout", "-1", "web", "ls"], ["--timeout", "-1"], ["web", "ls"]),
        (["-i", "--", "web", "--", "ls"], ["-i"], ["web", "ls"]),
        (["--", "web", "-x"], [], ["web", "-x"]),
        (["-i"], ["-i"], []),
        (["-i", "--cwd"], ["-i", "--cwd"], []),
        ([], [], []),
        (["web", "\udcff", "", "*"], [], ["web", "\udcff", "", "*"]),
    ],
)
def test_everything_after_host_belongs_to_the_command(line: list[str], options: list[str], rest: list[str]) -> None:
    assert split_arguments(line, VALUED_OPTIONS) == (options, rest)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ([], "HOST is missing"),
        (["-i"], "HOST is missing"),
        (["web"], "no command after HOST"),
        (["web", "--"], "no command after HOST"),
        (["--shell", "web", "echo", "$HOME"], "--shell takes the script as one argument"),
        (["--timeout", "soon", "web", "ls"], "--timeout: 'soon' is not a positive number of seconds"),
        (["--timeout", "0", "web", "ls"], "not a positive number of seconds"),
        (["--timeout", "nan", "web", "ls"], "not a positive number of seconds"),
        (["--kill-after", "-1", "web", "ls"], "--kill-after: '-1' is not a number of seconds (0 or more)"),
        (["--reconnect", "x", "web", "ls"], "--reconnect: 'x' is not a number of seconds (0 or more)"),
        (["--grace", "inf", "web", "ls"], "--grace: 'inf' is not a number of seconds (0 or more)"),
        (["-e", "=x", "web", "ls"], "has no name before the equals sign"),
        (["--tim", "3", "web", "ls"], "unrecognized arguments"),
        (["--nope", "web", "ls"], "unrecognized arguments: --nope"),
    ],
)
def test_wrong_usage_is_a_sentence_and_2(line: list[str], sentence: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command(line)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert sentence in err
    assert out == ""


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("0.5", 0.5), ("1e3", 1000.0)])
def test_seconds(text: str, value: float) -> None:
    assert positive_seconds(text) == value
    with pytest.raises(argparse.ArgumentTypeError):
        positive_seconds("-" + text)


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("65536", 65536), ("64k", 65536), ("64K", 65536), ("2M", 2 << 20), ("1G", 1 << 30)]
)
def test_sizes(text: str, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "K", "-1", "1.5M", "1 M", "1X", "1MB", "9" * 30, "²"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        size(text)


def test_limits_have_the_names_of_the_api() -> None:
    assert limits("memory=1K,cpu=0.5,processes=2,files=3,file-size=0,output=1M") == {
        "memory": 1024,
        "cpu": 0.5,
        "processes": 2,
        "files": 3,
        "file_size": 0,
        "output": 1 << 20,
    }
    for wrong in ("ram=1", "memory", "memory=0", "cpu=0", "cpu=nan", "processes=0", "files=x", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            limits(wrong)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["--id", "7", "web", "ls"], "'7' is not a run id"),
        (["--detach", "-i", "web", "cat"], "--detach gives the command no stdin; use -i --on-disconnect keep"),
        (["--detach", "--on-disconnect", "kill", "web", "ls"], "--detach keeps the run"),
        (["--buffer", "spool", "web", "ls"], "neither block nor spool=SIZE"),
        (["--buffer", "spool=1", "web", "ls"], "neither block nor spool=SIZE (at least 64K)"),
        (["--buffer", "drop", "web", "ls"], "neither block nor spool"),
        (["--limit", "ram=1", "web", "ls"], "'ram=1' is not a limit; known limits: memory=N"),
    ],
)
def test_wrong_usage_of_runs_that_stay_is_a_sentence_and_2(line: list[str], sentence: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command(line)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("30m", 1800), ("8h", 28800), ("2d", 172800)]
)
def test_times_have_units(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1", "1.5h", "8H", "1w", "٣h", "4000d", "8 h"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a time|more than ten years"):
        duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (120, "120 s"), (600, "10 min"), (7200.0, "120 min"), (86400, "24 h"), (864000, "10 days")],
)
def test_times_are_said_in_small_numbers(seconds: float, text: str) -> None:
    assert format_span(seconds) == text
