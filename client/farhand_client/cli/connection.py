"""From the options of a command to a client."""

from __future__ import annotations

import argparse

from farhand_client.client import Client
from farhand_client.connection.reconnecting import OutageCallback
from farhand_client.connector import KEEPALIVE_INTERVAL, connect
from farhand_client.pending import Pending

from .terminal import confirm, passphrase

__all__ = ["KEEPALIVE_INTERVAL", "opening"]


def opening(
    host: str,
    options: argparse.Namespace,
    *,
    reconnect: float | None = None,
    watch: OutageCallback | None = None,
    keepalive: float = KEEPALIVE_INTERVAL,
) -> Pending[Client]:
    """Return a connection to be awaited, with a person asked where one is there.

    Where it is lost it is made again within `reconnect` seconds, of which `watch` is told; it counts as lost after
    three times `keepalive` seconds of silence.
    """
    return connect(
        host,
        identities=options.identity,
        accept_new=options.accept_new,
        confirm=confirm,
        passphrase=passphrase,
        timeout=options.connect_timeout,
        keepalive=keepalive,
        reconnect=reconnect,
        watch=watch,
    )
