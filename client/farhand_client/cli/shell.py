"""`farhand shell`: a login shell on another machine, on the terminal in front of the user."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from farhand_client.ui.exitcodes import EXIT_USAGE
from farhand_client.ui.printing import print_message

from .default_host import required_default
from .forwarding import add_forward_options, requested_forwards
from .options import (
    add_connection_options,
    add_escape,
    add_host,
    add_leave_processes,
    add_predict,
    add_reconnect,
    command_parser,
    predict_mode,
)
from .values import duration, new_run_id, variable

if TYPE_CHECKING:
    from farhand_client.terminal.local import LocalTerminal

_EPILOG: Final = """\
The shell survives a lost connection, a closed terminal and the end of this process: return to it with farhand attach,
from anywhere.

After a newline, ~. leaves and stops the shell, ~d leaves it running, ~^Z suspends farhand, ~~ types a ~, and ~? lists
these keys.

Exit code: the shell's; 128+N if signal N ended it; 0 after ~d; 255 after ~. and if the connection failed. SIGTERM and
SIGHUP leave the shell running.
"""


def shell_command(arguments: Sequence[str]) -> int:
    """Run `farhand shell` and return the exit code."""
    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    if more:
        if not more[0].startswith("-"):
            parser.error(f"unexpected {more[0]!r} after HOST; to run a command, use farhand run -t HOST -- ARG…")
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    if not (os.isatty(0) and os.isatty(1)):
        which = "stdin" if not os.isatty(0) else "stdout"
        instead = "to run a script, use farhand run --shell; to run a command on a terminal, use farhand run -t"
        print_message(f"a shell needs a terminal, but {which} is not one; {instead}")
        return EXIT_USAGE
    try:
        host = options.host = options.host if options.host is not None else required_default(parser)
        from farhand_client.terminal.local import LocalTerminal

        with LocalTerminal() as here:
            return _shell(host, options, here)
    except UnicodeError:
        raise  # is no mistake of the user
    except ValueError as error:
        print_message(str(error))
        return EXIT_USAGE


def _shell(host: str, options: argparse.Namespace, here: LocalTerminal) -> int:
    from farhand_client.options import RunOptions
    from farhand_client.ui.outages import ATTENDED_KEEPALIVE, ATTENDED_RECONNECT, OutageNotice
    from farhand_client.ui.terminal_request import locale_variables, terminal_request

    from .connection import open_connection
    from .execute import RemoteCommand, execute
    from .loop import run_attended
    from .terminal_view import TerminalView

    outage = OutageNotice(host)
    command = RemoteCommand(
        args=None,
        options=RunOptions.of(
            terminal=terminal_request(here),
            cwd=options.cwd,
            env=locale_variables() | dict(pair for pair in options.env if pair is not None),
            run_id=options.id,
            on_disconnect="kill",
            grace=options.keep,
            record_input=options.record_input,
            leave_processes=options.leave_processes,
        ),
        view=TerminalView(here, host, outage, options.escape, predict=predict_mode(options)),
        forwards=requested_forwards(options),
    )
    reconnect = next(time for time in (options.reconnect, options.keep, ATTENDED_RECONNECT) if time is not None)
    open_client = partial(
        open_connection, host, options, reconnect=reconnect, keepalive=ATTENDED_KEEPALIVE, watch=outage
    )
    return run_attended(execute(open_client, command, outage=outage))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("shell", "[HOST]", "Open a login shell on another machine.", _EPILOG)
    add = parser.add_argument
    add(
        "--keep",
        metavar="TIME",
        type=duration,
        help="how long the shell waits for you after the connection is lost (8h, 2d; default: the service's setting)",
    )
    add_escape(parser, "-e", "--escape")
    add_predict(parser)
    add("--cwd", metavar="D", help="working directory, relative to the remote home directory")
    add(
        "--env",
        metavar="K[=V]",
        type=variable,
        action="append",
        default=[],
        help="set a variable, or pass on the local one (repeatable); LANG and LC_* are always passed on",
    )
    add("--id", metavar="UUID", type=new_run_id, help="id of the shell; the same id gives the same shell")
    add_leave_processes(parser)
    add_forward_options(parser)
    add("--record-input", action="store_true", help="also record what is typed, including passwords")
    add_reconnect(parser, attended=True)
    add_connection_options(parser)
    add_host(parser)
    return parser
