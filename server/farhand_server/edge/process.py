"""Starts, reloads and drains the edge's process.

As a child of `serve`, the edge runs until its verdict feed ends, which means that the parent has drained or died. No
signal is needed. PR_SET_PDEATHSIG would send one even if only a thread of the parent ends, and would send none if the
parent had died before the call.
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
from farhand_server.hangup import OwnTerminal
from farhand_server.logs import Logger
from farhand_server.systemd import Notifier

from .edge import Edge
from .tls import server_context

CORE_START_TIMEOUT: Final = 1.0
"""Seconds for which a starting edge waits for its core before it accepts connections anyway. On one machine a few
milliseconds are enough unless the core is down."""


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
    terminal: OwnTerminal | None = None,
) -> None:
    """Serve clients on listening TCP sockets until SIGTERM or SIGINT, then close the sockets.

    `host_key` is the path of the private key file. `ready` is called once connections are accepted. On SIGHUP the key
    is read again and `reload` is called; if either raises ConfigError, ValueError or OSError, nothing changes.

    With `child`, the edge is ready only once it is connected to the core, and exits when its first verdict feed ends.
    It ignores SIGINT, which a terminal sends to both parent and child, and leaves it to the parent. An edge with a
    `terminal` of its own stops when that is closed.

    Raises HostKeyFileError or OSError if the key cannot be used, and OSError if a `child` cannot reach the core.
    """
    loop = asyncio.get_running_loop()
    edge = Edge(loop, sockets, core_socket, server_context(hostkey.load_host_key(host_key)), settings, log)
    stop = asyncio.Event()

    def reload_settings() -> None:
        notifier.reloading()
        try:
            edge.reconfigure(server_context(hostkey.load_host_key(host_key)), reload())
        except (ConfigError, OSError, ValueError) as error:
            log.error("reload refused; the old configuration is kept", reason=str(error))
            notifier.ready("serving; the last reload was refused, see the log")
        else:
            log.info("reloaded")
            notifier.ready("serving")

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, (lambda: None) if child else stop.set)
    own_terminal = terminal or OwnTerminal(ends_service=False)
    loop.add_signal_handler(signal.SIGHUP, lambda: stop.set() if own_terminal.has_hung_up() else reload_settings())
    own_terminal.watch()
    feed = asyncio.create_task(edge.verdict_feed.run_once() if child else edge.verdict_feed.run(), name="verdict feed")
    watchdog = asyncio.create_task(notifier.keep_watchdog(), name="watchdog")
    connected = asyncio.create_task(edge.verdict_feed.wait_connected(), name="connected to the core")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        # Meanwhile new clients wait in the kernel's queue. If they were accepted, they would be closed for lack of a
        # core.
        timeout = None if child else CORE_START_TIMEOUT
        await asyncio.wait((connected, feed, stopped), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if feed.done():
            await feed
        edge.start_accepting()
        ready()
        notifier.ready("serving")
        await asyncio.wait((stopped, feed), return_when=asyncio.FIRST_COMPLETED)
        notifier.stopping("waiting for connections to end")
        edge.stop_accepting()
        if child:
            # The core is stopped by its own signal. Its clients need the edge until the core has ended.
            await asyncio.wait((feed,))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.drain):
                await edge.wait_closed()
    finally:
        own_terminal.close()
        for task in (feed, watchdog, connected, stopped):
            task.cancel()
        await asyncio.gather(feed, watchdog, connected, stopped, return_exceptions=True)
        edge.abort()
        log.info("edge stopped")
