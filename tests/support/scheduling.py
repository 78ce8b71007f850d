"""Which tests one worker of xdist runs after another, because they share something that is expensive to make.

All others are given to whichever worker is free. The marks `xdist_group` would say the same, but xdist 3.8 adds them to
node ids in a way that pytest 9 ignores.
"""

from __future__ import annotations

from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # has no types
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]  # likewise

GROUPS: Final = {
    "tests/deploy/": "the session's installation: a virtual environment filled by pip, twelve seconds of CPU time",
    "tests/integration/programs/": "a service, an sshd and a helper",
}
"""Folders whose tests run in one worker, and what they share. The largest group starts first."""

ALONE: Final = ("tests/integration/programs/test_through_cuts.py",)
"""Modules of these folders that share nothing with the others."""


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # as said
    """Gives out tests one by one, and those of a group to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        # Called by LoadScopeScheduling: tests of one scope go to one worker.
        if nodeid.startswith(ALONE):
            return nodeid
        return next((folder for folder in GROUPS if nodeid.startswith(folder)), nodeid)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        # Otherwise all earlier scopes of the worker, in the end thousands, would be counted after each test.
        scope = self._split_scope(self.registered_collections[node][item_index])
        super().mark_test_complete(node, item_index, duration)
        if all(self.assigned_work[node][scope].values()):
            del self.assigned_work[node][scope]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> GroupScheduling | None:
    """Used by xdist's controller for --dist=loadgroup."""
    return GroupScheduling(config, log) if config.getvalue("dist") == "loadgroup" else None
