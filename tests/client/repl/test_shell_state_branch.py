"""The branch of a directory. The script runs in a real sh, without git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from farhand_client.repl.shell_state import BRANCH_SCRIPT, MAX_BRANCH_COLUMNS, parse_branch


def branch(directory: Path) -> str | None:
    done = subprocess.run(["/bin/sh", "-c", BRANCH_SCRIPT], cwd=directory, env={}, capture_output=True, check=False)
    assert done.stderr == b""
    return parse_branch(done.stdout)


def repository(path: Path, head: str) -> Path:
    (path / ".git").mkdir(parents=True)
    (path / ".git/HEAD").write_text(head)
    return path


def test_the_branch_is_that_of_the_enclosing_repository(tmp_path: Path) -> None:
    below = repository(tmp_path / "a b", "ref: refs/heads/feature/Ü\n") / "src/deep"
    below.mkdir(parents=True)
    assert branch(below) == branch(tmp_path / "a b") == "feature/Ü"


def test_a_directory_outside_of_repositories_has_no_branch(tmp_path: Path) -> None:
    assert branch(tmp_path) is None
    assert branch(Path("/")) is None


def test_a_detached_head_is_shown_as_a_short_commit(tmp_path: Path) -> None:
    assert branch(repository(tmp_path / "r", "0123456789abcdef0123456789abcdef01234567\n")) == "0123456"


@pytest.mark.parametrize("relative", [True, False])
def test_a_worktree_has_its_own_branch(tmp_path: Path, relative: bool) -> None:
    repository(tmp_path / "main", "ref: refs/heads/main\n")
    place = tmp_path / "main/.git/worktrees/w"
    place.mkdir(parents=True)
    (place / "HEAD").write_text("ref: refs/heads/topic\n")
    (tmp_path / "w").mkdir()
    (tmp_path / "w/.git").write_text(f"gitdir: {'../main/.git/worktrees/w' if relative else place}\n")
    assert branch(tmp_path / "w") == "topic"


def test_an_incomplete_repository_has_no_branch(tmp_path: Path) -> None:
    (tmp_path / "r/.git").mkdir(parents=True)
    assert branch(tmp_path / "r") is None
    (tmp_path / "r/.git/HEAD").mkdir()
    assert branch(tmp_path / "r") is None


@pytest.mark.parametrize(
    ("head", "shown"),
    [
        (b"", None),
        (b"ref: refs/heads/.invalid", None),
        (b"ref: refs/remotes/origin/x", "refs/remotes/origin/x"),
        (b"ref: refs/heads/\x1b]0;x\x07", "\\x1b]0;x\\x07"),
        (b"ref: refs/heads/\xff", "\ufffd"),
        (b"ref: refs/heads/" + b"x" * 100, "x" * (MAX_BRANCH_COLUMNS - 1) + "…"),
    ],
)
def test_control_characters_are_escaped_and_long_names_truncated(head: bytes, shown: str | None) -> None:
    assert parse_branch(head) == shown
