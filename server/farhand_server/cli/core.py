"""Runs the core, with all that it consists of. `serve` imports this once it has launched the edge: it takes as long."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable

from farhand_server import __version__
from farhand_server.admission.shares import CORE_DESCRIPTORS, RUN_DESCRIPTORS
from farhand_server.audit import AuditError
from farhand_server.config import ListenAddress, ServiceConfig
from farhand_server.hangup import OwnTerminal
from farhand_server.history import HistoryError
from farhand_server.hostkey import ensure_host_key
from farhand_server.ledger import open_ledger
from farhand_server.lingering import lingering_warning
from farhand_server.listen.children import FacingChildren
from farhand_server.listen.edge_child import ChildCommands, EdgeChild, LaunchedEdge, bind_tcp
from farhand_server.logs import Logger, LogSink
from farhand_server.loopwatch import LoopWatch
from farhand_server.policy import policy_in_force
from farhand_server.runtime import freeze_loaded_objects
from farhand_server.service import Service, make_authenticator
from farhand_server.systemd import Notifier
from farhand_server.upgrade.snapshot import ReceivedSnapshot, SnapshotError

from .report import CommandFailed, ResultNotWritten, print_result


async def run_core(
    config: ServiceConfig,
    reload: Callable[[], ServiceConfig],
    *,
    commands: ChildCommands,
    launched: LaunchedEdge | None,
    log: Logger,
    sink: LogSink,
    notifier: Notifier,
    terminal: OwnTerminal,
    watch: LoopWatch,
    previous: ReceivedSnapshot | None,
) -> None:
    """Serve until told to stop. `reload` reads the configuration again. Raises CommandFailed."""

    def accepted(config: ServiceConfig) -> None:
        sink.configure(config.log.format, config.log.level)
        warn_if_few_descriptors(config, log)

    def write_log(enabled: bool) -> None:
        if enabled:
            sink.start()
        else:
            sink.close()

    policy = policy_in_force(config.policy)
    accepted(config)
    if previous is None:
        for warning in (lingering_warning(config.socket), web_warning(config, os.geteuid())):
            if warning is not None:
                log.warning(warning)
    try:
        async with open_ledger(config, log, lock=None if previous is None else previous.snapshot.lock) as ledger:
            children, addresses = _children(config, commands, launched, log, previous)
            service = Service(
                config,
                log,
                ledger,
                policy=policy,
                reload=reload,
                accepted=accepted,
                notifier=notifier,
                write_log=write_log,
                children=children,
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
    except (HistoryError, AuditError) as error:
        raise CommandFailed(str(error)) from None


def web_warning(config: ServiceConfig, uid: int) -> str | None:
    """Return a warning if a service of this account starts the process that faces browsers as root; otherwise None."""
    if uid != 0 or not config.web.listen:
        return None
    return (
        "the process that faces browsers runs as root: remove web.listen, and enable farhand-web.socket, whose service "
        "runs as edge.account in a sandbox"
    )


def report_ready(addresses: str, log: Logger) -> None:
    """Print that the service is ready. If nobody can read that, the service is no less ready."""
    try:
        print_result(f"farhandd: ready on {addresses}")
    except (ResultNotWritten, BrokenPipeError) as error:
        log.warning("ready, but that cannot be printed", reason=str(error))


def take_snapshot(fd: int) -> ReceivedSnapshot:
    """Read the previous program's snapshot, and prevent child processes from inheriting its descriptors."""
    os.set_inheritable(fd, False)
    try:
        previous = ReceivedSnapshot.read(fd)
    except SnapshotError as error:
        raise CommandFailed(str(error)) from None
    for number in previous.snapshot.descriptors():
        os.set_inheritable(number, False)
    return previous


def check_snapshot(config: ServiceConfig, fd: int) -> int:
    """Print whether this program could resume from a snapshot with the current configuration."""
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


def _children(
    config: ServiceConfig,
    commands: ChildCommands,
    launched: LaunchedEdge | None,
    log: Logger,
    previous: ReceivedSnapshot | None,
) -> tuple[FacingChildren | None, list[str]]:
    """Return the processes to run beside the core, if any, and the addresses that they listen on."""
    if previous is not None:
        before = previous.snapshot
        sockets = [socket.socket(fileno=number) for number in before.listening]
        web_sockets = [socket.socket(fileno=number) for number in before.web_listening]
        pids = before.edge, before.web
    else:
        sockets, web_sockets, pids = bind_tcp(config.listen), bind_tcp(config.web.listen), (None, None)
    if not sockets and not web_sockets:
        return None, []
    ensure_host_key(config.state_dir)
    edge = EdgeChild(commands.edge, sockets, log, before=pids[0], launched=launched) if sockets else None
    web = EdgeChild(commands.web, web_sockets, log, before=pids[1]) if web_sockets else None
    texts = [*map(_address_text, sockets), *(f"{_address_text(each)} (web)" for each in web_sockets)]
    return FacingChildren(edge, web), texts


def _address_text(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return str(ListenAddress(host, port))
