"""`farhandd serve`: a core in the foreground, and an edge beside it where there is an address to listen on."""

from __future__ import annotations

import argparse
import asyncio

from farhand_server.config import Config
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
        service = Service(config, log, reload=reload, notifier=notifier)
        await service.serve(lambda: print(f"farhandd: ready on {config.socket}", flush=True))

    sink.start()
    try:
        asyncio.run(run())
    except ListenError as error:
        raise CommandFailed(str(error)) from None
    finally:
        sink.close()
        notifier.close()
    return 0
