"""Between the runs and what outlives them."""

from __future__ import annotations

from .runs.plan import Result
from .runs.run import Run


class NoLedger:
    """Remembers nothing."""

    def starting(self, run: Run) -> None:
        """Ledger."""

    def ended(self, run: Run, result: Result) -> None:
        """Ledger."""

    def flush(self) -> None:
        """Ledger."""

    def find(self, run_id: str) -> Run | None:
        """Ledger."""
        return None

    def forget(self, run: Run) -> None:
        """Ledger."""
