"""The state directory while a service has it: history and audit log, and what a dead service left running."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .audit import AuditLog
from .config import ServiceConfig
from .history import History
from .ledger import Ledger
from .logs import Logger
from .runs.process.orphans import end_orphans


@asynccontextmanager
async def open_state_directory(
    config: ServiceConfig, log: Logger, *, resume: int | None = None
) -> AsyncIterator[Ledger]:
    """Have the state directory: end the orphans of a service that died, then keep its books until the block ends.

    With `resume`, what `Ledger.hand_over` returned in the program before this one, nobody has died. Raises
    `HistoryError` and `AuditError`, where another service has the directory too.
    """
    history, audit = _open(config, log, resume)
    ledger = Ledger(history, audit)
    try:
        if resume is None:
            sweep = await end_orphans(history.lost, log)
            history.orphans_ended(sweep.clean)
            _clear_spools(config)
        try:
            yield ledger
        finally:
            await ledger.close()
    finally:
        ledger.put_away()


def take_back(ledger: Ledger, lock: int, config: ServiceConfig, log: Logger) -> None:
    """Go on with books that were handed over to a program that could not be executed. Raises as
    `open_state_directory` does."""
    ledger.take_back(*_open(config, log, lock))


def _open(config: ServiceConfig, log: Logger, resume: int | None) -> tuple[History, AuditLog]:
    if resume is not None:
        return _open_again(config, log, resume)
    history = History.open(config.state_dir, config.history, log)
    try:
        return history, AuditLog.open(config.state_dir, config.audit, log)
    except BaseException:
        history.close()
        raise


def _open_again(config: ServiceConfig, log: Logger, resume: int) -> tuple[History, AuditLog]:
    # The runs that are under way must not end because a disk has filled up: see `Ledger.starting`.
    history = History.open(config.state_dir, config.history.model_copy(update={"required": False}), log, resume=resume)
    history.configure(config.history)
    audit = AuditLog.open(config.state_dir, config.audit.model_copy(update={"required": False}), log)
    audit.configure(config.audit)
    return history, audit


def _clear_spools(config: ServiceConfig) -> None:
    # Where a ring on disk began and ended was known to the service that is dead.
    directory = config.state_dir / "spool"
    if directory.is_dir():
        for file in directory.iterdir():
            file.unlink(missing_ok=True)
