"""`farhandd serve`: a core in the foreground, and an edge beside it where there is an address to listen on."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import socket
from typing import Final

from farhand_server import __version__
from farhand_server.audit import AuditError
from farhand_server.config import ListenAddress, ServiceConfig
from farhand_server.history import HistoryError
from farhand_server.hostkey import HostKeyFileError, ensure
from farhand_server.listen.edge_child import EdgeChild, EdgeFailed, bind_tcp
from farhand_server.listen.unix import ListenError
from farhand_server.logs import Logger, Sink
from farhand_server.policy import policy_in_force
from farhand_server.runtime import freeze_loaded_objects, reset_signals
from farhand_server.service import Service, make_authenticator
from farhand_server.state import open_state_directory
from farhand_server.systemd import Notifier
from farhand_server.upgrade.snapshot import ReceivedSnapshot, SnapshotError

from .main import CommandFailed, configuration

RUN_DESCRIPTORS: Final = 6
"""Descriptors a run takes: three pipes, two pidfds (asyncio's and ours), and a connection, if it has one to itself."""

CORE_DESCRIPTORS: Final = 64
"""Descriptors that are no run's: sockets, the loop's, the standard three, and those of a start under way."""


def serve(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    if options.check_resume is not None:
        return _check_resume(options, options.check_resume)
    if options.resume is None:  # else signals are blocked on purpose, until the handlers are there
        reset_signals()
    notifier = Notifier.from_environment()
    before = None if options.resume is None else _resume(options.resume)
    config = configuration(options)
    policy = policy_in_force(config.policy)
    sink = Sink()
    log = Logger(sink, {})

    def accepted(config: ServiceConfig) -> None:
        sink.configure(config.log.format, config.log.level)
        warn_of_few_descriptors(config, log)

    def silence(silent: bool) -> None:
        if silent:
            sink.close()
        else:
            sink.start()

    async def run() -> None:
        async with open_state_directory(config, log, resume=None if before is None else before.state.lock) as ledger:
            edge, addresses = _edge(config, options, log, before)
            service = Service(
                config,
                log,
                ledger,
                policy=policy,
                reload=lambda: configuration(options),
                accepted=accepted,
                notifier=notifier,
                silence=silence,
                edge=edge,
                resume=before,
            )
            places = ", ".join([str(config.socket), *addresses])

            def ready() -> None:
                freeze_loaded_objects()
                if before is None:  # who waited for this line may have gone
                    print(f"farhandd: ready on {places}", flush=True)

            await service.serve(ready)

    accepted(config)
    sink.start()
    try:
        asyncio.run(run())
    except (ListenError, EdgeFailed, HostKeyFileError, HistoryError, AuditError, OSError) as error:
        raise CommandFailed(str(error)) from None
    finally:
        sink.close()
        notifier.close()
    return 0


def _resume(fd: int) -> ReceivedSnapshot:
    """Take over the state of the program before; nothing that is started from now on inherits its descriptors."""
    os.set_inheritable(fd, False)
    try:
        before = ReceivedSnapshot.read(fd)
    except SnapshotError as error:
        raise CommandFailed(str(error)) from None
    for number in before.state.descriptors():
        os.set_inheritable(number, False)
    return before


def _check_resume(options: argparse.Namespace, fd: int) -> int:
    """Say whether this program could go on from a state, with the configuration that there is."""
    config = configuration(options)
    try:
        policy_in_force(config.policy)
        make_authenticator(config)
        ReceivedSnapshot.read(fd)
    except (SnapshotError, OSError, ValueError) as error:
        raise CommandFailed(str(error)) from None
    print("resumable", __version__)
    return 0


def warn_of_few_descriptors(config: ServiceConfig, log: Logger) -> None:
    """Say where the limit on descriptors is below what `runs.max_runs` needs.

    It is not raised here: commands inherit it, and a program that uses select(2) breaks with more than 1,024. Who runs
    the service may raise it for both.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.runs.max_runs * RUN_DESCRIPTORS + CORE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning(
            "too few descriptors for runs.max_runs; runs beyond will not start",
            max_runs=config.runs.max_runs,
            fit=max(0, soft - CORE_DESCRIPTORS) // RUN_DESCRIPTORS,
            descriptors=soft,
            needed=needed,
        )


def _edge(
    config: ServiceConfig, options: argparse.Namespace, log: Logger, before: ReceivedSnapshot | None
) -> tuple[EdgeChild | None, list[str]]:
    """Return the edge to run beside the core, if any, and the addresses it will be had at."""
    if before is not None:
        sockets = [socket.socket(fileno=number) for number in before.state.listening]
    else:
        sockets = bind_tcp(config.listen)
    if not sockets:
        return None, []
    ensure(config.state_dir)
    command = ["-m", "farhand_server", "edge"]
    if options.config is not None:
        command += ["--config", str(options.config)]
    if options.state_dir is not None:
        command += ["--state-dir", options.state_dir]
    edge = EdgeChild(command, sockets, log, before=None if before is None else before.state.edge)
    return edge, [_written(listening) for listening in sockets]


def _written(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return str(ListenAddress(host, port))
