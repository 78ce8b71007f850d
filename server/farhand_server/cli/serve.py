"""`farhandd serve`: a core in the foreground, and an edge beside it where there is an address to listen on."""

from __future__ import annotations

import argparse
import asyncio
import socket

from farhand_server.config import Address, Config
from farhand_server.edge_child import EdgeChild, EdgeFailed, bind
from farhand_server.hostkey import HostKeyError, ensure
from farhand_server.listener import ListenError
from farhand_server.logs import Logger, Sink
from farhand_server.service import Service
from farhand_server.systemd import Notifier

from .main import CommandFailed, configuration


def serve(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    notifier = Notifier.from_environment()
    config = configuration(options)
    sink = Sink()
    sink.configure(config.log.format, config.log.level)
    log = Logger(sink, {})

    def reload() -> Config:
        fresh = configuration(options)
        sink.configure(fresh.log.format, fresh.log.level)
        return fresh

    async def run() -> None:
        edge, addresses = _edge(config, options, log)
        service = Service(config, log, reload=reload, notifier=notifier, edge=edge)
        places = ", ".join([str(config.socket), *addresses])
        await service.serve(lambda: print(f"farhandd: ready on {places}", flush=True))

    sink.start()
    try:
        asyncio.run(run())
    except (ListenError, EdgeFailed, HostKeyError, OSError) as error:
        raise CommandFailed(str(error)) from None
    finally:
        sink.close()
        notifier.close()
    return 0


def _edge(config: Config, options: argparse.Namespace, log: Logger) -> tuple[EdgeChild | None, list[str]]:
    """Return the edge to run beside the core, if any, and the addresses it will be had at."""
    if not config.listen:
        return None, []
    ensure(config.state_dir)
    sockets = bind(config.listen)
    command = ["-m", "farhand_server", "edge"]
    if options.config is not None:
        command += ["--config", str(options.config)]
    if options.state_dir is not None:
        command += ["--state-dir", options.state_dir]
    return EdgeChild(command, sockets, log), [_written(listening) for listening in sockets]


def _written(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return str(Address(host, port))
