"""The locks name, with hashes, a release of each package that the project depends on."""

import re
import tomllib

import pytest

from tests.deploy.conftest import DEPLOY

PROJECT = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())
PINNED = re.compile(r"^([a-z0-9-]+)==([0-9.]+)(.*(?:\n    .*)*)", re.MULTILINE)


def locked(name: str) -> dict[str, tuple[str, str]]:
    """Return version and hashes of each package in a lock."""
    return {found[1]: (found[2], found[3]) for found in PINNED.finditer((DEPLOY / name).read_text())}


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@pytest.mark.parametrize("lock", ["requirements.lock", "build.lock"])
def test_every_locked_package_has_a_hash(lock: str) -> None:
    assert locked(lock)
    for name, (_, hashes) in locked(lock).items():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", hashes), name
    lines = [line for line in (DEPLOY / lock).read_text().splitlines() if not line.startswith((" ", "#"))]
    assert len(lines) == len(locked(lock))


def test_the_lock_has_every_dependency_in_a_version_that_the_project_allows() -> None:
    packages = locked("requirements.lock")
    project = PROJECT["project"]
    for requirement in project["dependencies"] + project["optional-dependencies"]["delta"]:
        name, lowest = requirement.replace("_", "-").split(">=")
        assert numbers(packages[name][0]) >= numbers(lowest), name


def test_the_lock_has_what_builds_the_project() -> None:
    assert set(PROJECT["build-system"]["requires"]) <= set(locked("build.lock"))
