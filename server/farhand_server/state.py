"""The state directory while a service has it: history and audit log, and what a dead service left running."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .audit import Audit
from .config import Config
from .history import History
from .ledger import Ledger
from .logs import Logger
from .runs.orphans import end_orphans


@asynccontextmanager
async def opened(config: Config, log: Logger) -> AsyncIterator[Ledger]:
    """Have the state directory: end the orphans of a service that died, then keep its books until the block ends.

    Raises `HistoryError` and `AuditError`, where another service has the directory too.
    """
    history = History.open(config.state_dir, config.history, log)
    try:
        audit = Audit.open(config.state_dir, config.audit, log)
        try:
            sweep = await end_orphans(history.lost, log)
            history.orphans_ended(sweep.clean)
            _clear_spools(config)
            ledger = Ledger(history, audit)
            try:
                yield ledger
            finally:
                await ledger.close()
        finally:
            audit.close()
    finally:
        history.close()


def _clear_spools(config: Config) -> None:
    # Where a ring on disk began and ended was known to the service that is dead.
    directory = config.state_dir / "spool"
    if directory.is_dir():
        for file in directory.iterdir():
            file.unlink(missing_ok=True)
