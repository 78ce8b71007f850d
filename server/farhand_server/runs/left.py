"""Runs that are over and have left processes running, which belong to nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from farhand_protocol.left import LeftProcesses

from .past import PastRun
from .process.cgroup import Cgroups
from .process.left import LeftTree, LeftTreeSnapshot
from .snapshots import SnapshotRecord


class LeftRunSnapshot(SnapshotRecord):
    """A run that has left processes running, and what identifies these."""

    run: PastRun
    tree: LeftTreeSnapshot


class LeftRuns:
    """Knows each run whose left processes are not all gone. At least one process exists for each, which bounds them."""

    def __init__(self) -> None:
        self._runs: dict[str, tuple[PastRun, LeftTree]] = {}

    def __iter__(self) -> Iterator[PastRun]:
        """Iterate over a copy of the runs, in the order in which they ended."""
        return iter([run for run, _ in self._runs.values()])

    def add(self, run: PastRun, tree: LeftTree) -> None:
        """Add a run until the last of the processes in `tree` has ended."""
        self._runs[run.id] = run, tree
        tree.on_end = partial(self._ended, run.id)

    def get(self, run_id: str) -> LeftTree | None:
        """Return the processes that a run has left running; None if there are none."""
        found = self._runs.get(run_id)
        return None if found is None else found[1]

    def describe(self, run_id: str, recorded: LeftProcesses | None) -> LeftProcesses | None:
        """Return the processes that a run has left behind: those that are alive now, or else what is `recorded`."""
        tree = self.get(run_id)
        now = None if tree is None else tree.describe()
        if now is not None or recorded is None:
            return now
        return recorded.model_copy(update={"pids": ()})

    def _ended(self, run_id: str) -> None:
        self._runs.pop(run_id, None)

    def snapshot(self) -> tuple[LeftRunSnapshot, ...]:
        """Return the state for `restore`."""
        return tuple(LeftRunSnapshot(run=run, tree=tree.snapshot()) for run, tree in self._runs.values())

    def restore(self, snapshots: Iterable[LeftRunSnapshot], cgroups: Cgroups | None) -> None:
        """Continue from a snapshot, before the active runs are restored. Call this only on a new object.

        This must happen in the same turn of the event loop as `prepare_loop`.
        """
        for snapshot in snapshots:
            self.add(snapshot.run, LeftTree.restore(snapshot.tree, cgroups))
