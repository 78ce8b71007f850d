"""`farhand run`: one command on another machine, with its streams, signals and outcome."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from farhand_client.options import RunOptions
from farhand_client.times import COMMAND_KILL_AFTER, KEEPALIVE_INTERVAL
from farhand_client.ui.exitcodes import EXIT_USAGE
from farhand_client.ui.printing import print_message
from farhand_client.ui.unread_stdin import UNREAD
from farhand_protocol.limits import MIN_SPOOL_SIZE, KiB, MiB

from .default_host import default_host, required_default
from .execute import RemoteCommand, execute
from .forwarding import FORWARD_OPTIONS, add_forward_options, requested_forwards
from .hints import TypedCommand
from .options import (
    CONNECTION_OPTIONS,
    DEFAULT_RECONNECT,
    add_connection_options,
    add_escape,
    add_leave_processes,
    add_predict,
    add_reconnect,
    command_parser,
    predict_mode,
    split_arguments,
)
from .status import StatusFile, open_status_file
from .values import duration, limits, new_run_id, positive_duration, size, terminal_size, variable

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.handover import Handover
    from farhand_client.pending import Pending
    from farhand_client.terminal.local import LocalTerminal

VALUED_OPTIONS: Final = (
    CONNECTION_OPTIONS
    | FORWARD_OPTIONS
    | {
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
        "--predict",
        "--size",
    }
)
"""The options of `farhand run` that take a value."""

DETACHED_SPOOL: Final = 64 * MiB
"""Bytes of each stream kept for a detached run unless `--buffer` is given, so that it never waits for a reader: a day
of ten lines a second, and little for a disk."""

_DESCRIPTION: Final = """\
Run a command on another machine.

  farhand run web -- uname -a
  farhand run --shell web 'make 2>&1 | tail -n 20'
  farhand run --timeout 600 --cwd src/app web -- make test
  farhand run -i web -- sort < names
  farhand run -t web -- top
  farhand run -L 5432:db:5432 web -- ./migrate
  farhand run --detach web -- ./backup
"""

_EPILOG: Final = """\
HOST is [user@]name[:port], unix:PATH, ssh:[user@]name, or a name from config.toml. Everything after HOST reaches the
command unchanged, byte for byte; no shell interprets it unless --shell is given. If config.toml has a default_host, or
FARHAND_HOST is set, HOST may be left out: farhand run -- uname -a.

If stdin was not passed on although it holds data for farhand, a line on stderr says so. Data for the script that runs
farhand, such as the rest of a list in a while read loop, does not count, and is left alone.

Ctrl-C interrupts the command; a second Ctrl-C abandons it. The run survives a lost connection: farhand reconnects and
continues where it was.

With -t all output arrives on stdout. If stdin and stdout are terminals here, keys are sent to the command unchanged,
Ctrl-C included; after a newline, ~. leaves, ~d detaches, ~? lists more keys. If the terminal is closed (SIGHUP), the
command keeps running; return to it with farhand attach.

Exit code: the command's; 128+N if signal N ended it, also at a limit; 124 after --timeout or --idle-timeout; 127 if
it was not found, 126 if it cannot be executed; 255 if the connection, the login or the host key failed, or output is
missing; 2 for wrong usage; 141 if nobody reads stdout any more.
"""


_UNREAD_DETACHED: Final = (
    "stdin was not passed on: a detached command has none; -i --on-disconnect keep passes it, -n silences this"
)


def run_command(arguments: Sequence[str], handover: Handover | None = None) -> int:
    """Run `farhand run` and return the exit code. `handover` is the run, if the direct path has requested it before."""
    before, rest = split_arguments(arguments, VALUED_OPTIONS)
    parser = _parser()
    options = parser.parse_args(before)
    host, *words = rest or [required_default(parser)]
    # Without HOST, -- separates the options from the command. A second one says that the word between them is HOST.
    dashes = [at for at in (len(before), len(before) + 2) if list(arguments[at : at + 1]) == ["--"]]
    if rest and dashes == [len(before)] and (not words or default_host() is not None):
        host, words = required_default(parser), rest
    typed = TypedCommand(before, host, words, parser, VALUED_OPTIONS)
    if not words:
        hint = f"; to run {host} on the default host, use `farhand run -- {host}`" if rest and default_host() else ""
        parser.error(f"no command after HOST; for a prompt, use `farhand repl HOST`{hint}")
    if options.shell and len(words) != 1:
        parser.error("--shell takes the script as one argument; put it in quotes")
    if options.stdin and options.no_stdin:
        parser.error("-i passes stdin on and -n does not; they cannot be combined")
    if options.detach and options.stdin:
        parser.error("--detach gives the command no stdin; use -i --on-disconnect keep for a kept run with stdin")
    if options.detach and options.on_disconnect == "kill":
        parser.error("--detach keeps the run; it cannot be combined with --on-disconnect kill")
    if not options.terminal and (options.size or options.record_input):
        parser.error("--size and --record-input are for a command on a terminal; add -t")
    if options.detach and (options.forwards or options.agent):
        parser.error("forwards end with this command, which --detach ends at once; use farhand forward -f HOST …")
    status = None
    try:
        if options.status_json is not None:
            status = open_status_file(options.status_json)
        if options.terminal and not options.detach and os.isatty(0) and os.isatty(1):
            from farhand_client.terminal.local import LocalTerminal

            with LocalTerminal() as here:
                return _execute(typed, options, status, here)
        return _execute(typed, options, status, None, handover)
    except UnicodeError:
        raise  # is no mistake of the user
    except ValueError as error:
        print_message(str(error))
        return EXIT_USAGE
    finally:
        if status is not None:
            status.close()


def _execute(
    typed: TypedCommand,
    options: argparse.Namespace,
    status: StatusFile | None,
    here: LocalTerminal | None = None,
    handover: Handover | None = None,
) -> int:
    from farhand_client.ui.outages import ATTENDED_KEEPALIVE, ATTENDED_RECONNECT, OutageNotice

    from .connection import open_connection
    from .loop import run_attended, run_loop

    host = options.host = typed.host
    outage = OutageNotice(host)
    command = remote_command(typed.words, options, here)
    if not options.shell:
        command = replace(command, advice=typed.instead)
    reconnect, keepalive = DEFAULT_RECONNECT, KEEPALIVE_INTERVAL
    if here is not None:
        from .terminal_view import TerminalView

        reconnect, keepalive = ATTENDED_RECONNECT, ATTENDED_KEEPALIVE
        stops = frozenset({signal.SIGTERM})
        view = TerminalView(here, host, outage, options.escape, stops, predict=predict_mode(options))
        command = replace(command, view=view)
    if options.reconnect is not None:
        reconnect = options.reconnect
    open_client: Callable[[], Pending[Client]] = partial(
        open_connection, host, options, reconnect=reconnect, keepalive=keepalive, watch=outage
    )
    if handover is not None:
        from .resume import ResumedRun

        resumed = ResumedRun(host, options, handover, outage)
        command, open_client = replace(command, resumed=resumed), resumed.open_client(reconnect)
    run = run_loop if here is None else run_attended
    return run(execute(open_client, command, status, outage))


def remote_command(
    words: Sequence[str], options: argparse.Namespace, here: LocalTerminal | None = None
) -> RemoteCommand:
    """Return the command of `words` (as in `sys.argv`) and the options, on a terminal like `here` if there is one.

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
        options=RunOptions.of(
            shell=options.shell,
            cwd=options.cwd,
            env=env,
            timeout=options.timeout,
            kill_after=options.kill_after,
            merge_stderr=options.merge,
            run_id=options.id,
            on_disconnect="keep" if options.detach else options.on_disconnect or "kill",
            grace=options.grace,
            idle_timeout=options.idle_timeout,
            limits={name: value for limit in options.limit for name, value in limit.items()} or None,
            spool=DETACHED_SPOOL if options.detach and options.buffer is None else options.buffer or None,
            terminal=terminal,
            record_input=options.record_input,
            leave_processes=options.leave_processes,
        ),
        stdin=options.stdin,
        detach=options.detach,
        forwards=requested_forwards(options),
        unread_stdin=None if options.no_stdin else _UNREAD_DETACHED if options.detach else UNREAD,
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("run", "[HOST] [--] ARG…", _DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("-i", "--stdin", action="store_true", help="pass stdin on; otherwise the command's stdin is empty")
    add("-n", "--no-stdin", action="store_true", help="do not say that stdin holds data which is not passed on")
    add("-t", dest="terminal", action="store_true", help="run the command on a terminal, like yours if there is one")
    add("-T", dest="terminal", action="store_false", help="run it without a terminal (the default)")
    add(
        "--size",
        metavar="CxR",
        type=terminal_size,
        help="with -t, the terminal's size if there is no terminal here (default 80x24)",
    )
    add_escape(parser, "--escape")
    add_predict(parser)
    add("--record-input", action="store_true", help="with -t, also record what is typed, including passwords")
    add("--shell", action="store_true", help="run ARG as a script in the remote account's shell")
    add("--cwd", metavar="D", help="working directory, relative to the remote home directory")
    add(
        "-e",
        "--env",
        metavar="K[=V]",
        type=variable,
        action="append",
        default=[],
        help="set a variable, or pass on the local one (repeatable)",
    )
    add("--timeout", metavar="TIME", type=positive_duration, help="stop the command after TIME")
    add("--idle-timeout", metavar="TIME", type=positive_duration, help="stop the command after TIME without output")
    add(
        "--kill-after",
        metavar="TIME",
        type=duration,
        default=COMMAND_KILL_AFTER,
        help="time between TERM and KILL when it is stopped (default 5s)",
    )
    add("--merge", action="store_true", help="write the command's stderr to its stdout, in order")
    add("--id", metavar="UUID", type=new_run_id, help="the run's id; the same command with the same id is the same run")
    add("--detach", action="store_true", help="print the run's id after it has started, and leave it running")
    add(
        "--on-disconnect",
        choices=("kill", "keep"),
        help="what the service does with the run when this client is gone (default kill; --detach: keep)",
    )
    add("--grace", metavar="TIME", type=duration, help="how long to wait for the client first (default 1m)")
    add(
        "--buffer",
        metavar="block|spool=SIZE",
        type=_buffer,
        help="output that nobody reads: the command waits (block, the default), or the service keeps the last SIZE "
        "bytes of each stream in a file (with --detach the default is spool=64M)",
    )
    add_leave_processes(parser)
    add_forward_options(parser)
    add(
        "--limit",
        metavar="NAME=N,…",
        type=limits,
        action="append",
        default=[],
        help="memory=512M, cpu=TIME, processes=N, files=N, file-size=1G, output=10M (repeatable)",
    )
    add_reconnect(parser, attended=True)
    add("--status-json", metavar="FILE", help="write the outcome to FILE as JSON; - is stderr")
    add_connection_options(parser)
    return parser


def _buffer(text: str) -> int:
    """Return the size of the spool in bytes; 0 for none."""
    if text == "block":
        return 0
    kind, _, value = text.partition("=")
    if kind != "spool" or not value or size(value) < MIN_SPOOL_SIZE:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither block nor spool=SIZE (at least {MIN_SPOOL_SIZE // KiB}K)"
        )
    return size(value)
