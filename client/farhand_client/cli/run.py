"""`farhand run`: one command on another machine, its streams, its signals and its outcome."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from farhand_client.ui.exitcodes import EXIT_USAGE
from farhand_client.ui.printing import print_message
from farhand_protocol.limits import MIN_SPOOL, KiB, MiB

from .execute import RemoteCommand, execute
from .options import (
    CONNECTION_OPTIONS,
    DEFAULT_RECONNECT,
    add_connection_options,
    add_escape,
    add_reconnect,
    command_parser,
    split_arguments,
)
from .status import Status, status_file
from .values import limits, new_run_id, nonnegative_seconds, positive_seconds, size, terminal_size, variable

if TYPE_CHECKING:
    from farhand_client.terminal.local import LocalTerminal

VALUED: Final = CONNECTION_OPTIONS | {
    "--cwd",
    "-e",
    "--env",
    "--timeout",
    "--idle-timeout",
    "--kill-after",
    "--status-json",
    "--id",
    "--on-disconnect",
    "--grace",
    "--buffer",
    "--limit",
    "--reconnect",
    "--escape",
    "--size",
}

DETACHED_SPOOL: Final = 64 * MiB
"""Bytes of each stream that are kept of a detached run unless `--buffer` says otherwise: it shall not wait for somebody
to read it. A day of ten lines a second; less than hurts a disk."""

EPILOG: Final = """\
Everything after HOST arrives as it is, down to the byte; no shell looks at it unless --shell is given. Exit code: the
command's; 128+N where signal N ended it, also for a limit; 124 after --timeout or --idle-timeout; 127 not found, 126
not executable; 255 where the connection, the login or the host key failed, or output is missing; 2 for wrong usage;
141 where nobody reads our stdout any more. Ctrl-C interrupts the command; a second one abandons it. A connection that
is lost is made again, and the run goes on.

With -t all output is stdout. Where stdin and stdout are terminals here, keys go to the command as they are, Ctrl-C too;
behind a newline, ~. leaves, ~d detaches, ~? says more. SIGHUP then leaves the command going, for `farhand attach`.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    before, rest = split_arguments(arguments, VALUED)
    given = _parser()
    options = given.parse_args(before)
    if not rest:
        given.error("HOST is missing")
    host, *words = rest
    if not words:
        given.error("a command is needed after HOST; `farhand repl HOST` gives a prompt")
    if options.shell and len(words) != 1:
        given.error("--shell takes the script as one argument; put it in quotes")
    if options.detach and options.stdin:
        given.error("--detach gives no stdin; with -i --on-disconnect keep a run has one, and is kept as well")
    if options.detach and options.on_disconnect == "kill":
        given.error("--detach keeps the run; it cannot be had with --on-disconnect kill")
    if not options.terminal and (options.size or options.record_input):
        given.error("--size and --record-input are for a command on a terminal: with -t")
    status = None
    try:
        if options.status_json is not None:
            status = status_file(options.status_json)
        if options.terminal and not options.detach and os.isatty(0) and os.isatty(1):
            from farhand_client.terminal.local import LocalTerminal

            with LocalTerminal() as here:
                return _execute(host, words, options, status, here)
        return _execute(host, words, options, status)
    except ValueError as error:
        print_message(str(error))
        return EXIT_USAGE
    finally:
        if status is not None:
            status.close()


def _execute(
    host: str,
    words: Sequence[str],
    options: argparse.Namespace,
    status: Status | None,
    here: LocalTerminal | None = None,
) -> int:
    from farhand_client.connector import KEEPALIVE_INTERVAL
    from farhand_client.ui.outages import ATTENDED_KEEPALIVE, ATTENDED_RECONNECT, OutageNotice

    from .connection import open_connection, run_attended

    word = OutageNotice(host)
    asked = command(words, options, here)
    reconnect, keepalive = DEFAULT_RECONNECT, KEEPALIVE_INTERVAL
    if here is not None:
        from . import interactive

        reconnect, keepalive = ATTENDED_RECONNECT, ATTENDED_KEEPALIVE
        asked = replace(asked, view=interactive.View(here, host, word, options.escape, frozenset({signal.SIGTERM})))
    if options.reconnect is not None:
        reconnect = options.reconnect
    connecting = partial(open_connection, host, options, reconnect=reconnect, keepalive=keepalive, watch=word)
    run = asyncio.run if here is None else run_attended
    return run(execute(connecting, asked, status, word.close))


def command(words: Sequence[str], options: argparse.Namespace, here: LocalTerminal | None = None) -> RemoteCommand:
    """Return what `words`, as they stand in `sys.argv`, and the options ask for; a terminal as `here`, if there is one.

    Raises ValueError.
    """
    argv = [os.fsencode(word) for word in words]
    env = dict(pair for pair in options.env if pair is not None)
    terminal = None
    if options.terminal:
        from farhand_client.ui.terminal_request import locale_variables, terminal_request

        terminal = terminal_request(here, options.size)
        env = locale_variables() | env
    return RemoteCommand(
        args=argv[0] if options.shell else argv,
        options={
            "shell": options.shell,
            "cwd": options.cwd,
            "env": env,
            "timeout": options.timeout,
            "kill_after": options.kill_after,
            "merge_stderr": options.merge,
            "run_id": options.id,
            "on_disconnect": "keep" if options.detach else options.on_disconnect or "kill",
            "grace": options.grace,
            "idle_timeout": options.idle_timeout,
            "limits": {name: value for limit in options.limit for name, value in limit.items()} or None,
            "spool": DETACHED_SPOOL if options.detach and options.buffer is None else options.buffer or None,
            "terminal": terminal,
            "record_input": options.record_input,
        },
        stdin=options.stdin,
        detach=options.detach,
    )


def _parser() -> argparse.ArgumentParser:
    given = command_parser("run", "HOST [--] ARG…", "Run a command on another machine.", EPILOG)
    add = given.add_argument
    add("-i", "--stdin", action="store_true", help="pass stdin on; else the command's is empty")
    add("-t", dest="terminal", action="store_true", help="run the command on a terminal, like this one if there is one")
    add("-T", dest="terminal", action="store_false", help="run it without one (the default)")
    add(
        "--size",
        metavar="CxR",
        type=terminal_size,
        help="its size where there is no terminal here (default 80x24)",
    )
    add_escape(given, "--escape")
    add("--record-input", action="store_true", help="record what is typed as well, passwords among it")
    add("--shell", action="store_true", help="ARG is a script for the remote account's shell")
    add("--cwd", metavar="D", help="working directory, relative to the remote home")
    add(
        "-e",
        "--env",
        metavar="K[=V]",
        type=variable,
        action="append",
        default=[],
        help="set a variable, or pass on the local one (may be given again)",
    )
    add("--timeout", metavar="S", type=positive_seconds, help="stop the command after so many seconds")
    add(
        "--idle-timeout",
        metavar="S",
        type=positive_seconds,
        help="stop the command after so many seconds without output",
    )
    add(
        "--kill-after",
        metavar="S",
        type=nonnegative_seconds,
        default=5.0,
        help="seconds between TERM and KILL (default 5)",
    )
    add("--merge", action="store_true", help="the command's stderr becomes its stdout, in the order it writes")
    add("--id", metavar="UUID", type=new_run_id, help="the run's id; given again, the same command is the same run")
    add("--detach", action="store_true", help="print the run's id once it has started, and leave it going")
    add("--on-disconnect", choices=("kill", "keep"), help="what becomes of the run without us (default kill)")
    add("--grace", metavar="S", type=nonnegative_seconds, help="seconds after which it is killed then (default 60)")
    add(
        "--buffer",
        metavar="block|spool=SIZE",
        type=_buffer,
        help="output that nobody takes makes the command wait (block, the default), or goes to a file that forgets the "
        "oldest (with --detach the default is spool=64M)",
    )
    add(
        "--limit",
        metavar="NAME=N,…",
        type=limits,
        action="append",
        default=[],
        help="memory=512M, cpu=SECONDS, processes=N, files=N, file-size=1G, output=10M (may be given again)",
    )
    add_reconnect(given, attended=True)
    add("--status-json", metavar="FILE", help="write how the command ended, as JSON; - is stderr")
    add_connection_options(given)
    return given


def _buffer(text: str) -> int:
    """Return the size of the spool; 0 for none."""
    if text == "block":
        return 0
    kind, _, value = text.partition("=")
    if kind != "spool" or not value or size(value) < MIN_SPOOL:
        raise argparse.ArgumentTypeError(f"{text!r} is neither block nor spool=SIZE, of {MIN_SPOOL // KiB}K or more")
    return size(value)
