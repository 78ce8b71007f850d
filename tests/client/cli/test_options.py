"""The options of `farhand run` end at HOST: everything after it belongs to the command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from farhand_client.cli.options import (
    DEFAULT_RECONNECT,
    add_host,
    add_predict,
    add_run_id,
    add_run_options,
    command_parser,
    predict_mode,
    split_arguments,
)
from farhand_client.cli.run import VALUED_OPTIONS
from farhand_client.connection.reconnecting import RECONNECT_TIMEOUT
from tests.support.command import farhand


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


def test_the_default_time_to_reconnect_is_that_of_the_api() -> None:
    assert DEFAULT_RECONNECT == RECONNECT_TIMEOUT


def test_help_is_wrapped_between_words_at_any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = command_parser("test", "HOST [--] ARG…", "Tests that a ready-made file-size is not broken at its hyphen.")
    parser.add_argument("--limit", metavar="NAME=N,…", help="memory=512M, file-size=1G, one-day-at-a-time (repeatable)")
    for columns in range(20, 201):
        monkeypatch.setenv("COLUMNS", str(columns))
        text = parser.format_help()
        for word in ("ready-made", "file-size", "file-size=1G,", "one-day-at-a-time", "[OPTION…]"):
            assert word in text.split()
        for line in text.split("\n"):
            assert len(line) < columns or len(line.split()) == 1 or line.startswith("  --limit")


async def test_the_help_of_run_does_not_break_a_metavar() -> None:
    done = await farhand("run", "--help", env={**os.environ, "COLUMNS": "80"})
    assert b" file-size=1G," in done.stdout
    assert max(map(len, done.stdout.decode().split("\n"))) < 80


def test_commands_about_runs_share_their_options() -> None:
    parser = command_parser("test", "HOST ID…", "Tests.")
    add_run_options(parser, attended=True)
    add_run_id(parser, several=True)
    options = parser.parse_args(["--json", "-I", "a", "-I", "b", "--connect-timeout", "3", "web", "0189", "0190"])
    assert (options.json, options.reconnect, options.host, options.ids) == (True, None, "web", ["0189", "0190"])
    assert ([str(path) for path in options.identity], options.accept_new, options.connect_timeout) == (
        ["a", "b"],
        False,
        3.0,
    )
    plain = command_parser("test", "HOST", "Tests.")
    add_run_options(plain)
    assert plain.parse_args(["web"]).reconnect == DEFAULT_RECONNECT


def test_help_keeps_paragraphs_and_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = command_parser("test", "HOST", "Tests.", "First " * 20 + "\n\nSecond\nparagraph.\n").format_help()
    assert text.endswith("First\n\nSecond paragraph.\n")
    assert max(map(len, text.splitlines())) <= 40


def test_help_is_shown_on_the_narrowest_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1")
    assert "Tests of a\nnarrow one." in command_parser("test", "HOST", "Tests of a narrow one.").format_help()


def test_help_keeps_the_lines_of_examples() -> None:
    text = command_parser("test", "HOST", "Tests.\n\n  farhand test a\n  farhand test b\n").format_help()
    assert "Tests.\n\n  farhand test a\n  farhand test b\n" in text


def test_the_host_can_be_left_out() -> None:
    parser = command_parser("test", "[HOST]", "Tests.")
    add_host(parser)
    assert parser.parse_args([]).host is None


@pytest.mark.parametrize(
    ("config", "given", "mode"),
    [(None, [], "auto"), ("never", [], "never"), ("never", ["--predict", "always"], "always")],
)
def test_what_is_typed_decides_on_predicted_echo_before_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str | None, given: list[str], mode: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    if config is not None:
        (tmp_path / "farhand").mkdir()
        (tmp_path / "farhand" / "config.toml").write_text(f'predict = "{config}"')
    parser = command_parser("shell", "", "")
    add_predict(parser)
    assert predict_mode(parser.parse_args(given)) == mode
