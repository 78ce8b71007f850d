"""Starts, reloads and drains the edge's process.

As a child of `serve`, an edge runs until its verdict feed ends, which means that the parent has drained or died. No
signal is needed. PR_SET_PDEATHSIG would send one even if only a thread of the parent ends, and would send none if the
parent had died before the call.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from farhand_server.config import ConfigError, EdgeSettings
from farhand_server.logs import Logger

from .edge import Edge
from .preliminary import BrowserEntry
from .reports import WorkerReports

CORE_START_TIMEOUT: Final = 1.0
"""Seconds for which a starting edge waits for its core before it accepts connections anyway. On one machine a few
milliseconds are enough unless the core is down."""


class FacingSetup(NamedTuple):
    """What a process that faces the network goes by until the next reload. `tls` is None for clients that come without
    it, `browsers` for clients that are none."""

    settings: EdgeSettings
    tls: ssl.SSLContext | None
    browsers: BrowserEntry | None = None


async def serve_edge(
    *,
    sockets: Sequence[socket.socket],
    core_socket: Path,
    setup: FacingSetup,
    log: Logger,
    ready: Callable[[], None],
    reports: WorkerReports,
    reload: Callable[[], FacingSetup],
    child: bool = False,
) -> None:
    """Serve clients on listening TCP sockets until SIGTERM or SIGINT, then close the sockets.

    `ready` is called once connections are accepted. On SIGHUP `reload` is called, which reads configuration and keys
    again; if it raises ConfigError, ValueError or OSError, nothing changes.

    With `child`, the edge is ready only once it is connected to the core, and exits when its first verdict feed ends.
    SIGINT, which a terminal sends to all its processes, is left to the supervisor that `reports` go to. Without that
    supervisor, the edge ends at once: another one is about to be started.

    Raises OSError if a `child` cannot reach the core.
    """
    loop = asyncio.get_running_loop()
    edge = Edge(loop, sockets, core_socket, setup.tls, setup.settings, log, setup.browsers)
    stop = asyncio.Event()

    def reload_settings() -> None:
        reports.reloading()
        try:
            new = reload()
            edge.reconfigure(new.tls, new.settings, new.browsers)
        except (ConfigError, OSError, ValueError) as error:
            log.error("reload refused; the old configuration is kept", reason=str(error))
            reports.ready("serving; the last reload was refused, see the log")
        else:
            log.info("reloaded")
            reports.ready("serving")

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGHUP, reload_settings)
    feed = asyncio.create_task(edge.verdict_feed.run_once() if child else edge.verdict_feed.run(), name="verdict feed")
    watchdog = asyncio.create_task(reports.keep_watchdog(), name="watchdog")
    connected = asyncio.create_task(edge.verdict_feed.wait_connected(), name="connected to the core")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    orphaned = asyncio.create_task(reports.supervisor_gone(), name="supervisor gone")
    tasks: tuple[asyncio.Task[Any], ...] = (feed, watchdog, connected, stopped, orphaned)
    try:
        # Meanwhile new clients wait in the kernel's queue. If they were accepted, they would be closed for lack of a
        # core.
        timeout = None if child else CORE_START_TIMEOUT
        await asyncio.wait((connected, feed, stopped, orphaned), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if feed.done():
            await feed
        edge.watch.start()
        edge.start_accepting()
        ready()
        reports.ready("serving")
        await asyncio.wait((stopped, feed, orphaned), return_when=asyncio.FIRST_COMPLETED)
        reports.stopping("waiting for connections to end")
        edge.stop_accepting()
        if child:
            # The core is stopped by its own signal. Its clients need the edge until the core has ended.
            await asyncio.wait((feed, orphaned), return_when=asyncio.FIRST_COMPLETED)
        closed = asyncio.create_task(edge.wait_closed(), name="connections closed")
        tasks = (*tasks, closed)
        await asyncio.wait((closed, orphaned), timeout=setup.settings.drain, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        edge.abort()
        edge.watch.close()
        log.info("edge stopped")
