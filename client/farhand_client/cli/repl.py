"""`farhand repl`: parses the options and starts the REPL. Nothing else in the command line imports the REPL."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from farhand_client import caller
from farhand_client.config import DEFAULT_PREDICT, PredictMode, config_directory
from farhand_client.errors import FarhandError

from .default_host import parse_with_host
from .loop import run_loop
from .options import (
    add_connection_options,
    add_escape,
    add_host,
    add_predict,
    add_reconnect,
    command_parser,
    predict_mode,
)

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.connection.reconnecting import Outage, OutageCallback
    from farhand_client.pending import Pending
    from farhand_client.repl.host_connection import AskUser, Connect, HostOpener
    from farhand_client.repl.transfer_words import TransferWords

_EPILOG: Final = """\
Each line is a run of its own, on a terminal. The effect of cd, export and unset at the beginning of a line lasts. A
line that ends with & keeps running there, also after you leave. Commands that begin with a colon are for the REPL:
:help lists them. If stdin or stdout is not a terminal, stdin is read as a script for the remote shell. exit or end of
input leaves.

Exit code: the last line's; 255 if the connection failed.
"""


def repl_command(arguments: Sequence[str]) -> int:
    """Run `farhand repl` and return the exit code."""
    parser = command_parser("repl", "[HOST]", "Type commands that another machine's shell runs.", _EPILOG)
    add_escape(parser, "-e", "--escape")
    add_predict(parser)
    add_reconnect(parser, attended=True)
    add_connection_options(parser)
    add_host(parser)
    options = parse_with_host(parser, arguments)
    predict = predict_mode(options)
    attended = os.isatty(0) and os.isatty(1)
    if attended and caller.job_of_front() is not None and _leads_through_ssh(options.host, options.via):
        caller.before_asking()  # later it would cost what was typed until then
    return run_loop(run_repl(options.host, host_opener(options), options.escape, predict))


def _leads_through_ssh(host: str, via: Sequence[str] | None) -> bool:
    """Return whether ssh, which may ask the user, connects to the host or to one on the way."""
    from farhand_client.connection.address import resolve

    try:
        address = resolve(host, config=config_directory() / "config.toml", via=via)
    except FarhandError:
        return False  # it is said when the connection is made
    return any(each.ssh for each in (address, *address.via))


async def run_repl(
    host: str,
    opener: HostOpener,
    escape: int | None = None,
    predict: PredictMode = DEFAULT_PREDICT,
    *,
    private: bool = False,
) -> int:
    """Run the REPL, beginning with `host`, and return the exit code. `opener` connects to hosts.

    With `private`, the service of `host` ends with the REPL, and the caller reports which runs end with it.
    """
    from farhand_client.repl.main import main

    return await main(host, opener, escape, predict, private=private, parse_transfer=_parse_transfer)


def _parse_transfer(name: str, words: Sequence[str]) -> TransferWords | None:
    from .colon_transfer import parse_colon_transfer  # few lines need it, and none before the prompt

    return parse_colon_transfer(name, words)


def host_opener(options: argparse.Namespace) -> HostOpener:
    """Return a function that connects to a host of any name with `--reconnect` and the connection options."""

    def open_host(name: str, ask_user: AskUser) -> Connect:
        from farhand_client.connection.reconnecting import RECONNECT_TIMEOUT
        from farhand_client.connector import connect
        from farhand_client.repl.main import is_attended
        from farhand_client.times import KEEPALIVE_INTERVAL
        from farhand_client.ui.outages import ATTENDED_KEEPALIVE, ATTENDED_RECONNECT
        from farhand_client.ui.printing import print_message
        from farhand_client.ui.prompts import ask_passphrase, confirm_host_key, lend_terminal

        keepalive, reconnect = KEEPALIVE_INTERVAL, RECONNECT_TIMEOUT
        if is_attended():
            keepalive, reconnect = ATTENDED_KEEPALIVE, ATTENDED_RECONNECT
        if options.reconnect is not None:
            reconnect = options.reconnect

        def open_client(watch: OutageCallback) -> Pending[Client]:
            lost = False

            def watch_and_note(outage: Outage | None) -> None:
                nonlocal lost
                lost = outage is not None
                watch(outage)

            def touch(sentence: str) -> None:
                if not lost:  # a program may have the terminal during an outage
                    print_message(sentence)

            return connect(
                name,
                identities=options.identity,
                via=options.via if name == options.host else None,
                accept_new=options.accept_new,
                confirm=lambda unknown: ask_user(lambda: confirm_host_key(unknown)),
                passphrase=lambda prompt: ask_user(lambda: ask_passphrase(prompt)),
                touch=touch,
                timeout=options.connect_timeout,
                keepalive=keepalive,
                reconnect=reconnect,
                watch=watch_and_note,
                helper=False if options.no_mux else "offer",  # for the processes that begin the next command
                lend_terminal=lambda use: ask_user(lambda: lend_terminal(use)),
            )

        return open_client

    return open_host
