"""`farhandd edge`: runs an edge on its own sockets, on systemd's, or on those of the `serve` that started it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket

import uvloop

from farhand_protocol.sentences import unforeseen_sentence
from farhand_server.config import ConfigError, EdgeSettings, ServiceConfig
from farhand_server.edge.process import serve_edge
from farhand_server.edge.reports import WorkerReports
from farhand_server.edge.supervisor import Supervisor
from farhand_server.hangup import OwnTerminal
from farhand_server.hostkey import PRIVATE_KEY_FILE, HostKeyFileError
from farhand_server.listen.edge_child import bind_tcp, receive_sockets
from farhand_server.listen.unix import ListenError
from farhand_server.logs import Logger, LogSink
from farhand_server.runtime import UNTIL_HANDLED, freeze_loaded_objects, reset_signals
from farhand_server.systemd import Notifier, listen_sockets

from .command import configuration
from .report import CommandFailed


def edge(options: argparse.Namespace) -> int:
    """Serve until told to stop or, if started by `serve`, until the core has ended."""
    terminal = OwnTerminal.at_start(resumed=False)
    reset_signals(keep=UNTIL_HANDLED)
    notifier = Notifier.from_environment()
    try:
        handed_over = [each.socket for each in listen_sockets()]
    except ValueError as error:
        raise CommandFailed(str(error)) from None
    config = configuration(options)
    child: bool = options.child
    sink = LogSink()
    sink.configure(config.log.format, config.log.level)

    def reload() -> None:
        # For workers that are started later. Those that run say what is wrong with it.
        nonlocal config
        with contextlib.suppress(CommandFailed, ConfigError, OSError, ValueError):
            config = configuration(options)
            sink.configure(config.log.format, config.log.level)

    def ready() -> None:
        print("farhandd edge: ready", flush=True)

    try:
        sockets = _sockets_of_core() if child else handed_over or _sockets(config)
        if not sockets:
            return 0  # the core has ended before it was ready
        freeze_loaded_objects()
        supervisor = Supervisor(
            config.edge.processes,
            lambda reports: _work(options, config, sockets, reports),
            Logger(sink, {}).bind(process="edge"),
            notifier,
            terminal=terminal,
            ready=ready,
            reload=reload,
            parent=0 if child else None,
        )
        return supervisor.run()
    except (ListenError, HostKeyFileError) as error:
        raise CommandFailed(f"edge: {error}") from None
    except OSError as error:
        raise CommandFailed(f"edge: {unforeseen_sentence(error)}") from None
    finally:
        notifier.close()


def _work(
    options: argparse.Namespace, config: ServiceConfig, sockets: list[socket.socket], reports: WorkerReports
) -> int:
    """Serve, in a process of its own."""
    sink = LogSink()
    sink.configure(config.log.format, config.log.level)

    def reload() -> EdgeSettings:
        new = configuration(options)
        sink.configure(new.log.format, new.log.level)
        return new.edge

    sink.start()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.get_loop()  # before there is a coroutine that would never run if this fails
            serving = serve_edge(
                sockets=sockets,
                core_socket=config.edge.socket,
                host_key=options.key or config.state_dir / PRIVATE_KEY_FILE,
                settings=config.edge,
                log=Logger(sink, {}).bind(process="edge", worker=os.getpid()),
                ready=freeze_loaded_objects,
                reports=reports,
                reload=reload,
                child=options.child,
            )
            runner.run(serving)
    finally:
        sink.close()
        reports.close()
    return 0


def _sockets_of_core() -> list[socket.socket] | None:
    """Wait for what the core sends. Its end of stdin also tells later whether it still runs."""
    try:
        with socket.socket(fileno=os.dup(0)) as control:
            return receive_sockets(control)
    except OSError as error:
        raise CommandFailed(f"edge: stdin is no connection to a core: {unforeseen_sentence(error)}") from None


def _sockets(config: ServiceConfig) -> list[socket.socket]:
    if not config.listen:
        raise CommandFailed("edge: no address to listen on: give --listen HOST:PORT or set listen in the configuration")
    return bind_tcp(config.listen)
