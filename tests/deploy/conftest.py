"""An installation made once per worker, wheels for installing without a network, and a check for systemd."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.systemd import require_systemd

DEPLOY = Path(__file__).parents[2] / "deploy"


def offline(wheels: Path) -> dict[str, str]:
    """Return the environment in which pip installs everything from *wheels*."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}


@dataclass(frozen=True)
class Installation:
    """The result of `DESTDIR=root deploy/install`, shared by the whole session: tests must not change it."""

    root: Path
    output: str

    @property
    def program(self) -> Path:
        """The virtual environment."""
        return self.root / "usr/local/lib/farhand"


def install(root: Path, *arguments: str, **environ: str) -> str:
    """Run deploy/install with DESTDIR=*root*; return its output."""
    result = subprocess.run(
        [DEPLOY / "install", *arguments],
        env={**os.environ, "DESTDIR": str(root), **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stderr


@pytest.fixture(scope="session")
def systemd() -> None:
    """Skip if no systemd can be booted, before anything is installed for it."""
    require_systemd()


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    root = tmp_path_factory.mktemp("installation")
    return Installation(root, install(root))


@pytest.fixture(scope="session")
def wheels(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels that deploy/install needs from an index."""
    folder = tmp_path_factory.mktemp("wheels")
    python = installation.program / "bin/python"
    for lock in ("requirements.lock", "build.lock"):
        subprocess.run(
            [python, "-m", "pip", "download", "--quiet", "--dest", folder, "--requirement", DEPLOY / lock],
            check=True,
            capture_output=True,
        )
    return folder
