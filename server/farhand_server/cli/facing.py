"""Runs a process that faces the network, an edge or the web door: on its own sockets, on systemd's, or on those of the
`serve` that started it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

import uvloop

from farhand_protocol.sentences import unforeseen_sentence
from farhand_server.config import ConfigError, ListenAddress, ServiceConfig
from farhand_server.edge.process import FacingSetup, serve_edge
from farhand_server.edge.reports import WorkerReports
from farhand_server.edge.supervisor import Supervisor
from farhand_server.hangup import OwnTerminal
from farhand_server.hostkey import HostKeyFileError
from farhand_server.listen.edge_child import bind_tcp, receive_sockets
from farhand_server.listen.unix import ListenError
from farhand_server.logs import Logger, LogSink
from farhand_server.runtime import UNTIL_HANDLED, freeze_loaded_objects, reset_signals
from farhand_server.systemd import Notifier, listen_sockets

from .command import configuration
from .report import CommandFailed


class FacingKind(NamedTuple):
    """What tells the two apart: the `name`, the addresses to listen on, how to set it up, and the number of workers.

    `setup` raises OSError or ValueError for keys that cannot be used. `advice` says where addresses come from.
    """

    name: str
    addresses: Callable[[ServiceConfig], Sequence[ListenAddress]]
    setup: Callable[[ServiceConfig], FacingSetup]
    workers: Callable[[ServiceConfig], int]
    advice: str


def run_facing(options: argparse.Namespace, kind: FacingKind) -> int:
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
        print(f"farhandd {kind.name}: ready", flush=True)

    try:
        sockets = _sockets_of_core(kind) if child else handed_over or _sockets(config, kind)
        if not sockets:
            return 0  # the core has ended before it was ready
        freeze_loaded_objects()
        supervisor = Supervisor(
            kind.workers(config),
            lambda reports: _work(options, kind, config, sockets, reports),
            Logger(sink, {}).bind(process=kind.name),
            notifier,
            terminal=terminal,
            ready=ready,
            reload=reload,
            parent=0 if child else None,
        )
        return supervisor.run()
    except (ListenError, HostKeyFileError) as error:
        raise CommandFailed(f"{kind.name}: {error}") from None
    except OSError as error:
        raise CommandFailed(f"{kind.name}: {unforeseen_sentence(error)}") from None
    finally:
        notifier.close()


def _work(
    options: argparse.Namespace,
    kind: FacingKind,
    config: ServiceConfig,
    sockets: list[socket.socket],
    reports: WorkerReports,
) -> int:
    """Serve, in a process of its own."""
    sink = LogSink()
    sink.configure(config.log.format, config.log.level)

    def reload() -> FacingSetup:
        new = configuration(options)
        sink.configure(new.log.format, new.log.level)
        return kind.setup(new)

    sink.start()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.get_loop()  # before there is a coroutine that would never run if this fails
            serving = serve_edge(
                sockets=sockets,
                core_socket=config.edge.socket,
                setup=kind.setup(config),
                log=Logger(sink, {}).bind(process=kind.name, worker=os.getpid()),
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


def _sockets_of_core(kind: FacingKind) -> list[socket.socket] | None:
    """Wait for what the core sends. Its end of stdin also tells later whether it still runs."""
    try:
        with socket.socket(fileno=os.dup(0)) as control:
            return receive_sockets(control)
    except OSError as error:
        raise CommandFailed(f"{kind.name}: stdin is no connection to a core: {unforeseen_sentence(error)}") from None


def _sockets(config: ServiceConfig, kind: FacingKind) -> list[socket.socket]:
    addresses = kind.addresses(config)
    if not addresses:
        raise CommandFailed(f"{kind.name}: no address to listen on: {kind.advice}")
    return bind_tcp(addresses)
