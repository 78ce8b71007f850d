"""`farhand web`: a page through which a browser is a client, with this user's keys."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from farhand_client.config import config_directory
from farhand_client.errors import ConnectError, FarhandError
from farhand_client.ui.exitcodes import EXIT_FAILURE, error_exit_code
from farhand_client.ui.printing import flush_output, print_message, print_output
from farhand_client.web.access import DEFAULT_IDLE_TIME, WebAccess

from .default_host import default_host
from .options import add_connection_options, add_host, command_parser
from .values import positive_duration, web_port

if TYPE_CHECKING:
    from farhand_client.logins import ConnectOptions
    from farhand_client.web.server import WebServer

_DESCRIPTION: Final = """\
Show hosts and their runs in a browser: a page on this machine, which connects with your keys.

  farhand web web --open
  farhand web --port 8022
  ssh -L 8022:localhost:8022 desk farhand web --port 8022

"""

_EPILOG: Final = """\
The page has the hosts of config.toml, and HOST. The printed URL works once, within ten minutes, in one browser; press
Enter for another one. Only this machine can reach the page. Runs go on when it is closed, as they do for every client.

Exit code: 128+N after signal N, such as 130 after Ctrl-C; 255 if the port or HOST cannot be used; 2 for wrong usage.
"""


def web_command(arguments: Sequence[str]) -> int:
    """Run `farhand web` and return the exit code."""
    from .loop import run_attended

    options = _parser().parse_args(arguments)
    return run_attended(_web(options))


async def _web(options: argparse.Namespace) -> int:
    from farhand_client.ui.interrupts import SignalHandler
    from farhand_client.web.answers import WebPlace
    from farhand_client.web.hosts import web_hosts
    from farhand_client.web.server import web_server

    signals = SignalHandler()
    try:
        with signals, signals.interrupts_to(signals.end):
            named = options.host or default_host()
            hosts = web_hosts(named, _connect_options(options), options.via)
            if not hosts:
                raise ConnectError(
                    "no host is known: name one, as in farhand web HOST, or describe some in config.toml"
                )
            if named is not None:
                # Whatever has to be asked is asked here, where somebody is; and a page of an unknown host is no use.
                login = await hosts[named].log_in(ask=True)
                await login.session.close()
            listener = _listener(options.port)
            port = listener.getsockname()[1]
            place = WebPlace((f"127.0.0.1:{port}", f"localhost:{port}"), port)
            async with web_server(listener, place, WebAccess(options.idle_timeout), hosts) as web:
                _show(web, options)
                await asyncio.Event().wait()
    except asyncio.CancelledError:
        if signals.ended_by is None:
            raise
        return 128 + signals.ended_by
    except (FarhandError, OSError) as error:
        print_message(str(error))
        return error_exit_code(error) if isinstance(error, FarhandError) else EXIT_FAILURE
    raise AssertionError("an event that nobody sets was set")


def _show(web: WebServer, options: argparse.Namespace) -> None:
    """Print the URL, or open it; and another one each time Enter is pressed."""
    url = web.new_invitation()
    print_output(url)
    flush_output()
    if options.open:
        _open(url)
    if os.isatty(0) and os.isatty(1):

        def pressed() -> None:
            if not os.read(0, 4096):
                loop.remove_reader(0)
            else:
                print_output(web.new_invitation())
                flush_output()

        loop = asyncio.get_running_loop()
        loop.add_reader(0, pressed)


def _open(url: str) -> None:
    import webbrowser

    if not webbrowser.open(url):
        print_message("no browser could be started; open the URL in one")


def _listener(port: int) -> socket.socket:
    """Return a socket that listens on loopback. Raises `ConnectError`."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
        except OSError as error:
            raise ConnectError(f"cannot listen on port {port} of 127.0.0.1: {error.strerror}") from error
        stack.pop_all()
        return listener


def _connect_options(options: argparse.Namespace) -> ConnectOptions:
    from farhand_client.logins import ConnectOptions
    from farhand_client.ui.prompts import ask_passphrase, confirm_host_key, lend_terminal

    return ConnectOptions(
        timeout=options.connect_timeout,
        config=config_directory(),
        named=tuple(options.identity),
        accept_new=options.accept_new,
        confirm=confirm_host_key,
        passphrase=ask_passphrase,
        touch=print_message,
        lend_terminal=lend_terminal,
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("web", "[HOST]", _DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("--port", metavar="PORT", type=web_port, default=0, help="listen on this port (default: one that is free)")
    add("--open", action="store_true", help="open the URL in the browser that BROWSER or the desktop names")
    add(
        "--idle-timeout",
        metavar="TIME",
        type=positive_duration,
        default=DEFAULT_IDLE_TIME,
        help="log a browser out in which nothing was typed or clicked for so long "
        f"(default {DEFAULT_IDLE_TIME / 3600:g}h)",
    )
    add_connection_options(parser)
    add_host(parser)
    return parser
