"""Removes what transfers that did not end by themselves have left behind: once the service has started, and daily.

    history -> destinations of transfers that were killed or lost -> one run after the other -> transfer worker: `sweep`

The service opens none of these paths: each is swept by a transfer worker that has become the user, in a run like any
other: judged, limited, stopped and recorded. Nothing waits for these runs, and what one of them cannot do is left to
the next transfer to that directory.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from typing import Final, Protocol

from farhand_files.temporary import MAX_AGE
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Outcome

from .admission.caller import Caller
from .admission.shares import Shares, ShareUsedUp
from .admission.sweep import SWEEP_TIMEOUT, plan_sweep
from .auth.accounts import LoginMethod, Principal, user_name
from .config import ServiceConfig
from .descriptors import check_descriptors
from .history import UnfinishedTransfer
from .ledger import Ledger
from .logs import Logger
from .policy import Policy, subject_of
from .runs.environment import Home
from .runs.plan import RunResult
from .runs.registry import RecordUnavailable, Registry, ServiceDraining, TooManyRuns

CLEANING_INTERVAL: Final = 24 * 3600.0
"""Seconds between two rounds: what becomes old enough meanwhile waits for no more than another day."""

MAX_DESTINATIONS: Final = 32
"""Destinations of one round, those of the last transfers: each takes a worker, some 60 ms of processor time, so a round
takes no more than two seconds of it."""

SETTLED_AGE: Final = MAX_AGE + 600.0
"""Seconds after the end of a transfer from which on a sweep is the last one of its destination: all that it has left
was old enough, also if the sweep itself took its time."""

SWEEP_END_TIMEOUT: Final = 2 * SWEEP_TIMEOUT
"""Seconds after which the next destination's turn comes all the same: a run may wait for its start, and a process that
waits for a file server cannot even be killed."""


class CleaningContext(Protocol):
    """What is needed from the core."""

    @property
    def config(self) -> ServiceConfig:
        """The configuration in force."""

    @property
    def policy(self) -> Policy:
        """The policy in force."""

    @property
    def registry(self) -> Registry:
        """The registry of all runs."""

    @property
    def shares(self) -> Shares:
        """What each user may use."""

    @property
    def ledger(self) -> Ledger:
        """The records in history and audit log."""

    @property
    def log(self) -> Logger:
        """The core's logger."""


class Cleaning:
    """Sweeps one destination after the other, from `start` until `stop`."""

    def __init__(self, core: CleaningContext) -> None:
        self._core = core
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin a round soon, and another one each day."""
        self.stop()
        self._task = asyncio.create_task(self._keep_clean(), name="cleaning")

    def stop(self) -> None:
        """Start no more runs. May be called twice. A run that has started goes on, as every run does."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _keep_clean(self) -> None:
        while True:
            try:
                await self._round()
            except Exception as error:  # noqa: BLE001  # a bug here must not end what is of use to others
                self._core.log.error("cleaning failed because of an internal error", error=error)
            await asyncio.sleep(CLEANING_INTERVAL)

    async def _round(self) -> None:
        before = oldest_kept()
        try:
            found = await self._core.ledger.unfinished_transfers(before=before, age=SETTLED_AGE, limit=MAX_DESTINATIONS)
        except RecordUnavailable as error:
            self._core.log.debug("unfinished transfers cannot be looked up", reason=str(error))
            return
        for transfer in found:
            try:
                await self._sweep(transfer, before)
            except (OSError, RecordUnavailable, ServiceDraining, ShareUsedUp, TooManyRuns) as error:
                self._core.log.debug("destination of a transfer is not swept", user=transfer.owner, reason=str(error))

    async def _sweep(self, transfer: UnfinishedTransfer, before: float) -> None:
        core = self._core
        caller = await asyncio.to_thread(caller_of, transfer)  # passwd(5) may be a server's
        if caller is None:
            return
        config = core.config
        plan = plan_sweep(str(uuid.uuid4()), transfer.path, caller, config, core.policy, before=before)
        if plan is None:
            return
        core.shares.check_run(plan, config)
        run = core.registry.start(plan, max_runs=config.runs.max_runs)
        end = _End()
        run.attachments.bystanders.append(end)
        try:
            async with asyncio.timeout(SWEEP_END_TIMEOUT):
                await end.reached.wait()
        except TimeoutError:
            return
        if end.removed:
            path = os.fsdecode(transfer.path)
            core.log.info("leftovers of transfers were removed", user=transfer.owner, path=path, files=end.removed)


def oldest_kept() -> float:
    """Return the time of the last change from which on a leftover is kept for the next attempt."""
    return time.time() - MAX_AGE


def caller_of(transfer: UnfinishedTransfer) -> Caller | None:
    """Return who has requested a transfer; None if there is no such account now. Raises OSError if the service lacks
    descriptors: then no account would be found."""
    check_descriptors()
    own = os.geteuid()
    if own not in (0, transfer.uid) or user_name(transfer.uid) != transfer.owner:
        return None
    methods: tuple[LoginMethod, ...] = ("key", "passkey", "peer")
    how: LoginMethod = next((each for each in methods if each == transfer.how), "peer")
    principal = Principal(transfer.owner, transfer.uid, how, transfer.fingerprint)
    home = Home.of(transfer.uid)
    return Caller(principal, home, subject_of(principal, home))


class _End:
    """Watches a run for its end, and for what it has removed."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.removed = 0

    def started(self) -> None:
        pass

    def stdin_taken(self) -> None:
        pass

    def exited(self, outcome: Outcome) -> None:
        pass

    def ended(self, result: RunResult) -> None:
        self.removed = 0 if result.transfer is None else result.transfer.deleted
        self.reached.set()

    def failed(self, code: ErrorCode, sentence: str) -> None:
        self.reached.set()

    def replaced(self) -> None:
        pass
