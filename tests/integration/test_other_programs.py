"""Programs that start ssh by themselves work over `farhand run -i` instead, as the README says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def env(own: dict[str, str]) -> dict[str, str]:
    """An environment in which `farhand` is found, and git knows who commits."""
    names = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return own | names | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def act(env: dict[str, str], *command: str | Path) -> None:
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr


@pytest.mark.needs("rsync")
def test_rsync_copies_both_ways(env: dict[str, str], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "it's a file").write_bytes(os.urandom(300_000))
    act(env, "rsync", "-a", "-e", "farhand run -i", f"{source}/", f"web:{tmp_path}/there/")
    act(env, "rsync", "-a", "-e", "farhand run -i", f"web:{tmp_path}/there/", f"{tmp_path}/back/")
    assert (tmp_path / "back/it's a file").read_bytes() == (source / "it's a file").read_bytes()


@pytest.mark.needs("git")
def test_git_clones_and_pushes(env: dict[str, str], tmp_path: Path) -> None:
    env["GIT_SSH_COMMAND"] = "farhand run -i --shell"
    remote, clone = tmp_path / "it's remote.git", tmp_path / "clone"
    act(env, "git", "init", "--quiet", "--bare", remote)
    act(env, "git", "clone", "--quiet", f"web:{remote}", clone)
    act(env, "git", "-C", clone, "commit", "--quiet", "--allow-empty", "-m", "First")
    act(env, "git", "-C", clone, "push", "--quiet", "origin", "HEAD:main")
    act(env, "git", "-C", remote, "rev-parse", "--verify", "--quiet", "main")
