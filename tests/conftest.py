"""Fixtures and rules for all tests."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from tests.support import front_mode
from tests.support.inherited import reset_inherited_state
from tests.support.service import Service, running_service
from tests.support.warm import FARHAND, FARHANDD

# Here, not in a hook: the workers of xdist and whatever the tests start inherit it.
reset_inherited_state()
os.environ["FARHAND_SSH_CONFIG"] = "none"  # what this account says about hosts is not for tests

pytest_plugins = ["tests.support.progress", "tests.support.scheduling"]

# The same examples on every run unless a seed is given, and no limits on time: the machines that run this are shared.
STEADY: Final = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", STEADY, derandomize=True)
settings.register_profile("seeded", STEADY, derandomize=False, print_blob=True)
settings.load_profile("same")

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


STARTING: Final = frozenset(
    f"tests.support.{name}"
    for name in (
        "command",
        "installed_service",
        "policy_service",
        "service",
        "shells",
        "systemd",
        "tmux",
        "upgrades",
        "warm",
    )
)
"""Modules that start a service, a terminal program or systemd."""

PASSED: Final = pytest.StashKey[bool]()

FOLDERS: Final = tuple(Path(__file__).parent / name for name in ("integration", "deploy", "benchmarks"))
"""Where every test does."""


def pytest_configure(config: pytest.Config) -> None:
    """Give this session a short directory of its own: pytest's makes all sessions of a user close each other's to other
    accounts, and its names are long. Workers of xdist have theirs below it. It is removed unless a test fails."""
    if config.getoption("--hypothesis-seed") is not None:
        settings.load_profile("seeded")
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = tempfile.mkdtemp(prefix="fh-")
        config.pluginmanager.register(BaseTemp(Path(config.option.basetemp)))


def pytest_report_header(config: pytest.Config) -> str:
    """Say which examples hypothesis tries. Tests that use `random` have their seeds in their code."""
    seed = config.getoption("--hypothesis-seed")
    return f"examples: by --hypothesis-seed={seed}" if seed is not None else "examples: the same on every run"


class BaseTemp:
    """Removes the session's directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            shutil.rmtree(self._directory, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that start a service. Skip `needs("program")` where it is missing; under CI `_needs` fails."""
    starts = functools.cache(starts_service)
    for item in items:
        if isinstance(item, pytest.Function) and starts(item.module):
            item.add_marker("service")
        names = [name for mark in item.iter_markers("needs") for name in mark.args]
        missing = [name for name in names if not available(name)]
        if missing and not os.environ.get("CI"):
            item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(missing)}, which is not installed"))


def pytest_collection_finish() -> None:
    """Leave the collected tests out of garbage collection: they stay, and take a sixth of the time of short tests."""
    gc.collect()
    gc.freeze()


def starts_service(module: ModuleType) -> bool:
    """Whether tests of `module` start a service, a terminal program or systemd: it is in their folders, or uses a name
    from the modules that start them, be it as the type of a fixture."""
    if any(Path(module.__file__ or "/").is_relative_to(folder) for folder in FOLDERS):
        return True
    values = vars(module).values()
    return any(
        getattr(value, "__module__", None) in STARTING
        or (isinstance(value, ModuleType) and value.__name__ in STARTING)
        or value in (FARHAND, FARHANDD)
        for value in values
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember for `tmp_path` whether the test has passed."""
    report = yield
    if call.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    names = [name for mark in request.node.iter_markers("needs") for name in mark.args]
    missing = [name for name in names if not available(name)]
    if missing:
        pytest.fail(f"needs {', '.join(missing)}: under CI a missing program is a failure")


if front_mode.KIND is not None:

    @pytest.fixture(autouse=True)
    def _helpers() -> Iterator[None]:
        with front_mode.ending_helpers():
            yield


def available(name: str) -> bool:
    """Whether a system program is there, or, for `root`, whether the tests run as root."""
    if name == "root":
        return os.geteuid() == 0
    return shutil.which(name, path=os.environ.get("PATH", "") + ":" + SYSTEM_PATH) is not None


@pytest.fixture(scope="session")
def new_directory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes empty directories. `TempPathFactory.mktemp` would read the names of all earlier ones each time: after 4,000
    that takes 6 ms, and some tests of hypothesis make one for each example."""
    base, numbers = tmp_path_factory.getbasetemp(), itertools.count()

    def make() -> Path:
        directory = base / f"t{next(numbers)}"
        directory.mkdir(0o700)
        return directory

    return make


@pytest.fixture
def tmp_path(new_directory: Callable[[], Path], request: pytest.FixtureRequest) -> Iterator[Path]:
    """As pytest's, but without the test's name: sockets and prompts need short paths (`inherited.MAX_TMPDIR`). It is
    removed at once if the test passes, so that not all of them are left to the end of the session, for one process."""
    directory = new_directory()
    yield directory
    if request.node.stash.get(PASSED, False):
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A farhandd of its own on a Unix socket, with directories of its own."""
    async with running_service(tmp_path) as running:
        yield running
