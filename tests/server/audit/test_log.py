"""The audit log has one line per event and nothing secret, and continues after any failure."""

from __future__ import annotations

import hashlib
import os
import subprocess

import pytest

from farhand_server.audit import AuditEntry, AuditError, BrokenChain, verify_state
from farhand_server.audit.entry import MAX_ARGV, argv_sha256
from farhand_server.audit.log import MAX_PENDING_BYTES
from tests.server.audit.conftest import AuditDirectory, entry, file_size
from tests.support.processes import descriptors


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
    assert descriptors(os.getpid()) <= before
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
