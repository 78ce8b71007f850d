"""Options that several commands share, and where the options end: what follows HOST belongs to the remote command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from farhand_client.config import PREDICT_MODES, PredictMode, config_directory, load_predict
from farhand_client.ui.printing import help_columns
from farhand_client.ui.text import wrap_words

from .parser import CommandParser
from .values import duration, escape_character, hosts_on_the_way, positive_duration

CONNECTION_OPTIONS: Final = frozenset({"-I", "--identity", "--connect-timeout", "--via"})
"""The options of `add_connection_options` that take a value."""

DEFAULT_RECONNECT: Final = 120.0
"""Seconds; the same as in `farhand_client.connection.reconnecting`, which the parser need not import."""


def command_parser(
    name: str,
    usage: str,
    description: str,
    epilog: str | None = None,
    *,
    program: str = "farhand ",
    kind: type[CommandParser] = CommandParser,
) -> CommandParser:
    """Return a parser for the command `name`, which is typed directly after `program`.

    `usage` is what comes after the options. In `description` and `epilog`, an indented paragraph is an example.
    """
    return kind(
        prog=f"{program}{name}",
        usage=f"{program}{name} [OPTION…] {usage}",
        description=description,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=_ParagraphFormatter,
    )


class _ParagraphFormatter(argparse.RawDescriptionHelpFormatter):
    """Wraps at blanks only, to the terminal's width; in a description or epilog it keeps paragraphs and examples."""

    def add_usage(self, usage: str | None, *arguments: Any, **options: Any) -> None:
        if usage is not None:
            lines = wrap_words(f"usage: {usage}", help_columns(), indent=" " * 7)
            usage = "\n".join(lines).removeprefix("usage: ")
        super().add_usage(usage, *arguments, **options)

    def add_text(self, text: str | None) -> None:
        if text is not None:
            paragraphs = text.split("\n\n")
            text = "\n\n".join(
                part if part.startswith("  ") else "\n".join(wrap_words(" ".join(part.split()), help_columns()))
                for part in paragraphs
            )
        super().add_text(text)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrap_words(" ".join(text.split()), width)


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every connecting command has."""
    parser.add_argument(
        "-I",
        "--identity",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="log in with this key only (repeatable; a .pub file for a key in the ssh-agent); default: the keys of the "
        "ssh-agent and the usual files",
    )
    parser.add_argument(
        "--no-mux", action="store_true", help="connect anew instead of using a connection that the helper keeps ready"
    )
    add_via(parser)
    parser.add_argument("--accept-new", action="store_true", help="record an unknown host key without asking")
    parser.add_argument(
        "--connect-timeout",
        metavar="TIME",
        type=positive_duration,
        default=30.0,
        help="time until the login must be done (default 30s); the time in which you are asked does not count",
    )


def add_via(parser: argparse.ArgumentParser) -> None:
    """Add the option for the hosts on the way; its value is a list, or None without it."""
    parser.add_argument(
        "--via",
        metavar="HOST[,HOST…]",
        type=hosts_on_the_way,
        help="reach HOST through these, the nearest first, which see neither the login nor the data (none: directly); "
        "default: what the configuration says",
    )


def add_run_options(parser: argparse.ArgumentParser, *, reconnect: bool = True, attended: bool = False) -> None:
    """Add what commands for existing runs accept: `--json`, `--reconnect`, the connection options and HOST.

    `attended` is as in `add_reconnect`.
    """
    parser.add_argument("--json", action="store_true", help="print JSON, one object per line")
    if reconnect:
        add_reconnect(parser, attended=attended)
    add_connection_options(parser)
    add_host(parser)


def add_host(parser: argparse.ArgumentParser) -> None:
    """Add HOST, which may be left out: parse with `default_host.parse_with_host`."""
    parser.add_argument(
        "host",
        metavar="HOST",
        nargs="?",
        help="[user@]name[:port], unix:PATH, ssh:[user@]name, or a name from config.toml; default: default_host of "
        "that file, or FARHAND_HOST",
    )


def add_run_id(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add ID as `options.id`, or with `several` one or more as `options.ids`: parse with `parse_with_host`."""
    parser.add_argument(
        "ids" if several else "id",
        metavar="ID",
        nargs="+" if several else None,
        help="id of a run, or its first characters",
    )


def add_reconnect(parser: argparse.ArgumentParser, *, attended: bool = False) -> None:
    """Add `--reconnect`. With `attended` its default is None: the command may use the user's terminal, and then
    replaces None by `ATTENDED_RECONNECT`."""
    usual = f"default {DEFAULT_RECONNECT / 60:g}m"
    parser.add_argument(
        "--reconnect",
        metavar="TIME",
        type=duration,
        default=None if attended else DEFAULT_RECONNECT,
        help="how long to try to reconnect after the connection is lost "
        f"({usual + '; one day at a terminal' if attended else usual}; 0: do not reconnect)",
    )


def add_escape(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add the option for the character that introduces farhand's own keys."""
    from farhand_client.terminal.escapes import DEFAULT_ESCAPE

    parser.add_argument(
        *names,
        metavar="CHAR",
        type=escape_character,
        default=DEFAULT_ESCAPE,
        help="character that, after a newline, introduces a key for farhand (default ~; none: no such keys); "
        "~? lists the keys",
    )


def add_predict(parser: argparse.ArgumentParser) -> None:
    """Add the option for predicted echo; `predict_mode` returns its value."""
    parser.add_argument(
        "--predict",
        choices=PREDICT_MODES,
        help="when to show typed characters, underlined, before the program echoes them: on a slow connection (auto, "
        "the default unless config.toml sets another), always or never",
    )


def predict_mode(options: argparse.Namespace) -> PredictMode:
    """Return the value of `--predict`, or that of `config.toml`. Raises `AddressError` if that file has mistakes."""
    mode: PredictMode | None = options.predict
    return load_predict(config_directory() / "config.toml") if mode is None else mode


def add_leave_processes(parser: argparse.ArgumentParser) -> None:
    """Add the option that leaves the processes of a run running."""
    parser.add_argument(
        "--leave-processes",
        action="store_true",
        help="do not stop the processes that it leaves behind when it ends, such as daemons; farhand ps lists them",
    )


def split_arguments(arguments: Sequence[str], valued: frozenset[str]) -> tuple[list[str], list[str]]:
    """Return the options, and HOST with everything after it.

    argparse does not find HOST: its treatment of `--` and of options after a positional differs between Python
    versions. `valued` are the options that take a value. A `--` ends the options; a second one directly after HOST is
    dropped.
    """
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if word == "--":
            options, rest = list(arguments[:at]), list(arguments[at + 1 :])
            break
        if not word.startswith("-") or word == "-":
            options, rest = list(arguments[:at]), list(arguments[at:])
            break
        at += 2 if _value_is_next(word, valued) else 1
    else:
        return list(arguments), []
    if rest[1:2] == ["--"]:
        del rest[1]
    return options, rest


def _value_is_next(word: str, valued: frozenset[str]) -> bool:
    if word.startswith("--"):
        return word in valued
    # In a cluster such as -ie, the first letter that takes a value takes the rest of the word, or the next word.
    for at, letter in enumerate(word[1:], 1):
        if f"-{letter}" in valued:
            return at == len(word) - 1
    return False
