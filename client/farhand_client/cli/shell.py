"""`farhand shell`: a login shell on another machine, on the terminal in front of the user."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from .main import USAGE, say
from .options import add_connection_options, add_escape, add_reconnect, new_id, parser, variable
from .spans import duration

if TYPE_CHECKING:
    from farhand_client.terminal.local import LocalTerminal

EPILOG = """\
HOST is as in farhand run; without it, default_host of config.toml. The shell outlives a lost line, a closed terminal
and this process: farhand attach takes it up again, from anywhere. Behind a newline, ~. leaves and stops it, ~d leaves
it going, ~^Z suspends farhand, ~~ types a ~, and ~? shows this. Exit code: the shell's; 128+N where signal N ended it;
0 after ~d; 255 after ~. and where the connection failed. SIGTERM and SIGHUP leave it going.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    given = _parser()
    options, more = given.parse_known_args(arguments)
    if more:
        if not more[0].startswith("-"):
            given.error(
                f"a shell takes no command, and {more[0]!r} stands behind HOST; farhand run -t HOST -- ARG… runs one"
            )
        given.error(f"unrecognized arguments: {' '.join(more)}")
    if not (os.isatty(0) and os.isatty(1)):
        which = "stdin" if not os.isatty(0) else "stdout"
        ways = "farhand run --shell runs a script, farhand run -t a command that has to find a terminal"
        say(f"a shell needs a terminal, and {which} is none; {ways}")
        return USAGE
    try:
        host = options.host if options.host is not None else _default_host()
        if host is None:
            given.error("HOST is missing, and config.toml names no default_host")
        from farhand_client.terminal.local import LocalTerminal

        with LocalTerminal() as here:
            return _shell(host, options, here)
    except ValueError as error:
        say(str(error))
        return USAGE


def _shell(host: str, options: argparse.Namespace, here: LocalTerminal) -> int:
    from .connection import opening
    from .execute import Command, execute
    from .interactive import KEEPALIVE, STAYING, View
    from .lineword import LineWord
    from .loop import run_attended
    from .wanted import locale, wanted

    word = LineWord(host)
    asked = Command(
        args=None,
        options={
            "terminal": wanted(here),
            "cwd": options.cwd,
            "env": locale() | dict(pair for pair in options.env if pair is not None),
            "run_id": options.id,
            "on_disconnect": "kill",
            "grace": options.keep,
            "record_input": options.record_input,
        },
        view=View(here, host, word, options.escape),
    )
    reconnect = next(time for time in (options.reconnect, options.keep, STAYING) if time is not None)
    connecting = partial(opening, host, options, reconnect=reconnect, keepalive=KEEPALIVE, watch=word)
    return run_attended(execute(connecting, asked, None, word.close))


def _default_host() -> str | None:
    from farhand_client.config import config_directory, load_default_host

    return load_default_host(config_directory() / "config.toml")


def _parser() -> argparse.ArgumentParser:
    given = parser("shell", "[HOST]", "Work in a login shell on another machine.", EPILOG)
    add = given.add_argument
    add(
        "--keep",
        metavar="TIME",
        type=duration,
        help="how long it waits for a lost line (8h, 2d; default: the service's)",
    )
    add_escape(given, "-e", "--escape")
    add("--cwd", metavar="D", help="working directory, relative to the remote home")
    add(
        "--env",
        metavar="K[=V]",
        type=variable,
        action="append",
        default=[],
        help="set a variable, or pass on the local one (may be given again); LANG and LC_* are",
    )
    add("--id", metavar="UUID", type=new_id, help="the shell's id; given again, it is the same shell")
    add("--record-input", action="store_true", help="record what is typed as well, passwords among it")
    add_reconnect(given, shown=True)
    add_connection_options(given)
    add("host", metavar="HOST", nargs="?")
    return given
