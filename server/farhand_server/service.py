"""One core, from its start to its end.

    serve: restore runs -> listen -> start the edge -> ready -> wait for a signal -> drain -> stop listening -> close

Signals control the core: SIGTERM and SIGINT stop it, and a second one ends the runs' grace period; SIGHUP reloads the
configuration, the policy and the public host key, or stops the core if its own terminal was closed (`hangup`); SIGUSR2
upgrades the core (`upgrade.replace`). Sessions and listeners use the service as their context, which always has the
current `config`, `policy`, `authenticator`, `registry`, `sessions` and `note`.

To drain, the core refuses new runs and new clients, and tells the others how long runs may still take; after
`drain.grace` it stops the runs, then gives clients `SHUTDOWN_GRACE` seconds to receive their last messages.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited

from .admission.admission import Judgement
from .admission.judging import Judging
from .admission.plan_memo import PlanMemo
from .admission.shares import Shares, shares_shown
from .audit import AuditEntry
from .auth.accounts import Principal
from .auth.work import LoginWork
from .cleaning import Cleaning
from .config import ConfigError, ServiceConfig
from .config.origin import site_name
from .connection.context import OpenSessions
from .credentials import Credentials
from .filewatch import FileWatch
from .hangup import OwnTerminal
from .ledger import Ledger
from .listen.children import FacingChildren
from .listen.clients import ProxiedConnection
from .listen.feeds import VerdictFeeds
from .listen.gate import EdgeGate, LocalGate
from .listen.keeper import SocketKeeper
from .listen.unix import UnixListener, only
from .logs import Logger
from .loopwatch import LoopWatch
from .policy import Policy, policy_in_force
from .runs.kept import Retention
from .runs.output.spool import SpoolMemory
from .runs.plan import RunResult
from .runs.process.cgroup import Cgroups
from .runs.process.process import prepare_loop
from .runs.registry import Registry
from .runs.run import LiveRun
from .runtime import blocking_executor, reset_signals
from .sources import Source, source_of_peer
from .systemd import Notifier
from .throttle import LogThrottle
from .tickets import ticket_key
from .upgrade.replace import Upgrader
from .upgrade.snapshot import ReceivedSnapshot
from .worker import workers

if TYPE_CHECKING:  # `make_authenticator` loads it if it is needed
    from .auth.login import Authenticator

SHUTDOWN_GRACE: Final = 2.0
"""Seconds that clients have to receive a drained service's last messages before their connections are aborted."""


class Service:
    """One core. `serve` runs it. The other methods are called on signals, and by sessions and upgrades."""

    def __init__(
        self,
        config: ServiceConfig,
        log: Logger,
        ledger: Ledger,
        *,
        policy: Policy,
        reload: Callable[[], ServiceConfig],
        accepted: Callable[[ServiceConfig], None],
        notifier: Notifier,
        write_log: Callable[[bool], None],
        children: FacingChildren | None = None,
        terminal: OwnTerminal | None = None,
        watch: LoopWatch | None = None,
        resume: ReceivedSnapshot | None = None,
    ) -> None:
        """`reload` reads the configuration again, or raises `ConfigError`. `accepted` is called with each configuration
        that comes into force. `write_log` stops and restarts the writing of the log. `terminal` is the one that the
        service ends with. `watch` has made the loop that the service runs on. `resume` is the snapshot of the program
        that this one has replaced in its process.
        """
        self.config = config
        self.policy = policy
        self.authenticator = make_authenticator(config)
        self.login_work = LoginWork()
        self.sessions = OpenSessions()
        self.ledger = ledger
        ledger.configure(config)
        bounds = ledger.spools.bounds
        bounds.use(policy.bounds_of)
        self._cgroups = Cgroups.find()
        self.registry = Registry(
            ledger,
            memory=SpoolMemory(config.runs.memory, bounds=bounds),
            retention=_retention(config),
            directory=ledger.spools,
            cgroups=self._cgroups,
            on_end=self._run_ended,
            on_failure=self._run_failed,
            time_of=self.sessions.time_of,
        )
        self.shares = Shares(self.registry)
        self.judging: dict[str, Judging[Judgement]] = {}
        self.plans = PlanMemo()
        self.listeners: list[UnixListener] = []
        self.sockets = SocketKeeper(self.listeners, log, self._show_status)
        self.children = children
        self.terminal = terminal or OwnTerminal(ends_service=False)
        self.log = log
        self.notifier = notifier
        self.write_log = write_log
        self._reload = reload
        self._accepted = accepted
        self._resume = resume
        self.ticket_key = None if self.authenticator is None else ticket_key(config.state_dir)
        self._feeds = VerdictFeeds(self.ticket_key, self._source_refused)
        self._throttle = LogThrottle(log, time.monotonic)
        self._gate = LocalGate(self, log)
        self.cleaning = Cleaning(self)
        self._upgrader = Upgrader(self)
        self._loop_watch = watch or LoopWatch(log)
        self._state_watch: FileWatch | None = None
        self._began = time.monotonic()
        self._shown: str | None = None
        """The line that `systemctl status` shows; None until the service is ready."""
        self._stop = asyncio.Event()
        self._grace: asyncio.Timeout | None = None
        ledger.on_change = self._show_status

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT, then drain. `ready` is called once the core accepts clients.

        Raises `ListenError` and `EdgeFailed`.
        """
        self._start_loop()
        watchdog = asyncio.create_task(self.notifier.keep_watchdog(), name="watchdog")
        try:
            await self._listen()
            ready()
            self._loop_watch.start()
            self._show_ready()
            if self._resume is not None:
                self._upgrader.announce_upgraded(self._resume.snapshot)
            self.cleaning.start()
            await self._stop.wait()
            await self._upgrader.stop()
            self.cleaning.stop()
            await self.sockets.stop()
            self.listeners[0].withdraw()  # a successor with another state directory may take the path
            await self._drain()
        finally:
            watchdog.cancel()
            self.cleaning.stop()
            self._loop_watch.close()
            await self.sockets.stop()
            self._close_listeners()
            self._gate.close()
            self.terminal.close()
            if self._state_watch is not None:
                self._state_watch.close()
            self._feeds.close()
            if self.children is not None:
                await self.children.stop()
            await workers.current().close()
            if self._cgroups is not None:
                self._cgroups.close()
        self.log.info("stopped")

    def _start_loop(self) -> None:
        """Prepare the event loop for processes, restore the previous program's runs, and install signal handlers."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(blocking_executor())
        before = self._resume
        workers.current().on_hung = self._worker_hung
        prepare_loop(() if before is None else before.snapshot.unreaped_leaders(), sole_parent=True)
        if before is not None:
            self.registry.restore(before.snapshot.runs, before.snapshot.left_runs, before.get)
            before.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        loop.add_signal_handler(signal.SIGUSR2, self._upgrader.request)
        self.terminal.watch()
        reset_signals()

    async def _listen(self) -> None:
        before = None if self._resume is None else self._resume.snapshot
        # Anyone may connect to the local socket, because the kernel tells who the peer is.
        local = UnixListener(
            self.config.socket,
            self._gate.admit,
            None if before is None else before.local,
            log=self._throttle,
        )
        self.listeners.append(local)
        # After an upgrade, nothing new may fail, because running programs depend on the service. So edges for a newly
        # created host key have to wait for a restart.
        if self.authenticator is not None and (before is None or before.edges is not None):
            edges = UnixListener(
                self.config.edge.socket,
                EdgeGate(self, lambda: ProxiedConnection(self, self.log, self._feeds), self._throttle).admit,
                None if before is None else before.edges,
                access=only(self.config.edge.account),
                log=self._throttle,
            )
            self.listeners.append(edges)
        for listener in self.listeners:
            await listener.open()
        await self.sockets.check()  # the previous program's may have been removed
        self.sockets.start()
        self._state_watch = FileWatch(self.ledger.files, self._check_state, self.log)
        if self.children is not None:
            await (self.children.start() if before is None else self.children.start_again())

    def _close_listeners(self) -> None:
        for listener in self.listeners:
            listener.close()

    async def _drain(self) -> None:
        grace = self.config.drain.grace
        self.notifier.stopping(f"draining {len(self.registry)} runs")
        self.log.info("draining", runs=len(self.registry), grace=grace)
        self.registry.refuse_new()
        self.sessions.announce_shutdown(grace)
        try:
            async with asyncio.timeout(grace) as self._grace:
                await self.registry.done()
        except TimeoutError:
            pass  # the runs are stopped
        self._grace = None
        workers.current().hurry()
        self.registry.stop_all("draining", kill_after=self.config.runs.kill_after)
        await self.registry.idle()
        self._close_listeners()
        await self.sessions.finish(SHUTDOWN_GRACE)
        self.registry.close()

    # Signals

    def stop(self) -> None:
        """Start draining. When called again, end the runs' grace period."""
        self._stop.set()
        grace, self._grace = self._grace, None
        if grace is not None:
            grace.reschedule(asyncio.get_running_loop().time())

    def _hung_up(self) -> None:
        if not self.terminal.has_hung_up():
            self.reload()
        elif not self.stopping:  # kernel and shell may both send the signal, and a second stop ends the grace period
            self.log.warning("terminal was closed; stopping. nohup(1) prevents that")
            self.stop()

    def reload(self) -> None:
        """Read configuration, policy and host key again. If any of them cannot be used, nothing changes."""
        self.notifier.reloading()
        self.sockets.check_soon()
        self._check_state()
        try:
            config = self._reload()
            policy = policy_in_force(config.policy)
            authenticator = make_authenticator(config)
            if authenticator is None and self.authenticator is not None:
                raise FileNotFoundError(f"the host key in {config.state_dir} was removed; put it back")
        except (ConfigError, OSError, ValueError) as error:
            self.notifier.ready("serving; the last reload was refused, see the log")
            self.log.error("reload refused; the old configuration is kept", reason=str(error))
            return
        self.config = config
        self.policy = policy
        self.shares.bounds.use(policy.bounds_of)
        self.authenticator = authenticator
        for edges in self.listeners[1:]:
            edges.set_access(only(config.edge.account))
        self.ledger.configure(config)
        self.registry.memory.limit = config.runs.memory
        self.registry.kept.retention = _retention(config)
        self._accepted(config)
        if self.children is not None:
            self.children.reload()
        self._show_ready()
        self.log.info("reloaded")

    # What sessions, upgrades and the registry need

    def note(self, entry: AuditEntry) -> None:
        """Add an event to the audit log, to be written soon."""
        self.ledger.note(entry)

    @property
    def stopping(self) -> bool:
        """Whether the service has been told to stop."""
        return self._stop.is_set()

    @property
    def faults(self) -> tuple[str, ...]:
        """A sentence for each thing that the service cannot do now, although it is running."""
        return (*self.ledger.faults, *self.sockets.faults)

    def status(self, who: Principal) -> m.ServiceStatus:
        """Return the state of the service itself, with the shares that `who` may see."""
        return m.ServiceStatus(
            pid=os.getpid(),
            uptime=time.monotonic() - self._began,
            runs=len(self.registry),
            connections=len(self.sessions),
            draining=self.stopping,
            faults=self.faults[: m.MAX_FAULTS],
            shares=shares_shown(self.shares, who, self.config),
            holds=m.LoopHolds(**self._loop_watch.holds._asdict()),
        )

    def _status_line(self) -> str:
        return "; ".join(["serving", *self.faults])

    def _source_refused(self, source: Source) -> None:
        """Let the runs of absent clients of a source wait longer, because an edge refuses them."""
        self.registry.client_refused(lambda who: who.address is not None and source_of_peer(who.address) == source)

    def _check_state(self) -> None:
        self.ledger.check_files()

    def _show_ready(self) -> None:
        self._shown = self._status_line()
        self.notifier.ready(self._shown)

    def _show_status(self) -> None:
        line = self._status_line()
        if self._shown not in (None, line):
            self._shown = line
            self.notifier.status(line)

    def _run_ended(self, run: LiveRun, result: RunResult) -> None:
        # An exit is ordinary, and an info line for each would cost a tenth of a short run's time.
        exited = isinstance(result.outcome, Exited)
        log = self.log.debug if exited else self.log.limited(self.sessions.lines.of(f"user {run.plan.owner}")).info
        log(
            "run ended",
            run=run.plan.id,
            user=run.plan.owner,
            program=run.plan.argv[0].decode(errors="backslashreplace"),
            outcome=result.outcome.status,
            duration=round(result.duration, 3),
        )

    def _worker_hung(self, user: Credentials | None) -> None:
        name = self.shares.user(os.geteuid()) if user is None else user.user
        self.log.warning("a user's worker did not answer and is replaced", user=name, seconds=workers.ANSWER_TIMEOUT)

    def _run_failed(self, run: LiveRun, error: Exception) -> None:
        self.log.error("run failed because of an internal error", run=run.plan.id, user=run.plan.owner, error=error)


def _retention(config: ServiceConfig) -> Retention:
    return Retention(config.runs.kept_runs, config.runs.kept_for, config.runs.kept_disk)


def make_authenticator(config: ServiceConfig) -> Authenticator | None:
    """Return the authenticator for logins by key; None without a host key, because then there is no edge and no such
    login.

    Raises OSError and ValueError for a host key that cannot be used.
    """
    file = config.state_dir / "host_key.pub"
    if not file.exists():
        return None
    # A service for only local clients needs no cryptography, and starts faster without it.
    from .auth.accounts import every_account, only_account, own_account
    from .auth.login import Authenticator
    from .auth.webauthn import PasskeySite
    from .hostkey import load_public_host_key

    key = load_public_host_key(file)
    files = config.login.authorized_keys
    own = own_account(files)
    accounts = every_account(files) if own.uid == 0 else only_account(own)
    origin = config.web.origin
    site = None if origin is None else PasskeySite(origin, site_name(origin))
    return Authenticator(spki_sha256=key.spki_sha256, accounts=accounts, decoy=own, site=site)
