"""The core's life: sockets, sessions and runs come up, are drained and go, in that order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farhand_protocol.outcome import Exited

from .audit import Entry
from .config import Config, ConfigError
from .ledger import Ledger
from .listener import BACKLOG, LocalClient, bind
from .logs import Logger
from .policy import Policy, policy_in_force
from .runs.cgroup import Cgroups
from .runs.plan import Result
from .runs.process import prepare_loop, reset_signals
from .runs.registry import Registry, Retention
from .runs.run import Run
from .runs.spool import Memory
from .session import Session
from .systemd import Notifier
from .verdicts import VerdictFeeds

if TYPE_CHECKING:
    from .auth.login import Authenticator
    from .edge_child import EdgeChild

FAREWELL: Final = 2.0
"""Seconds that clients have to take the last messages of a drained service before their connections are cut."""


class Service:
    """One core. `reload` returns the configuration read anew, or raises `ConfigError`; `accepted` is told of one that
    has come into force."""

    def __init__(
        self,
        config: Config,
        log: Logger,
        ledger: Ledger,
        *,
        policy: Policy,
        reload: Callable[[], Config],
        accepted: Callable[[Config], None],
        notifier: Notifier,
        edge: EdgeChild | None = None,
    ) -> None:
        self.config = config
        self.policy = policy
        self.sessions: set[Session] = set()
        self.ledger = ledger
        self.registry = Registry(
            ledger,
            memory=Memory(config.runs.memory),
            retention=_retention(config),
            spool_directory=config.state_dir / "spool",
            cgroups=Cgroups.find(),
            on_end=self._run_ended,
            on_failure=self._run_failed,
        )
        self.authenticator = make_authenticator(config)
        self._log = log
        self._reload = reload
        self._accepted = accepted
        self._notifier = notifier
        self._edge = edge
        self._feeds = VerdictFeeds()
        self._stop = asyncio.Event()
        self._grace: asyncio.Timeout | None = None

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT, then drain. `ready` is called once clients are taken.

        The socket for edges is there where there is a host key. Raises `ListenError` or `EdgeFailed`.
        """
        loop = asyncio.get_running_loop()
        prepare_loop()
        reset_signals()
        paths = [self.config.socket]
        # Anyone may connect, the kernel says who it is: only the service's own account gets further.
        servers = [
            await loop.create_unix_server(
                lambda: LocalClient(self, self._log), sock=bind(self.config.socket, 0o666), backlog=BACKLOG
            )
        ]
        if self.authenticator is not None:
            from .edge_clients import EdgeClient

            path = self.config.edge.socket
            paths.append(path)
            servers.append(
                await loop.create_unix_server(
                    lambda: EdgeClient(self, self._log, self._feeds), sock=bind(path, 0o666), backlog=BACKLOG
                )
            )
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        watchdog = asyncio.create_task(self._notifier.keep_watchdog(), name="watchdog")
        try:
            if self._edge is not None:
                await self._edge.start()
            ready()
            self._notifier.ready("serving")
            await self._stop.wait()
            _close(servers, paths)
            paths.clear()
            await self._drain()
        finally:
            watchdog.cancel()
            _close(servers, paths)
            self._feeds.close()
            if self._edge is not None:
                await self._edge.stop()
        self._log.info("stopped")

    def note(self, entry: Entry) -> None:
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
        self._notifier.reloading()
        try:
            config = self._reload()
            policy = policy_in_force(config.policy)
            authenticator = make_authenticator(config)
        except (ConfigError, OSError, ValueError) as error:
            self._notifier.ready("serving; the last reload was refused, see the log")
            self._log.error("reload refused; the old configuration stays", reason=str(error))
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
        self._notifier.ready("serving")
        self._log.info("reloaded")

    async def _drain(self) -> None:
        grace = self.config.drain.grace
        self._notifier.stopping(f"draining {len(self.registry)} runs")
        self._log.info("draining", runs=len(self.registry), grace=grace)
        self.registry.refuse_new()
        for session in tuple(self.sessions):
            session.going_away(grace)
        try:
            async with asyncio.timeout(grace) as self._grace:
                await self.registry.idle()
        except TimeoutError:
            self._grace = None
            self.registry.stop_all("draining", kill_after=self.config.runs.kill_after)
            await self.registry.idle()
        self._grace = None
        for session in tuple(self.sessions):
            session.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await asyncio.gather(*(session.gone.wait() for session in self.sessions))
        for session in tuple(self.sessions):
            session.abort()

    def _run_ended(self, run: Run, result: Result) -> None:
        # What ended by itself is ordinary; a line for each would cost a tenth of a short run.
        log = self._log.debug if isinstance(result.outcome, Exited) else self._log.info
        log(
            "run ended",
            run=run.plan.id,
            user=run.plan.owner,
            program=run.plan.argv[0].decode(errors="backslashreplace"),
            outcome=result.outcome.status,
            duration=round(result.duration, 3),
        )

    def _run_failed(self, run: Run, error: Exception) -> None:
        self._log.error("run failed by a fault of the service", run=run.plan.id, user=run.plan.owner, error=error)


def _retention(config: Config) -> Retention:
    return Retention(config.runs.kept_runs, config.runs.kept_for, config.runs.kept_disk)


def _close(servers: Iterable[asyncio.Server], paths: Iterable[Path]) -> None:
    # The path first: once nobody listens there, another service may take it, and that one's must stay.
    for path in paths:
        path.unlink(missing_ok=True)
    for server in servers:
        server.close()


def make_authenticator(config: Config) -> Authenticator | None:
    """Return who judges logins by key; None where there is no host key, and so no edge and no such login."""
    file = config.state_dir / "host_key.pub"
    if not file.exists():
        return None
    # A service for local clients alone has no need of cryptography, and starts sooner without.
    from .auth.accounts import every, only, own_account
    from .auth.login import Authenticator
    from .hostkey import load_public

    key = load_public(file)
    files = config.login.authorized_keys
    own = own_account(files)
    accounts = every(files) if own.uid == 0 else only(own)
    return Authenticator(spki_sha256=key.spki_sha256, accounts=accounts, decoy=own)
