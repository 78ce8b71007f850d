"""`farhand forward`: ports and sockets of other machines here, and the other way round."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from farhand_client.errors import ConnectionLost, FarhandError
from farhand_client.forwards.specs import SpecError, parse_stdio
from farhand_client.ui.exitcodes import error_exit_code
from farhand_client.ui.failures import unforeseen
from farhand_client.ui.printing import require_stdout

from .default_host import required_default
from .forwarding import add_forward_options
from .options import DEFAULT_RECONNECT, add_connection_options, add_host, command_parser
from .values import duration

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.forwards.forward import Forward
    from farhand_forwards.targets import ForwardTarget

    from .forward_events import EventReporter, SentenceReporter

_DESCRIPTION: Final = """\
Forward connections through another machine.

  farhand forward web -L 5432:db:5432
  farhand forward web -R 8080:localhost:3000
  farhand forward web -D 1080
  farhand forward web -L udp:5353:ns:53
  farhand forward web -L /tmp/docker.sock:/run/docker.sock
  farhand forward web -W db:5432 < request > answer
  port=$(farhand forward -f web -L 0:db:5432)
  farhand forward --list
  farhand forward --cancel web -L 0:db:5432
"""

_EPILOG: Final = """\
Forwards are written as for ssh(1): IPv6 addresses in brackets, and the path of a Unix socket, which has a slash, in
place of any port or HOST:PORT. Without BIND a port is open on the loopback addresses only, with * or an empty BIND on
all. PORT 0 is any that is free; it is printed on stdout, one a line. udp: in front of -L and -R carries datagrams.

If one of them cannot be made, because its port is in use for example, none is, and the exit code is 255. Otherwise they
last until Ctrl-C. They survive a lost connection, and so does every connection through them.

With -f they belong to a process in the background, one for each HOST, which is ready when the command returns. It
reconnects for as long as it lives; the log that --list names says what has happened to it.

Exit code: 0; 128+N after signal N; 255 if a forward cannot be made, the connection or the login failed, or there are no
such kept forwards; 2 for wrong usage.
"""


def forward_command(arguments: Sequence[str]) -> int:
    """Run `farhand forward` and return the exit code."""
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    _check(parser, options)
    if options.list:
        from .forward_kept import list_kept

        return list_kept(options)
    if options.all and options.host is None:
        from .forward_kept import cancel_all

        return cancel_all(options)
    options.host = options.host or required_default(parser)
    if options.add or options.cancel:
        from .forward_kept import change_kept

        return change_kept(options)
    if options.background:
        from .forward_kept import keep_forwards

        return keep_forwards(options)
    return _forward(options)


def _forward(options: argparse.Namespace) -> int:
    from .connection import run_with_client
    from .forward_events import EventReporter, ReportedOutage, SentenceReporter
    from .loop import run_attended

    options.reconnect = DEFAULT_RECONNECT if options.reconnect is None else options.reconnect
    # Every byte would take one step more; a single connection is worth the shorter way to it.
    options.no_mux = options.no_mux or options.stdio is None
    reporter: EventReporter | SentenceReporter
    if options.json:
        require_stdout("the events would be lost")
        reporter = EventReporter()
    else:
        reporter = SentenceReporter(verbose=options.verbose, says_listening=options.verbose or os.isatty(2))
    outage = ReportedOutage(options.host, reporter)
    return run_with_client(options, partial(_act, options, reporter), outage=outage, run=run_attended)


async def _act(options: argparse.Namespace, reporter: EventReporter | SentenceReporter, client: Client) -> int:
    from farhand_client.ui.interrupts import SignalHandler

    signals = SignalHandler()
    try:
        with signals, signals.interrupts_to(signals.end):
            if options.stdio is None:
                await _hold(options, reporter, client)
            else:
                from .stdio import join_stdio

                await join_stdio(client, options.stdio)
    except asyncio.CancelledError:
        if signals.ended_by is None:
            raise
        return 128 + signals.ended_by
    except BrokenPipeError:
        raise  # nobody reads stdout any more
    except (FarhandError, OSError) as error:
        failure = unforeseen(error)
        reporter.failed(failure)
        return error_exit_code(failure)
    finally:
        await reporter.flush()
    return 0


async def _hold(options: argparse.Namespace, reporter: EventReporter | SentenceReporter, client: Client) -> None:
    """Forward until one of the forwards, or the connection, is lost for good; raises why."""
    from farhand_client.forwards.connection_end import ConnectionEnd

    from .forwarding import requested_forwards

    forwards: list[Forward] = []

    def listening(forward: Forward) -> None:
        forwards.append(forward)
        reporter.listening(forward)

    async with requested_forwards(options).opened(client, reporter.note, listening):
        end = ConnectionEnd(client.tunnel().connection)
        waiting = [asyncio.ensure_future(forward.wait_closed()) for forward in forwards]
        writing = asyncio.ensure_future(reporter.write())
        try:
            parts: list[asyncio.Future[Any]] = [end.ended, writing, *waiting]
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for task in (writing, *waiting):
                if task.done():
                    task.result()
            if end.ended.done():
                raise ConnectionLost(str(end.ended.result()))
        finally:
            end.forget()
            for task in (writing, *waiting):
                task.cancel()
            await asyncio.wait([writing, *waiting])


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exit with 2 if the options do not fit together."""
    chosen = [flag for flag, given in _modes(options) if given]
    if len(chosen) > 1:
        parser.error(f"{chosen[0]} and {chosen[1]} cannot be combined")
    some = bool(options.forwards)
    if options.all and not options.cancel:
        parser.error("--all is for --cancel: it ends all kept forwards of HOST, or of all hosts")
    match chosen:
        case ["--list"] if some:
            parser.error("--list shows all forwards; -L, -R and -D have no meaning with it")
        case ["--cancel"] if options.all == some:
            parser.error("--cancel needs the forwards to end, as in --cancel HOST -L 8080:db:80, or --all")
        case ["-W"] if some:
            parser.error("-W joins stdin and stdout to one connection; use another command for -L, -R and -D")
        case ["-W"] if options.json:
            parser.error("with -W stdout is the connection; it cannot have the events of --json too")
        case ["-f"] if options.json:
            parser.error("-f writes nothing after it has returned; farhand forward --list --json shows its forwards")
        case [] | ["-f"] | ["--add"] if not some:
            flags = "-L, -R or -D" if chosen else "-L, -R, -D or -W"
            parser.error(f"no forward is given; write {flags}, as in farhand forward HOST -L 8080:localhost:80")


def _modes(options: argparse.Namespace) -> list[tuple[str, bool]]:
    return [
        ("--list", options.list),
        ("--add", options.add),
        ("--cancel", options.cancel),
        ("-f", options.background),
        ("-W", options.stdio is not None),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("forward", "[HOST]", _DESCRIPTION, _EPILOG)
    add_forward_options(parser, agent=False)
    add = parser.add_argument
    add(
        "-W",
        dest="stdio",
        metavar="HOST:PORT",
        type=_stdio,
        help="join stdin and stdout to one connection, which is made from there",
    )
    add("-f", dest="background", action="store_true", help="keep the forwards in the background once they are made")
    add("--list", action="store_true", help="show the kept forwards of all hosts, or those of HOST")
    add("--add", action="store_true", help="add forwards to the kept ones of HOST")
    add("--cancel", action="store_true", help="end kept forwards of HOST")
    add("--all", action="store_true", help="with --cancel: all of HOST, or without HOST all of all hosts")
    add("-v", "--verbose", action="store_true", help="say where forwards listen, and when connections begin and end")
    add("--json", action="store_true", help="print events, or with --list the forwards, as JSON, one object per line")
    add(
        "--reconnect",
        metavar="TIME",
        type=duration,
        help=f"how long to try to reconnect after the connection is lost (default {DEFAULT_RECONNECT / 60:g}m; with -f "
        "there is no end; 0: do not reconnect)",
    )
    add_connection_options(parser)
    add_host(parser)
    return parser


def _stdio(text: str) -> ForwardTarget:
    try:
        return parse_stdio(text)
    except SpecError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("-W ")) from None
