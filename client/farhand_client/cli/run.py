"""`farhand run`: one command on another machine, its streams, its signals and its outcome."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from functools import partial
from typing import Final

from farhand_client.ids import checked_id
from farhand_protocol.limits import MIN_SPOOL, KiB, MiB

from .execute import Command, execute
from .main import USAGE, say
from .options import CONNECTION_OPTIONS, add_connection_options, add_reconnect, grace, parser, seconds, split
from .sizes import limits, size
from .status import status_file

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
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    before, rest = split(arguments, VALUED)
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
    status = None
    try:
        if options.status_json is not None:
            status = status_file(options.status_json)
        from .connection import opening
        from .lineword import LineWord

        word = LineWord(host)
        connecting = partial(opening, host, options, reconnect=options.reconnect, watch=word)
        return asyncio.run(execute(connecting, command(words, options), status, word.close))
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
            "run_id": options.id,
            "on_disconnect": "keep" if options.detach else options.on_disconnect or "kill",
            "grace": options.grace,
            "idle_timeout": options.idle_timeout,
            "limits": {name: value for limit in options.limit for name, value in limit.items()} or None,
            "spool": DETACHED_SPOOL if options.detach and options.buffer is None else options.buffer or None,
        },
        stdin=options.stdin,
        detach=options.detach,
    )


def _parser() -> argparse.ArgumentParser:
    given = parser("run", "HOST [--] ARG…", "Run a command on another machine.", EPILOG)
    add = given.add_argument
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
    add("--idle-timeout", metavar="S", type=seconds, help="stop the command after so many seconds without output")
    add("--kill-after", metavar="S", type=grace, default=5.0, help="seconds between TERM and KILL (default 5)")
    add("--merge", action="store_true", help="the command's stderr becomes its stdout, in the order it writes")
    add("--id", metavar="UUID", type=_run_id, help="the run's id; given again, the same command is the same run")
    add("--detach", action="store_true", help="print the run's id once it has started, and leave it going")
    add("--on-disconnect", choices=("kill", "keep"), help="what becomes of the run without us (default kill)")
    add("--grace", metavar="S", type=grace, help="seconds after which it is killed then (default 60)")
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
    add_reconnect(given)
    add("--status-json", metavar="FILE", help="write how the command ended, as JSON; - is stderr")
    add_connection_options(given)
    return given


def _variable(text: str) -> tuple[bytes, bytes] | None:
    name, equals, value = os.fsencode(text).partition(b"=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} has no name before the equals sign")
    if equals:
        return name, value
    local = os.environb.get(name)
    return None if local is None else (name, local)


def _run_id(text: str) -> str:
    try:
        return checked_id(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _buffer(text: str) -> int:
    """Return the size of the spool; 0 for none."""
    if text == "block":
        return 0
    kind, _, value = text.partition("=")
    if kind != "spool" or not value or size(value) < MIN_SPOOL:
        raise argparse.ArgumentTypeError(f"{text!r} is neither block nor spool=SIZE, of {MIN_SPOOL // KiB}K or more")
    return size(value)
