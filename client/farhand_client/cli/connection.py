"""From the options of a command to a client."""

from __future__ import annotations

import argparse

from farhand_client.client import Client
from farhand_client.connector import connect
from farhand_client.line import Watch
from farhand_client.pending import Pending

from .terminal import confirm, passphrase


def opening(
    host: str, options: argparse.Namespace, *, reconnect: float | None = None, watch: Watch | None = None
) -> Pending[Client]:
    """Return a connection to be awaited, with a person asked where one is there.

    Where it is lost it is made again within `reconnect` seconds, of which `watch` is told.
    """
    return connect(
        host,
        identities=options.identity,
        accept_new=options.accept_new,
        confirm=confirm,
        passphrase=passphrase,
        timeout=options.connect_timeout,
        reconnect=reconnect,
        watch=watch,
    )
