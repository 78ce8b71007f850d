"""The core's life: sockets, sessions and runs come up, are drained and go, in that order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from farhand_protocol.outcome import Exited

from . import __version__
from .audit import AuditEntry
from .config import ConfigError, ServiceConfig
from .connection.context import OpenSessions
from .ledger import Ledger
from .listen.clients import LocalConnection, ProxiedConnection
from .listen.login_verdicts import VerdictFeeds
from .listen.unix import UnixListener
from .logs import Logger
from .policy import Policy, policy_in_force
from .runs.output.spool import SpoolMemory
from .runs.plan import RunResult
from .runs.process.cgroup import Cgroups
from .runs.process.process import prepare_loop
from .runs.registry import Registry, Retention
from .runs.run import LiveRun
from .runtime import blocking_executor, reset_signals
from .state import take_back
from .systemd import Notifier
from .upgrade import handover as passing
from .upgrade.program import UpgradeRefused
from .upgrade.replace import replace
from .upgrade.result import UpgradeResult, announce_result
from .upgrade.snapshot import ReceivedSnapshot, Snapshot, SnapshotWriter

if TYPE_CHECKING:
    from .auth.login import Authenticator
    from .listen.edge_child import EdgeChild

SHUTDOWN_GRACE: Final = 2.0
"""Seconds that clients have to take the last messages of a drained service before their connections are cut."""


class Service:
    """One core. `reload` returns the configuration read anew, or raises `ConfigError`; `accepted` is told of one that
    has come into force."""

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
        silence: Callable[[bool], None],
        edge: EdgeChild | None = None,
        resume: ReceivedSnapshot | None = None,
    ) -> None:
        """`silence` ends the writing of the log, for True, and begins it anew. `resume` is the state of the program
        that this one has replaced in its process."""
        self.config = config
        self.policy = policy
        self.sessions = OpenSessions()
        self.ledger = ledger
        ledger.configure(config)
        self.registry = Registry(
            ledger,
            memory=SpoolMemory(config.runs.memory),
            retention=_retention(config),
            spool_directory=config.state_dir / "spool",
            cgroups=Cgroups.find(),
            on_end=self._run_ended,
            on_failure=self._run_failed,
        )
        self.authenticator = make_authenticator(config)
        self.log = log
        self._reload = reload
        self._accepted = accepted
        self.notifier = notifier
        self.silence = silence
        self._edge = edge
        self._resume = resume
        self._doors: list[UnixListener] = []
        self._upgrading: asyncio.Task[None] | None = None
        self._feeds = VerdictFeeds()
        self._stop = asyncio.Event()
        self._grace: asyncio.Timeout | None = None

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT, then drain. `ready` is called once clients are taken.

        The socket for edges is there where there is a host key. Raises `ListenError` or `EdgeFailed`.
        """
        loop = asyncio.get_running_loop()
        loop.set_default_executor(blocking_executor())
        before = None if self._resume is None else self._resume.state
        prepare_loop(() if before is None else passing.awaited(before.runs))
        if self._resume is not None:
            passing.put_together(self.registry, self._resume.state.runs, self._resume.get)
            self._resume.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        loop.add_signal_handler(signal.SIGUSR2, self.upgrade)
        reset_signals()
        watchdog = asyncio.create_task(self.notifier.keep_watchdog(), name="watchdog")
        try:
            self._make_doors(before)
            for door in self._doors:
                await door.open()
            if self._edge is not None:
                await (self._edge.start() if before is None else self._edge.start_again())
            ready()
            self.notifier.ready("serving")
            if before is not None:
                self._tell_upgraded(before)
            await self._stop.wait()
            await self._end_upgrade()
            for door in self._doors:
                door.close()
            await self._drain()
        finally:
            watchdog.cancel()
            for door in self._doors:
                door.close()
            self._feeds.close()
            if self._edge is not None:
                await self._edge.stop()
        self.log.info("stopped")

    def _make_doors(self, before: Snapshot | None) -> None:
        # Anyone may connect, the kernel says who it is: only the service's own account gets further.
        self._doors.append(
            UnixListener(
                self.config.socket, lambda: LocalConnection(self, self.log), None if before is None else before.local
            )
        )
        # What could fail has no place in a program that others depend on: a host key that is new waits for a restart.
        if self.authenticator is not None and (before is None or before.edges is not None):
            self._doors.append(
                UnixListener(
                    self.config.edge.socket,
                    lambda: ProxiedConnection(self, self.log, self._feeds),
                    None if before is None else before.edges,
                )
            )

    def note(self, entry: AuditEntry) -> None:
        """Core."""
        self.ledger.note(entry)

    def stop(self) -> None:
        """Begin to drain; called once more, end the grace of the runs."""
        self._stop.set()
        grace, self._grace = self._grace, None
        if grace is not None:
            grace.reschedule(asyncio.get_running_loop().time())

    def reload(self) -> None:
        """Read configuration, policy and keys again; what cannot be used changes nothing, and is said."""
        self.notifier.reloading()
        try:
            config = self._reload()
            policy = policy_in_force(config.policy)
            authenticator = make_authenticator(config)
        except (ConfigError, OSError, ValueError) as error:
            self.notifier.ready("serving; the last reload was refused, see the log")
            self.log.error("reload refused; the old configuration stays", reason=str(error))
            return
        self.config = config
        self.policy = policy
        self.authenticator = authenticator
        self.ledger.configure(config)
        self.registry.memory.limit = config.runs.memory
        self.registry.retention = _retention(config)
        self._accepted(config)
        if self._edge is not None:
            self._edge.reload()
        self.notifier.ready("serving")
        self.log.info("reloaded")

    def upgrade(self) -> None:
        """Have the program that is installed now take this one's place, in this process. Where that fails, all goes on
        as it was, and it is said."""
        if self._stop.is_set():
            self._refused("the service is draining")
        elif self._upgrading is None:
            self._upgrading = asyncio.create_task(self._upgrade(), name="upgrade")
        else:
            self.log.info("an upgrade is under way already")

    async def _upgrade(self) -> None:
        self.notifier.reloading()
        try:
            await replace(self)
        except UpgradeRefused as error:
            self._refused(str(error))
        except Exception as error:  # noqa: BLE001  # whatever it is, the old program goes on
            self.log.error("upgrade failed by a fault of the service", error=error)
            self._refused("a fault of the service; its log has it")
        finally:
            self._upgrading = None

    def _refused(self, reason: str) -> None:
        self.log.error("upgrade refused; the old program stays", reason=reason)
        if not self._stop.is_set():
            self.notifier.ready("serving; the last upgrade was refused, see the log")
        announce_result(self._doors[0].path, UpgradeResult(result="refused", reason=reason))

    def _tell_upgraded(self, before: Snapshot) -> None:
        away = round(time.monotonic() - before.left, 3)
        self.log.info("upgraded", version=__version__, before=before.program, runs=len(self.registry), away=away)
        announce_result(
            self._doors[0].path,
            UpgradeResult(result="upgraded", version=__version__, runs=len(self.registry), away=away),
        )

    async def _end_upgrade(self) -> None:
        task = self._upgrading
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._refused("the service was told to stop")

    # For `upgrade.replace`

    def state(self, blobs: SnapshotWriter, *, lock: int | None, left: float) -> Snapshot:
        """Return what goes along; nothing changes by that."""
        edges = self._doors[1:]
        return Snapshot(
            program=__version__,
            left=left,
            lock=lock,
            local=self._doors[0].fileno(),
            edges=edges[0].fileno() if edges else None,
            listening=() if self._edge is None else self._edge.sockets,
            edge=None if self._edge is None else self._edge.pid,
            runs=passing.take_apart(self.registry, blobs.put),
        )

    @property
    def settled(self) -> bool:
        """Whether every run is in a state that goes along."""
        return passing.settled(self.registry)

    @property
    def stopping(self) -> bool:
        """Whether the service is to end."""
        return self._stop.is_set()

    async def let_go(self) -> None:
        """Let all clients go and wait until every run is in a state that goes along. `take_back` undoes it."""
        passing.wait_longer(self.registry)
        for door in self._doors:
            door.pause()
        if self._edge is not None:
            await self._edge.let_be()
        await self.sessions.abort()
        await passing.settle(self.registry)
        await self.ledger.close()
        while not passing.settled(self.registry):
            await passing.settle(self.registry)
            await self.ledger.close()

    async def take_back(self, lock: int | None) -> None:
        """Go on; with the `lock` that the ledger has handed over, if it has."""
        if lock is None:
            self.ledger.reopen()
        else:
            take_back(self.ledger, lock, self.config, self.log)
        passing.wait_as_usual(self.registry)
        if self._edge is not None:
            self._edge.keep()
        for door in self._doors:
            await door.open()

    async def _drain(self) -> None:
        grace = self.config.drain.grace
        self.notifier.stopping(f"draining {len(self.registry)} runs")
        self.log.info("draining", runs=len(self.registry), grace=grace)
        self.registry.refuse_new()
        self.sessions.announce_shutdown(grace)
        try:
            async with asyncio.timeout(grace) as self._grace:
                await self.registry.idle()
        except TimeoutError:
            self._grace = None
            self.registry.stop_all("draining", kill_after=self.config.runs.kill_after)
            await self.registry.idle()
        self._grace = None
        await self.sessions.finish(SHUTDOWN_GRACE)

    def _run_ended(self, run: LiveRun, result: RunResult) -> None:
        # What ended by itself is ordinary; a line for each would cost a tenth of a short run.
        log = self.log.debug if isinstance(result.outcome, Exited) else self.log.info
        log(
            "run ended",
            run=run.plan.id,
            user=run.plan.owner,
            program=run.plan.argv[0].decode(errors="backslashreplace"),
            outcome=result.outcome.status,
            duration=round(result.duration, 3),
        )

    def _run_failed(self, run: LiveRun, error: Exception) -> None:
        self.log.error("run failed by a fault of the service", run=run.plan.id, user=run.plan.owner, error=error)


def _retention(config: ServiceConfig) -> Retention:
    return Retention(config.runs.kept_runs, config.runs.kept_for, config.runs.kept_disk)


def make_authenticator(config: ServiceConfig) -> Authenticator | None:
    """Return who judges logins by key; None where there is no host key, and so no edge and no such login."""
    file = config.state_dir / "host_key.pub"
    if not file.exists():
        return None
    # A service for local clients alone has no need of cryptography, and starts sooner without.
    from .auth.accounts import every_account, only_account, own_account
    from .auth.login import Authenticator
    from .hostkey import load_public_host_key

    key = load_public_host_key(file)
    files = config.login.authorized_keys
    own = own_account(files)
    accounts = every_account(files) if own.uid == 0 else only_account(own)
    return Authenticator(spki_sha256=key.spki_sha256, accounts=accounts, decoy=own)
