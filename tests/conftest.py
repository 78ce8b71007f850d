"""Fixtures and rules for all tests."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.service import Service, running_service

# The same examples on every run, and no deadline: the machines that run this are shared.
settings.register_profile("steady", derandomize=True, deadline=None, database=None)
settings.load_profile("steady")

# A runner in the background of a script hands on SIGINT ignored; what the tests start has to be interruptible.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`needs("program")`: skip where the program is missing, fail there under CI, which installs it."""
    for item in items:
        names = [name for mark in item.iter_markers("needs") for name in mark.args]
        missing = [name for name in names if not available(name)]
        if missing and not os.environ.get("CI"):
            item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(missing)}, which is not installed"))


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    names = [name for mark in request.node.iter_markers("needs") for name in mark.args]
    missing = [name for name in names if not available(name)]
    if missing:
        pytest.fail(f"needs {', '.join(missing)}: under CI a missing program is a failure")


def available(name: str) -> bool:
    """Whether a system program is there, or, for `root`, whether the tests run as root."""
    if name == "root":
        return os.geteuid() == 0
    return shutil.which(name, path=os.environ.get("PATH", "") + ":" + SYSTEM_PATH) is not None


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A farhandd of its own on a Unix socket, with directories of its own."""
    async with running_service(tmp_path) as running:
        yield running
