"""Options that several commands share, and where they end: what follows HOST belongs to the remote command."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path

CONNECTION_OPTIONS = frozenset({"-I", "--identity", "--connect-timeout"})
"""Those of `add_connection_options` that take a value."""


RECONNECT = 120.0
"""Seconds; that of `farhand_client.connection.reconnecting`, which the parser need not import."""


def parser(name: str, usage: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the command `name`, of which `usage` says what comes after the options."""
    return argparse.ArgumentParser(
        prog=f"farhand {name}",
        usage=f"farhand {name} [OPTION…] {usage}",
        description=description,
        epilog=epilog,
        allow_abbrev=False,
    )


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command that connects understands."""
    parser.add_argument(
        "-I",
        "--identity",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="log in with this key (may be given again); default: the ssh-agent, then the usual files",
    )
    parser.add_argument(
        "--accept-new", action="store_true", help="put a key that is not known on record without asking"
    )
    parser.add_argument(
        "--connect-timeout",
        metavar="S",
        type=seconds,
        default=30.0,
        help="seconds for the connection, and again for each answer of the login (default 30)",
    )


def add_reconnect(parser: argparse.ArgumentParser, *, shown: bool = False) -> None:
    """Add what commands understand that go on over another connection; `shown` on the user's terminal, longer unless
    said otherwise (None)."""
    usual = f"default {RECONNECT:g}"
    parser.add_argument(
        "--reconnect",
        metavar="S",
        type=grace,
        default=None if shown else RECONNECT,
        help="seconds for which a lost connection is made again "
        f"({usual + ', with a terminal here a day' if shown else usual}; 0: not at all)",
    )


def add_escape(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add the option of the character that makes the next key one for us."""
    from farhand_client.terminal.escapes import DEFAULT_ESCAPE

    parser.add_argument(
        *names,
        metavar="CHAR",
        type=escape,
        default=DEFAULT_ESCAPE,
        help="behind a newline, makes the next key one for farhand (default ~; none: no such keys); ~? shows them",
    )


def escape(text: str) -> int | None:
    """Return an escape character's code; for argparse."""
    from farhand_client.terminal.escapes import parse_escape_character

    try:
        return parse_escape_character(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def terminal_size(text: str) -> tuple[int, int]:
    """Return columns and rows, as in `80x24`; for argparse."""
    columns, _, rows = text.partition("x")
    if not all(part.isascii() and part.isdecimal() and 1 <= int(part[:6]) <= 0xFFFF for part in (columns, rows)):
        raise argparse.ArgumentTypeError(f"{text!r} is no size of a terminal; 80x24 (columns, rows) is")
    return int(columns), int(rows)


def variable(text: str) -> tuple[bytes, bytes] | None:
    """Return a variable for the command, with the value that it has here unless one is given; for argparse.

    None where it has none.
    """
    name, equals, value = os.fsencode(text).partition(b"=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} has no name before the equals sign")
    if equals:
        return name, value
    local = os.environb.get(name)
    return None if local is None else (name, local)


def new_id(text: str) -> str:
    """Return the id for a run, whole; for argparse."""
    from farhand_client.ids import checked_id

    try:
        return checked_id(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seconds(text: str) -> float:
    """Return a positive number of seconds; for argparse."""
    if not 0 < (value := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def grace(text: str) -> float:
    """Return a number of seconds from 0 on; for argparse."""
    if not 0 <= (value := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 on")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def split(arguments: Sequence[str], valued: frozenset[str]) -> tuple[list[str], list[str]]:
    """Return the options, and HOST with all that follows it.

    argparse is not asked: what it makes of `--` and of options after a positional differs between Python versions.
    `valued` are the options that take a value. A `--` ends the options; another directly after HOST is dropped.
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
        at += 2 if _wants_next(word, valued) else 1
    else:
        return list(arguments), []
    if rest[1:2] == ["--"]:
        del rest[1]
    return options, rest


def _wants_next(word: str, valued: frozenset[str]) -> bool:
    if word.startswith("--"):
        return word in valued
    # In a cluster such as -ie the first letter that takes a value takes the rest of the word, or the next one.
    for at, letter in enumerate(word[1:], 1):
        if f"-{letter}" in valued:
            return at == len(word) - 1
    return False
