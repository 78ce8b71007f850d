"""`farhandd audit verify`: what it prints, and its exit code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from farhand_server.audit import AuditEntry, AuditLog
from farhand_server.config import AuditSettings
from tests.server.test_cli import farhandd
from tests.support.history import LogFile


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with three entries."""
    lines = LogFile(tmp_path)
    audit = AuditLog.open(tmp_path / "state/farhand", AuditSettings(), lines.logger)
    for _ in range(3):
        audit.record(AuditEntry("login", 0.0, user="ada"))
    audit.close()
    lines.close()
    return tmp_path / "state/farhand"


def verify(tmp_path: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    return farhandd(tmp_path, "audit", "verify", *map(str, files))


@pytest.mark.parametrize("named", [False, True])
def test_a_whole_chain_is_said(tmp_path: Path, state: Path, named: bool) -> None:
    done = verify(tmp_path, *([state / "audit.jsonl"] if named else []))
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == "3 entries, chain unbroken"
    assert second.startswith("from entry 1 to 3, hash ")


def test_the_first_break_is_said_with_file_line_and_entry(tmp_path: Path, state: Path) -> None:
    file = state / "audit.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + lines[1].replace("ada", "eve") + lines[2])
    done = verify(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"farhandd: the audit log is broken: {file}: line 2: at entry 2: the line was changed: "
        "its hash is not that of its text\n"
    )


def test_where_there_is_none_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "state/farhand").mkdir(parents=True)
    done = verify(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"farhandd: there is no audit log in {tmp_path}/state/farhand\n"


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = verify(tmp_path, tmp_path / "gone")
    assert (done.returncode, done.stderr) == (
        1,
        f"farhandd: {tmp_path}/gone: cannot be read: No such file or directory\n",
    )
