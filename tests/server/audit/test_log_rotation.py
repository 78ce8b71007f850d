"""The audit log is divided among files and users: what is deleted is noted, and nobody pushes out others' entries."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from farhand_server.audit import AuditEntry, AuditError, AuditEvent, AuditLog, verify_files, verify_state
from farhand_server.audit.entry import MAX_ARGV
from tests.server.audit.conftest import AuditDirectory, entry, file_size


class TestRotation:
    def test_a_full_file_is_rotated_and_the_chain_continues(self, directory: AuditDirectory) -> None:
        directory.write(800, user="root", max_size=64 << 10, keep=3)
        older = sorted(directory.state.glob("audit.0*.jsonl"))
        assert len(older) == 2
        assert all(file.stat().st_size <= 64 << 10 for file in older)
        whole = verify_state(directory.state)
        assert whole.entries == whole.last.seq + 1 - whole.first
        assert json.loads(older[0].read_text().splitlines()[0])["seq"] == whole.first
        assert int(older[0].name.split(".")[1]) == whole.first
        assert "audit log continues in a new file" in str(directory.log)
        assert verify_files([*older, directory.file]) == replace(whole, anchor=None)

    def test_what_rotation_deletes_is_noted_in_the_log_and_in_the_head(self, directory: AuditDirectory) -> None:
        directory.write(800, user="root", max_size=64 << 10, keep=2)
        noted = [found for file in [*directory.state.glob("audit.0*"), directory.file] for found in lines_of(file)]
        rotated = [found for found in noted if found["event"] == "rotated"]
        whole = verify_state(directory.state)
        assert whole.anchor is not None
        assert whole.anchor.place.seq == whole.first - 1
        assert f"entries up to {whole.first - 1} were deleted" in str(rotated[-1]["detail"])
        assert whole.anchor.place.hash in str(rotated[-1]["detail"])
        assert whole.anchor.time == 1_800_000_000.125
        assert noted[0]["prev"] == whole.anchor.place.hash

    def test_entries_that_are_deleted_too_early_are_an_error_in_the_services_log(
        self, directory: AuditDirectory
    ) -> None:
        directory.write(400, user="root", max_size=64 << 10, keep=1)
        assert "audit log has deleted entries that audit.keep_for promises; raise audit.keep" in str(directory.log)

    def test_old_entries_are_deleted_without_an_error(self, directory: AuditDirectory) -> None:
        audit = directory.open(max_size=64 << 10, keep=1)
        for number in range(400):
            audit.record(AuditEntry("start", 1000.0 + number, user="root", argv=(b"true",)))
            audit.flush()
        audit.close()
        assert "audit log has deleted old entries" in str(directory.log)
        assert "level=error" not in str(directory.log)

    def test_a_restart_keeps_what_is_known_about_deleted_entries(self, directory: AuditDirectory) -> None:
        directory.write(400, user="root", max_size=64 << 10, keep=1)
        before = verify_state(directory.state)
        directory.write(1, max_size=64 << 10, keep=1)
        assert verify_state(directory.state).anchor == before.anchor is not None

    def test_a_head_of_an_earlier_version_is_still_understood(self, directory: AuditDirectory) -> None:
        directory.write(400, user="root", max_size=64 << 10, keep=1)
        whole = verify_state(directory.state)
        directory.head.write_bytes(directory.head.read_bytes().splitlines(keepends=True)[0])
        assert verify_state(directory.state) == replace(whole, anchor=None)
        directory.write(1, max_size=64 << 10, keep=1)
        later = verify_state(directory.state)
        assert (later.first, later.last.seq) == (whole.first, whole.last.seq + 1)
        assert "missing" not in directory.events()

    def test_rotation_and_restarts_keep_the_chain_unbroken(self, directory: AuditDirectory) -> None:
        for _ in range(10):
            directory.write(80, user="root", max_size=64 << 10, keep=2)
        assert verify_state(directory.state).last.seq > 800

    def test_only_the_current_file_may_be_kept(self, directory: AuditDirectory) -> None:
        directory.write(500, user="root", max_size=64 << 10, keep=1)
        assert [file.name for file in directory.state.glob("audit*.jsonl")] == ["audit.jsonl"]
        assert verify_state(directory.state).last.seq > 500


def lines_of(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


class TestTooManyEntries:
    """Of one user's flood, the first entries are written, then shorter ones, and the rest is counted."""

    def flood(self, audit: AuditLog, number: int, event: AuditEvent = "denial") -> None:
        for _ in range(number):
            audit.record(AuditEntry(event, 0.0, user="eve", argv=(b"x" * 2000,)))
            audit.flush()

    def test_a_flood_of_one_user_leaves_the_entries_of_others(self, directory: AuditDirectory) -> None:
        audit = directory.open(max_size=64 << 10, keep=8)
        audit.record(entry(detail="evidence"))
        self.flood(audit, 3000)
        audit.record(entry(detail="later"))
        audit.close()
        whole = verify_state(directory.state)
        assert (whole.first, whole.anchor) == (1, None)
        older = sorted(directory.state.glob("audit.0*.jsonl"))
        found = [line for file in [*older, directory.file] for line in lines_of(file)]
        assert [line["detail"] for line in found if line.get("user") == "ada"] == ["evidence", "later"]
        eve = [line for line in found if line.get("user") == "eve"]
        assert "argv" in eve[0]
        assert "argv_sha256" in eve[-2]
        assert eve[-1]["event"] == "counted"
        assert int(str(eve[-1]["count"])) + len(eve) - 1 == 3000
        assert str(eve[-1]["since"]).startswith("1970-01-01T00:00:00")

    def test_arguments_that_take_more_space_in_the_log_cost_more(self, directory: AuditDirectory) -> None:
        audit = directory.open(max_size=1 << 20, keep=2)
        for _ in range(200):
            audit.record(AuditEntry("denial", 0.0, user="eve", argv=(b"\1" * 1000,)))
            audit.flush()
        audit.close()
        assert 10 < directory.events().count("denial") < 40

    def test_a_count_is_written_once_it_is_due(
        self, directory: AuditDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        audit = directory.open(max_size=64 << 10, keep=2)
        self.flood(audit, 100)
        audit.flush()
        due = audit.count_due
        assert due is not None
        assert "counted" not in directory.events()
        monkeypatch.setattr(time, "monotonic", lambda: due)
        audit.flush()
        assert "counted" in directory.events()
        assert audit.count_due is None
        audit.close()

    def test_if_the_log_is_required_a_run_that_would_only_be_counted_is_refused(
        self, directory: AuditDirectory
    ) -> None:
        audit = directory.open(max_size=64 << 10, keep=2, required=True)
        self.flood(audit, 300, "start")
        with pytest.raises(AuditError, match="eve has caused so many entries of the audit log that this run"):
            audit.record_start(entry(user="eve"))
        audit.record_start(entry())
        audit.close()

    def test_while_nothing_can_be_written_one_user_leaves_space_for_others(self, directory: AuditDirectory) -> None:
        audit = directory.open()
        with file_size(100):
            for _ in range(1000):
                audit.record(AuditEntry("start", 0, user="root", argv=(b"x" * MAX_ARGV,)))
            for _ in range(50):
                audit.record(AuditEntry("start", 0, user="ada", argv=(b"x" * MAX_ARGV,)))
            audit.flush()
        audit.flush()
        users = [found.get("user") for found in directory.entries()]
        assert users.count("ada") == 50
        assert 100 < users.count("root") < 1000
        audit.close()


@pytest.mark.needs("root", "mount", "umount")
def test_a_rotation_without_space_for_a_new_file_is_tried_again(directory: AuditDirectory) -> None:
    directory.state.mkdir()
    # Room for the directory and two files.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=3", "tmpfs", directory.state], check=True)
    try:
        audit = directory.open(max_size=64 << 10)
        for _ in range(300):
            audit.record(entry(user="root"))
            audit.flush()
        assert "No space left on device" in str(directory.log)
        subprocess.run(["mount", "-o", "remount,nr_inodes=10", directory.state], check=True)
        audit.flush()
        audit.close()
        assert verify_state(directory.state).last.seq == 300
    finally:
        subprocess.run(["umount", "-l", directory.state], check=True)
