"""Which tests one worker of xdist runs after another, because they share something that is expensive to make.

All others are given to whichever worker is free. The marks `xdist_group` would say the same, but xdist 3.8 adds them to
node ids in a way that pytest 9 ignores.
"""

from __future__ import annotations

from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # has no types

GROUPS: Final = {
    "tests/deploy/": "the session's installation: a virtual environment filled by pip, twelve seconds of CPU time",
    "tests/integration/programs/": "a service, an sshd and a helper",
}
"""Folders whose tests run in one worker, and what they share. The largest group starts first."""


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # as said
    """Gives out tests one by one, and those of a group to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        # Called by LoadScopeScheduling: tests of one scope go to one worker.
        return next((folder for folder in GROUPS if nodeid.startswith(folder)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> GroupScheduling | None:
    """Used by xdist's controller for --dist=loadgroup."""
    return GroupScheduling(config, log) if config.getvalue("dist") == "loadgroup" else None
