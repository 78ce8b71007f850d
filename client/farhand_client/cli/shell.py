"""`farhand shell`: a login shell on another machine, on the terminal in front of the user."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from farhand_client.ui.exitcodes import EXIT_USAGE
from farhand_client.ui.printing import print_message

from .options import add_connection_options, add_escape, add_reconnect, command_parser
from .values import duration, new_run_id, variable

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
        print_message(f"a shell needs a terminal, and {which} is none; {ways}")
        return EXIT_USAGE
    try:
        host = options.host if options.host is not None else _default_host()
        if host is None:
            given.error("HOST is missing, and config.toml names no default_host")
        from farhand_client.terminal.local import LocalTerminal

        with LocalTerminal() as here:
            return _shell(host, options, here)
    except ValueError as error:
        print_message(str(error))
        return EXIT_USAGE


def _shell(host: str, options: argparse.Namespace, here: LocalTerminal) -> int:
    from farhand_client.ui.outages import ATTENDED_KEEPALIVE, ATTENDED_RECONNECT, OutageNotice
    from farhand_client.ui.terminal_request import locale_variables, terminal_request

    from .connection import open_connection, run_attended
    from .execute import RemoteCommand, execute
    from .interactive import View

    word = OutageNotice(host)
    asked = RemoteCommand(
        args=None,
        options={
            "terminal": terminal_request(here),
            "cwd": options.cwd,
            "env": locale_variables() | dict(pair for pair in options.env if pair is not None),
            "run_id": options.id,
            "on_disconnect": "kill",
            "grace": options.keep,
            "record_input": options.record_input,
        },
        view=View(here, host, word, options.escape),
    )
    reconnect = next(time for time in (options.reconnect, options.keep, ATTENDED_RECONNECT) if time is not None)
    connecting = partial(open_connection, host, options, reconnect=reconnect, keepalive=ATTENDED_KEEPALIVE, watch=word)
    return run_attended(execute(connecting, asked, None, word.close))


def _default_host() -> str | None:
    from farhand_client.config import config_directory, load_default_host

    return load_default_host(config_directory() / "config.toml")


def _parser() -> argparse.ArgumentParser:
    given = command_parser("shell", "[HOST]", "Work in a login shell on another machine.", EPILOG)
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
    add("--id", metavar="UUID", type=new_run_id, help="the shell's id; given again, it is the same shell")
    add("--record-input", action="store_true", help="record what is typed as well, passwords among it")
    add_reconnect(given, attended=True)
    add_connection_options(given)
    add("host", metavar="HOST", nargs="?")
    return given
