"""`farhand run`: one command on another machine, its streams, its signals and its outcome."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from typing import Final

from .execute import Command, execute
from .main import USAGE, say
from .options import CONNECTION_OPTIONS, add_connection_options, seconds, split
from .status import status_file

VALUED: Final = CONNECTION_OPTIONS | {"--cwd", "-e", "--env", "--timeout", "--kill-after", "--status-json"}

EPILOG: Final = """\
Everything after HOST arrives as it is, down to the byte; no shell looks at it unless --shell is given. Exit code: the
command's; 128+N where signal N ended it; 124 after --timeout; 127 not found, 126 not executable; 255 where the
connection, the login or the host key failed; 2 for wrong usage; 141 where nobody reads our stdout any more. Ctrl-C
interrupts the command; a second one abandons it.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    before, rest = split(arguments, VALUED)
    parser = _parser()
    options = parser.parse_args(before)
    if not rest:
        parser.error("HOST is missing")
    host, *words = rest
    if not words:
        parser.error("a command is needed after HOST; `farhand repl HOST` gives a prompt")
    if options.shell and len(words) != 1:
        parser.error("--shell takes the script as one argument; put it in quotes")
    status = None
    try:
        if options.status_json is not None:
            status = status_file(options.status_json)
        from .connection import opening

        return asyncio.run(execute(lambda: opening(host, options), command(words, options), status))
    except ValueError as error:
        say(str(error))
        return USAGE
    finally:
        if status is not None:
            status.close()


def command(words: Sequence[str], options: argparse.Namespace) -> Command:
    """Return what `words`, as they stand in `sys.argv`, and the options ask for."""
    argv = [os.fsencode(word) for word in words]
    return Command(
        args=argv[0] if options.shell else argv,
        options={
            "shell": options.shell,
            "cwd": options.cwd,
            "env": dict(pair for pair in options.env if pair is not None),
            "timeout": options.timeout,
            "kill_after": options.kill_after,
            "merge_stderr": options.merge,
        },
        stdin=options.stdin,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="farhand run",
        usage="farhand run [OPTION…] HOST [--] ARG…",
        description="Run a command on another machine.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-i", "--stdin", action="store_true", help="pass stdin on; else the command's is empty")
    add("--shell", action="store_true", help="ARG is a script for the remote account's shell")
    add("--cwd", metavar="D", help="working directory, relative to the remote home")
    add(
        "-e",
        "--env",
        metavar="K[=V]",
        type=_variable,
        action="append",
        default=[],
        help="set a variable, or pass on the local one (may be given again)",
    )
    add("--timeout", metavar="S", type=seconds, help="stop the command after so many seconds")
    add("--kill-after", metavar="S", type=_grace, default=5.0, help="seconds between TERM and KILL (default 5)")
    add("--merge", action="store_true", help="the command's stderr becomes its stdout, in the order it writes")
    add("--status-json", metavar="FILE", help="write how the command ended, as JSON; - is stderr")
    add_connection_options(parser)
    return parser


def _variable(text: str) -> tuple[bytes, bytes] | None:
    name, equals, value = os.fsencode(text).partition(b"=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} has no name before the equals sign")
    if equals:
        return name, value
    local = os.environb.get(name)
    return None if local is None else (name, local)


def _grace(text: str) -> float:
    return 0.0 if float(text) == 0 else seconds(text)
