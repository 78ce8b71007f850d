"""The audit log has one line per event and nothing secret, and continues after any failure."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from farhand_server.audit import AuditEntry, AuditError, AuditEvent, AuditLog, BrokenChain, verify_files, verify_state
from farhand_server.audit.entry import MAX_ARGV, argv_sha256
from farhand_server.audit.log import MAX_PENDING_BYTES
from tests.server.audit.conftest import AuditDirectory, entry
from tests.support.processes import descriptors


@contextmanager
def file_size(limit: int) -> Iterator[None]:
    """Limit the size of files of this process to `limit` bytes, which acts like a full disk (setrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_line_has_the_documented_members_in_order(directory: AuditDirectory) -> None:
    audit = directory.open()
    audit.record(
        AuditEntry(
            "end", 1_800_000_000.125, user="ada", how="key", key="SHA256:x", peer="192.0.2.7:1", run="r1",
            argv=(b"echo", "é".encode(), b"\xff"), outcome="exited", detail="code 0",
        )
    )  # fmt: skip
    audit.flush()
    raw = directory.file.read_bytes()
    assert raw.startswith(
        b'{"seq":1,"time":"2027-01-15T08:00:00.125Z","event":"end","user":"ada","how":"key","key":"SHA256:x",'
        b'"peer":"192.0.2.7:1","run":"r1","argv":["echo","\\u00e9",{"base64":"/w=="}],"outcome":"exited",'
        b'"detail":"code 0","prev":"' + b"0" * 64 + b'","hash":"'
    )
    body, digest = raw.rstrip(b'"}\n').split(b',"hash":"')
    assert hashlib.sha256(body + b"}").hexdigest().encode() == digest
    audit.close()


def test_the_line_of_a_start_has_argv0_the_terminal_and_the_recorded_streams(
    directory: AuditDirectory,
) -> None:
    audit = directory.open()
    login = AuditEntry("start", 0, argv=(b"/bin/bash",), argv0=b"-bash", terminal="xterm", recorded=("output", "stdin"))
    audit.record(login)
    audit.record(AuditEntry("start", 0, argv=(b"true",)))
    audit.flush()
    first, second = directory.entries()
    assert list(first.items())[3:7] == [
        ("argv", ["/bin/bash"]),
        ("argv0", "-bash"),
        ("terminal", "xterm"),
        ("recorded", ["output", "stdin"]),
    ]
    assert not {"argv0", "terminal", "recorded"} & second.keys()
    audit.close()


def test_each_line_has_the_hash_of_the_line_before(directory: AuditDirectory) -> None:
    directory.write(3)
    first, second, third = directory.entries()
    assert [first["seq"], second["seq"], third["seq"]] == [1, 2, 3]
    assert (second["prev"], third["prev"]) == (first["hash"], second["hash"])


def test_a_flush_writes_all_pending_entries_at_once(directory: AuditDirectory) -> None:
    audit = directory.open()
    for _ in range(3):
        audit.record(entry())
    assert directory.file.read_bytes() == b""
    audit.flush()
    assert directory.events() == ["start"] * 3
    audit.close()


def test_the_chain_continues_after_a_restart(directory: AuditDirectory) -> None:
    directory.write(2)
    directory.write(2)
    assert verify_state(directory.state).entries == 4


def test_only_the_services_account_can_read_it(directory: AuditDirectory) -> None:
    directory.write(1)
    assert [file.stat().st_mode & 0o777 for file in (directory.file, directory.head)] == [0o600, 0o600]


class TestArguments:
    def test_the_setting_hash_hides_arguments(self, directory: AuditDirectory) -> None:
        audit = directory.open(commands="hash")
        audit.record(entry())
        audit.close()
        (found,) = directory.entries()
        assert "argv" not in found
        assert found["argv_sha256"] == hashlib.sha256(b"true\0").hexdigest()

    def test_very_long_arguments_are_hashed(self, directory: AuditDirectory) -> None:
        argv = (b"x" * MAX_ARGV, b"y")
        audit = directory.open()
        audit.record(AuditEntry("start", 0, argv=argv))
        audit.record(AuditEntry("start", 0, argv=(b"\1" * MAX_ARGV,)))
        audit.close()
        assert directory.entries()[0]["argv_sha256"] == argv_sha256(argv)
        assert verify_state(directory.state).entries == 2

    def test_the_same_text_split_differently_has_another_hash(self) -> None:
        assert argv_sha256((b"a b",)) != argv_sha256((b"a", b"b"))

    def test_foreign_text_can_neither_end_a_line_nor_fill_the_disk(self, directory: AuditDirectory) -> None:
        audit = directory.open()
        audit.record(AuditEntry("login_refused", 0, user='x"\n{"seq":9}' + "y" * 100_000, detail="\x1b[2J"))
        audit.close()
        raw = directory.file.read_bytes()
        assert raw.count(b"\n") == 1
        assert len(raw) < 2000
        assert b"\x1b" not in raw


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


class TestAfterACrash:
    def test_an_incomplete_line_is_cut_off_and_that_is_recorded(self, directory: AuditDirectory) -> None:
        directory.write(2)
        half = b'{"seq":3,"time":"20'
        with directory.file.open("ab") as file:
            file.write(half)
        directory.write(1)
        assert directory.events() == ["start", "start", "repaired", "start"]
        assert hashlib.sha256(half).hexdigest() in str(directory.entries()[2]["detail"])
        assert verify_state(directory.state).entries == 4
        assert "incomplete last line" in str(directory.log)

    def test_a_complete_line_that_is_not_in_the_head_yet_counts(self, directory: AuditDirectory) -> None:
        directory.write(2)
        noted = directory.head.read_bytes()
        directory.write(1)
        directory.head.write_bytes(noted)
        assert verify_state(directory.state).entries == 3
        directory.write(1)
        assert verify_state(directory.state).entries == 4

    def test_missing_lines_are_recorded_and_remain_a_break(self, directory: AuditDirectory) -> None:
        directory.write(5)
        kept = directory.file.read_bytes().splitlines(keepends=True)[:3]
        directory.file.write_bytes(b"".join(kept))
        directory.write(1)
        assert directory.entries()[3]["seq"] == 6
        assert directory.entries()[3]["event"] == "missing"
        assert directory.entries()[3]["detail"] == "entries 4 to 5 were missing when the file was opened"
        assert "audit log has changed since it was closed" in str(directory.log)

    def test_an_interrupted_rotation_is_not_a_break(self, directory: AuditDirectory) -> None:
        directory.write(3)
        directory.file.rename(directory.state / "audit.000000000000000001.jsonl")
        directory.write(1)
        assert verify_state(directory.state).entries == 4


class TestWriteFailures:
    def test_entries_stay_pending_in_order_and_the_failure_is_logged_once(self, directory: AuditDirectory) -> None:
        audit = directory.open()
        audit.record(entry(detail="before"))
        audit.flush()
        with file_size(directory.file.stat().st_size + 100):
            for number in range(3):
                audit.record(entry(detail=f"entry {number}"))
                audit.flush()
        assert directory.events() == ["start"]
        audit.flush()
        assert [found["detail"] for found in directory.entries()] == ["before", "entry 0", "entry 1", "entry 2"]
        assert verify_state(directory.state).entries == 4
        assert str(directory.log).count("audit log cannot be written; entries are kept in memory") == 1
        assert str(directory.log).count("audit log can be written again") == 1
        audit.close()

    def test_dropped_entries_are_counted_in_the_audit_log_itself(self, directory: AuditDirectory) -> None:
        audit = directory.open()
        long = AuditEntry("start", 0, argv=(b"x" * MAX_ARGV,))
        with file_size(100):
            for _ in range(MAX_PENDING_BYTES // MAX_ARGV + 10):
                audit.record(long)
            audit.flush()
        audit.flush()
        audit.record(entry())
        audit.close()
        dropped = [found["detail"] for found in directory.entries() if found["event"] == "dropped"]
        assert len(dropped) == 1
        assert str(dropped[0]).endswith("entries could not be written here")
        assert verify_state(directory.state).last.seq == len(directory.entries())

    def test_if_required_a_start_that_cannot_be_written_is_refused_and_leaves_no_line(
        self, directory: AuditDirectory
    ) -> None:
        audit = directory.open(required=True)
        audit.record_start(entry(detail="first"))
        with (
            file_size(directory.file.stat().st_size + 100),
            pytest.raises(
                AuditError, match=r"audit\.jsonl cannot be written: File too large; without it no run is started"
            ),
        ):
            audit.record_start(entry(detail="refused"))
        audit.record_start(entry(detail="second"))
        assert [found["detail"] for found in directory.entries()] == ["first", "second"]
        audit.close()

    def test_if_not_required_a_start_is_not_refused(self, directory: AuditDirectory) -> None:
        audit = directory.open()
        with file_size(100):
            audit.record_start(entry())
        audit.close()
        assert directory.events() == ["start"]

    @pytest.mark.needs("root", "mount", "umount")
    def test_a_read_only_directory_is_tried_again_later(self, directory: AuditDirectory) -> None:
        directory.write(1)
        subprocess.run(["mount", "--bind", directory.state, directory.state], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", directory.state], check=True)
            audit = directory.open(required=True)
            with pytest.raises(AuditError, match="Read-only file system"):
                audit.record_start(entry())
            assert audit.fault == "Read-only file system"
            audit.record(entry())
            audit.flush()
            assert directory.events() == ["start"]
        finally:
            subprocess.run(["umount", "-l", directory.state], check=True)
        audit.close()
        assert verify_state(directory.state).entries == 2


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


def test_two_services_cannot_write_the_same_audit_log(directory: AuditDirectory) -> None:
    audit = directory.open()
    with pytest.raises(AuditError, match="another process is writing the audit log"):
        directory.open()
    audit.close()
    directory.open().close()


def test_a_failed_open_leaves_no_descriptor(directory: AuditDirectory) -> None:
    audit = directory.open()
    before = descriptors(os.getpid())
    for _ in range(3):
        with pytest.raises(AuditError):
            directory.open()
    assert descriptors(os.getpid()) == before
    audit.close()


@pytest.mark.parametrize("head", [True, False], ids=["file and head", "file"])
def test_a_removed_log_continues_in_a_new_file_that_says_so(directory: AuditDirectory, head: bool) -> None:
    audit = directory.open()
    for number in range(3):
        audit.record(entry(detail=f"entry {number}"))
    audit.flush()
    directory.file.unlink()
    if head:
        directory.head.unlink()
    audit.check()
    audit.record(entry(detail="later"))
    audit.flush()
    missing, later = directory.entries()
    assert missing["detail"] == "entries 1 to 3 were missing when the file was opened"
    assert (later["seq"], later["detail"]) == (5, "later")
    assert "audit log was removed or replaced; it continues in a new file" in str(directory.log)
    audit.close()
    with pytest.raises(BrokenChain, match="entry 1 expected, found entry 4"):
        verify_state(directory.state)


def test_a_log_whose_head_alone_was_removed_is_complete(directory: AuditDirectory) -> None:
    audit = directory.open()
    audit.record(entry())
    audit.flush()
    directory.head.unlink()
    audit.check()
    audit.record(entry())
    audit.close()
    assert verify_state(directory.state).entries == 2


def test_a_log_that_is_moved_away_and_back_has_every_entry(directory: AuditDirectory) -> None:
    audit = directory.open()
    audit.record(entry(detail="before"))
    audit.flush()
    away = directory.state.rename(directory.state.with_name("away"))
    audit.check()
    audit.record(entry(detail="meanwhile"))
    audit.flush()
    assert not directory.state.exists()
    assert not audit.complete
    away.rename(directory.state)
    audit.check()
    audit.flush()
    assert [found["detail"] for found in directory.entries()] == ["before", "meanwhile"]
    assert "audit log can be written again" in str(directory.log)
    audit.close()
    assert verify_state(directory.state).entries == 2


def test_a_log_that_is_in_place_is_left_alone(directory: AuditDirectory) -> None:
    audit = directory.open()
    assert audit.files == (directory.file, directory.head)
    audit.record(entry())
    audit.flush()
    audit.check()
    audit.close()
    audit.check()
    assert directory.events() == ["start"]
    assert str(directory.log) == ""
