"""`farhandd serve`: runs a core in the foreground, and an edge beside it if there is an address to listen on."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import socket

from farhand_protocol.sentences import unforeseen_sentence
from farhand_server import __version__
from farhand_server.admission.shares import CORE_DESCRIPTORS, RUN_DESCRIPTORS
from farhand_server.audit import AuditError
from farhand_server.config import ListenAddress, ServiceConfig
from farhand_server.hangup import OwnTerminal
from farhand_server.history import HistoryError
from farhand_server.hostkey import HostKeyFileError, ensure_host_key
from farhand_server.ledger import open_ledger
from farhand_server.lingering import lingering_warning
from farhand_server.listen.edge_child import EdgeChild, EdgeFailed, bind_tcp
from farhand_server.listen.unix import ListenError
from farhand_server.logs import Logger, Sink
from farhand_server.loopwatch import LoopWatch
from farhand_server.policy import policy_in_force
from farhand_server.runs.process import slot
from farhand_server.runtime import UNTIL_HANDLED, freeze_loaded_objects, reset_signals
from farhand_server.service import Service, make_authenticator
from farhand_server.systemd import Notifier
from farhand_server.upgrade.snapshot import ReceivedSnapshot, SnapshotError

from .command import configuration
from .report import CommandFailed, ResultNotWritten, print_result


def serve(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    if options.check_resume is not None:
        return _check_snapshot(options, options.check_resume)
    slot.reserve()  # before anything else takes the low numbers
    terminal = OwnTerminal.at_start(resumed=options.resume is not None)
    if options.resume is None:  # after an upgrade, signals remain blocked until the handlers are installed
        reset_signals(keep=UNTIL_HANDLED)
    notifier = Notifier.from_environment()
    previous = None if options.resume is None else _take_snapshot(options.resume)
    config = configuration(options)
    policy = policy_in_force(config.policy)
    sink = Sink()
    log = Logger(sink, {})
    watch = LoopWatch(log)

    def accepted(config: ServiceConfig) -> None:
        sink.configure(config.log.format, config.log.level)
        warn_if_few_descriptors(config, log)

    def write_log(enabled: bool) -> None:
        if enabled:
            sink.start()
        else:
            sink.close()

    async def run() -> None:
        async with open_ledger(config, log, lock=None if previous is None else previous.snapshot.lock) as ledger:
            edge, addresses = _edge(config, options, log, previous)
            service = Service(
                config,
                log,
                ledger,
                policy=policy,
                reload=lambda: configuration(options),
                accepted=accepted,
                notifier=notifier,
                write_log=write_log,
                edge=edge,
                terminal=terminal,
                watch=watch,
                resume=previous,
            )
            addresses_text = ", ".join([str(config.socket), *addresses])

            def ready() -> None:
                freeze_loaded_objects()
                if previous is None:  # after an upgrade, perhaps nobody reads stdout any more
                    report_ready(addresses_text, log)

            await service.serve(ready)

    accepted(config)
    if previous is None and (warning := lingering_warning(config.socket)) is not None:
        log.warning(warning)
    sink.start()
    try:
        with asyncio.Runner(loop_factory=watch.new_loop) as runner:
            runner.get_loop()  # before there is a coroutine that would never run if this fails
            runner.run(run())
    except (ListenError, EdgeFailed, HostKeyFileError, HistoryError, AuditError) as error:
        raise CommandFailed(str(error)) from None
    except OSError as error:
        raise CommandFailed(unforeseen_sentence(error)) from None
    finally:
        sink.close()
        notifier.close()
    return 0


def report_ready(addresses: str, log: Logger) -> None:
    """Print that the service is ready. If nobody can read that, the service is no less ready."""
    try:
        print_result(f"farhandd: ready on {addresses}")
    except (ResultNotWritten, BrokenPipeError) as error:
        log.warning("ready, but that cannot be printed", reason=str(error))


def _take_snapshot(fd: int) -> ReceivedSnapshot:
    """Read the previous program's snapshot, and prevent child processes from inheriting its descriptors."""
    os.set_inheritable(fd, False)
    try:
        previous = ReceivedSnapshot.read(fd)
    except SnapshotError as error:
        raise CommandFailed(str(error)) from None
    for number in previous.snapshot.descriptors():
        os.set_inheritable(number, False)
    return previous


def _check_snapshot(options: argparse.Namespace, fd: int) -> int:
    """Print whether this program could resume from a snapshot with the current configuration."""
    config = configuration(options)
    try:
        policy_in_force(config.policy)
        authenticator = make_authenticator(config)
        previous = ReceivedSnapshot.read(fd)
        if authenticator is None and previous.snapshot.edges is not None:
            raise SnapshotError(f"the host key in {config.state_dir} was removed; put it back")
    except (SnapshotError, OSError, ValueError) as error:
        raise CommandFailed(str(error)) from None
    print_result(f"resumable {__version__}")
    return 0


def warn_if_few_descriptors(config: ServiceConfig, log: Logger) -> None:
    """Log a warning if the limit on descriptors is below what `runs.max_runs` needs.

    The service does not raise the limit: commands inherit it, and a program that uses select(2) breaks above 1,024. An
    administrator can raise it for both.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.runs.max_runs * RUN_DESCRIPTORS + CORE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning(
            "too few descriptors for runs.max_runs; excess runs will not start",
            max_runs=config.runs.max_runs,
            fit=max(0, soft - CORE_DESCRIPTORS) // RUN_DESCRIPTORS,
            descriptors=soft,
            needed=needed,
        )


def _edge(
    config: ServiceConfig, options: argparse.Namespace, log: Logger, previous: ReceivedSnapshot | None
) -> tuple[EdgeChild | None, list[str]]:
    """Return the edge to run beside the core, if any, and the addresses it listens on."""
    if previous is not None:
        sockets = [socket.socket(fileno=number) for number in previous.snapshot.listening]
    else:
        sockets = bind_tcp(config.listen)
    if not sockets:
        return None, []
    ensure_host_key(config.state_dir)
    command = ["-m", "farhand_server", "edge"]
    if options.config is not None:
        command += ["--config", str(options.config)]
    if options.state_dir is not None:
        command += ["--state-dir", options.state_dir]
    edge = EdgeChild(command, sockets, log, before=None if previous is None else previous.snapshot.edge)
    return edge, [_address_text(listening) for listening in sockets]


def _address_text(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return str(ListenAddress(host, port))
