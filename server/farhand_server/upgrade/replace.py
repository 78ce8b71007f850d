"""Replaces the program of a running core: tries the new program, stops serving, and executes it, or continues as
before."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from typing import Final, Protocol

from .. import __version__
from ..config import ServiceConfig
from ..connection.context import OpenSessions
from ..hangup import OwnTerminal
from ..history import SCHEMA_VERSION
from ..ledger import Ledger
from ..listen.children import FacingChildren
from ..listen.keeper import SocketKeeper
from ..listen.unix import UnixListener
from ..logs import Logger
from ..runs.registry import RecordUnavailable, Registry
from ..systemd import Notifier
from ..worker import workers
from .program import UpgradeRefused, block_signals, execute, try_program, unblock_signals
from .result import UpgradeResult, announce_result
from .snapshot import Snapshot, SnapshotWriter

SETTLE_TIMEOUT: Final = 5.0
"""Seconds to wait for runs that are just being started or recorded. Unless the disk is slow, they take a few
milliseconds."""


class RunStarter(Protocol):
    """Starts runs from `start` until `stop`."""

    def start(self) -> None:
        """Begin, or begin again."""

    def stop(self) -> None:
        """Start no more runs."""


class UpgradableCore(Protocol):
    """What an upgrade needs from the core."""

    @property
    def config(self) -> ServiceConfig:
        """The configuration in force."""

    @property
    def log(self) -> Logger:
        """The core's logger."""

    @property
    def notifier(self) -> Notifier:
        """Reports the core's state to the service manager."""

    @property
    def terminal(self) -> OwnTerminal:
        """The terminal that the service ends with."""

    @property
    def ledger(self) -> Ledger:
        """The records in history and audit log."""

    @property
    def registry(self) -> Registry:
        """The registry of all runs."""

    @property
    def sessions(self) -> OpenSessions:
        """The sessions of all clients."""

    @property
    def listeners(self) -> Sequence[UnixListener]:
        """The listener for local clients and, if there is one, the listener for edges."""

    @property
    def sockets(self) -> SocketKeeper:
        """Restores the listeners' sockets if they are removed."""

    @property
    def cleaning(self) -> RunStarter:
        """What starts runs on its own: it must not do so while a snapshot is taken."""

    @property
    def children(self) -> FacingChildren | None:
        """The processes that this core has started to face the network, if any."""

    @property
    def stopping(self) -> bool:
        """Whether the service has been told to stop."""

    def write_log(self, enabled: bool) -> None:
        """Stop or restart the thread that writes the log, because only the calling thread survives execve(2)."""


class Upgrader:
    """Upgrades a core on request. A refused upgrade changes nothing: the old program continues."""

    def __init__(self, core: UpgradableCore) -> None:
        self._core = core
        self._task: asyncio.Task[None] | None = None

    def request(self) -> None:
        """Start an upgrade, unless one is in progress. The result is logged, and sent to everyone who waits for it."""
        if self._core.stopping:
            self._refuse("the service is draining")
        elif self._task is None:
            self._task = asyncio.create_task(self._upgrade(), name="upgrade")
        else:
            self._core.log.info("an upgrade is already in progress")

    async def stop(self) -> None:
        """Cancel an upgrade that is in progress."""
        task = self._task
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._refuse("the service was told to stop")

    def announce_upgraded(self, before: Snapshot) -> None:
        """Report, in the new program, that the upgrade has succeeded."""
        away = round(time.monotonic() - before.left, 3)
        runs = len(self._core.registry)
        self._core.log.info("upgraded", version=__version__, before=before.program, runs=runs, away=away)
        self._announce(UpgradeResult(result="upgraded", version=__version__, runs=runs, away=away))

    async def _upgrade(self) -> None:
        self._core.notifier.reloading()
        try:
            await self._check_files()
            version = await self._try_program()
            self._core.log.info("upgrading", version=version, runs=len(self._core.registry))
            await self._replace_program()
        except UpgradeRefused as error:
            self._refuse(str(error))
        except Exception as error:  # noqa: BLE001  # a bug in the upgrade must not end the old program
            self._core.log.error("upgrade failed because of an internal error", error=error)
            self._refuse("an internal error of the service; its log has the details")
        finally:
            self._task = None

    def _refuse(self, reason: str) -> None:
        self._core.log.error("upgrade refused; the old program keeps running", reason=reason)
        if not self._core.stopping:
            self._core.notifier.ready("serving; the last upgrade was refused, see the log")
        self._announce(UpgradeResult(result="refused", reason=reason))

    def _announce(self, result: UpgradeResult) -> None:
        announce_result(self._core.listeners[0].path, result)

    async def _check_files(self) -> None:
        """Restore sockets that were removed. Raises `UpgradeRefused` if clients could not come back, or if the history
        could not be opened again."""
        sockets, ledger = self._core.sockets, self._core.ledger
        ledger.check_files()
        sockets.check_soon()
        await sockets.check()
        faults = [*filter(None, [ledger.fault]), *sockets.faults]
        if faults:
            raise UpgradeRefused("; ".join(faults))

    async def _try_program(self) -> str:
        """Let the installed program read a snapshot of this core, and return its version. Raises `UpgradeRefused`."""
        writer = SnapshotWriter(counting=True)
        try:
            trial = writer.write(self._snapshot(writer, lock=None, left=time.monotonic()))
        except OSError as error:
            raise UpgradeRefused(f"the snapshot cannot be written: {error.strerror}") from None
        try:
            return await try_program(trial)
        finally:
            os.close(trial)

    async def _replace_program(self) -> None:
        """Execute the installed program in this process.

        Does not return if it succeeds. If it raises `UpgradeRefused` or is cancelled, the core serves again as before.
        """
        lock: int | None = None
        mask: set[signal.Signals] | None = None
        left = time.monotonic()
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT):
                await self._suspend()
                mask = await block_signals()
                while not self._core.registry.settled:  # a signal has reported that a program ended meanwhile
                    unblock_signals(mask)
                    mask = None
                    await self._suspend()
                    mask = await block_signals()
            if self._core.stopping:
                raise UpgradeRefused("the service was told to stop")
            # Nothing may be awaited from here on, because the new program continues from exactly this snapshot.
            lock = self._core.ledger.hand_over()
            self._execute(lock, left)
        except TimeoutError:
            raise UpgradeRefused(f"runs that were being started did not start within {SETTLE_TIMEOUT:g} s") from None
        except RecordUnavailable as error:
            raise UpgradeRefused(str(error)) from None
        except OSError as error:
            raise UpgradeRefused(f"the new program cannot be executed: {error.strerror}") from None
        finally:
            if mask is not None:
                unblock_signals(mask)
            await self._resume(lock)

    async def _suspend(self) -> None:
        """Disconnect all clients, and wait until every run is in a state that a snapshot can record."""
        core = self._core
        core.cleaning.stop()
        core.registry.await_return()
        workers.current().hurry()
        for listener in core.listeners:
            listener.pause()
        if core.children is not None:
            await core.children.stop_restarting()
        await core.sessions.abort()
        await core.registry.settle()
        await core.ledger.suspend()
        while not core.registry.settled:
            await core.registry.settle()
            await core.ledger.suspend()
        await workers.current().close()  # the new program starts its own

    async def _resume(self, lock: int | None) -> None:
        """Undo `_suspend`, and `Ledger.hand_over` if it has returned `lock`."""
        core = self._core
        if lock is None:
            core.ledger.resume()
        else:
            core.ledger.reopen(core.config, core.log, lock)
        core.registry.stop_awaiting()
        workers.current().take_time()
        if core.children is not None:
            core.children.keep_running()
        for listener in core.listeners:
            await listener.open()
        core.cleaning.start()

    def _execute(self, lock: int, left: float) -> None:
        writer = SnapshotWriter()
        snapshot = self._snapshot(writer, lock=lock, left=left)
        fd = writer.write(snapshot)
        try:
            self._core.write_log(False)
            try:
                core = self._core
                environment = {**os.environ, **core.notifier.environment(), **core.terminal.environment()}
                execute(fd, snapshot.descriptors(), environment)
            finally:
                self._core.write_log(True)
        finally:
            os.close(fd)

    def _snapshot(self, writer: SnapshotWriter, *, lock: int | None, left: float) -> Snapshot:
        """Return the state of the core that outlives its program. Changes nothing."""
        core = self._core
        edge, web = (None, None) if core.children is None else (core.children.edge, core.children.web)
        local, *edges = (listener.fileno() for listener in core.listeners)
        return Snapshot(
            program=__version__,
            left=left,
            lock=lock,
            local=local,
            edges=edges[0] if edges else None,
            listening=() if edge is None else edge.sockets,
            edge=None if edge is None else edge.pid,
            web_listening=() if web is None else web.sockets,
            web=None if web is None else web.pid,
            runs=core.registry.snapshot(writer.put),
            left_runs=core.registry.left.snapshot(),
            history_version=SCHEMA_VERSION,
        )
