"""The edge's life as a process: it opens its doors, reloads, and goes when it is told or its core is gone for good.

As a child of `serve` it lives as long as the verdict feed: its end says that the parent has drained or died. That
needs no signal, which PR_SET_PDEATHSIG would send for the end of a mere thread, and not at all if the parent was
gone before it was asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from farhand_server import hostkey
from farhand_server.config import ConfigError, EdgeSettings
from farhand_server.logs import Logger
from farhand_server.systemd import Notifier

from .edge import Edge
from .streams import server_context

CORE_START_TIMEOUT: Final = 1.0
"""Seconds for which an edge that starts waits for its core before it opens all the same; on one machine a few
milliseconds do, unless the core is down."""


async def serve_edge(
    *,
    sockets: Sequence[socket.socket],
    core_socket: Path,
    host_key: Path,
    settings: EdgeSettings,
    log: Logger,
    ready: Callable[[], None],
    notifier: Notifier,
    reload: Callable[[], EdgeSettings],
    child: bool = False,
) -> None:
    """Serve clients on listening TCP sockets, which it closes in the end, until SIGTERM or SIGINT.

    `host_key` is the private key's file. `ready` is called once clients are taken. At SIGHUP the key is read again
    and `reload` called; where either raises ConfigError, ValueError
    or OSError, everything stays as it was.

    As a `child` it is ready only with the core there, and ends with the first verdict feed; SIGINT, which a terminal
    sends to parent and child, is left to the parent.

    Raises HostKeyFileError or OSError where the key cannot be used, and OSError where a child finds no core.
    """
    loop = asyncio.get_running_loop()
    edge = Edge(loop, sockets, core_socket, server_context(hostkey.load_host_key(host_key)), settings, log)
    stop = asyncio.Event()

    def renew() -> None:
        notifier.reloading()
        try:
            edge.use(server_context(hostkey.load_host_key(host_key)), reload())
        except (ConfigError, OSError, ValueError) as error:
            log.error("reload refused; the old configuration stays", reason=str(error))
            notifier.ready("serving; the last reload was refused, see the log")
        else:
            log.info("reloaded")
            notifier.ready("serving")

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, (lambda: None) if child else stop.set)
    loop.add_signal_handler(signal.SIGHUP, renew)
    feed = asyncio.create_task(edge.feed.hold_once() if child else edge.feed.hold(), name="verdict feed")
    watchdog = asyncio.create_task(notifier.keep_watchdog(), name="watchdog")
    connected = asyncio.create_task(edge.feed.wait_connected(), name="core there")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        # Whoever connects meanwhile waits in the kernel's queue, rather than be told that the core is away.
        await asyncio.wait(
            (connected, feed, stopped),
            timeout=None if child else CORE_START_TIMEOUT,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if feed.done():
            await feed
        edge.open_door()
        ready()
        notifier.ready("serving")
        await asyncio.wait((stopped, feed), return_when=asyncio.FIRST_COMPLETED)
        notifier.stopping("waiting for connections to end")
        edge.close_door()
        if child:
            # The core is told to stop as well, by its own signal; its clients need us until it has.
            await asyncio.wait((feed,))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.drain):
                await edge.gone()
    finally:
        for task in (feed, watchdog, connected, stopped):
            task.cancel()
        await asyncio.gather(feed, watchdog, connected, stopped, return_exceptions=True)
        edge.abort()
        log.info("edge stopped")
