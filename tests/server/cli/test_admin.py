"""The commands that need no running service: `check`, `example`, `host-key`, `authorize`, `audit verify`."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from farhand_protocol.sshformat import format_public_key_line
from farhand_server.audit import AuditEntry, AuditLog
from farhand_server.config import AuditSettings
from tests.server.cli.conftest import CommandLine
from tests.support.history import LogFile
from tests.support.openssh import SoftwarePasskey, SoftwareSecurityKey

KEY = format_public_key_line(SoftwareSecurityKey.ed25519().public_key)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return a public key file."""
    file = tmp_path / "id.pub"
    file.write_text(f"{KEY}\n")
    return file


@pytest.fixture
def authorized_keys(tmp_path: Path) -> Path:
    """Return the path of the account's own authorized_keys file, which does not exist yet."""
    return tmp_path / "config/farhand/authorized_keys"


class TestCheck:
    def test_it_prints_the_configuration_that_applies(self, farhandd: CommandLine, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        file.write_text("[runs]\nmax_runs = 7\n")
        result = farhandd("check", "--config", file)
        assert (result.code, result.err) == (0, "")
        assert "max_runs = 7" in result.out
        assert str(tmp_path / "run/farhand/farhandd.sock") in result.out

    def test_a_missing_configuration_file_is_an_error(self, farhandd: CommandLine, tmp_path: Path) -> None:
        result = farhandd("check", "--config", tmp_path / "gone.toml")
        assert (result.code, result.out) == (1, "")
        assert str(tmp_path / "gone.toml") in result.err

    def test_an_invalid_policy_is_an_error(self, farhandd: CommandLine, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        file.write_text(f'[policy]\nfile = "{tmp_path}/gone.toml"\n')
        result = farhandd("check", "--config", file)
        assert (result.code, result.out) == (1, "")
        assert f"{tmp_path}/gone.toml: the file does not exist" in result.err


class TestExample:
    @pytest.mark.parametrize(("which", "words"), [("config", "#listen = "), ("policy", "[[rules]]")])
    def test_it_prints_the_file_that_is_installed_with_the_program(
        self, farhandd: CommandLine, tmp_path: Path, which: str, words: str
    ) -> None:
        result = farhandd("example", which)
        assert (result.code, result.err) == (0, "")
        assert words in result.out


class TestHostKey:
    @pytest.mark.needs("ssh-keygen")
    def test_it_is_created_once_and_printed_as_by_ssh_keygen(self, farhandd: CommandLine, tmp_path: Path) -> None:
        first, second = farhandd("host-key"), farhandd("host-key")
        assert (first.code, first.err) == (0, "")
        assert first.out == second.out
        line, fingerprint = first.out.splitlines()
        public = tmp_path / "key.pub"
        public.write_text(line + "\n")
        shown = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True, check=True).stdout
        assert shown.split()[1] == fingerprint

    def test_a_key_that_others_can_read_is_an_error(self, farhandd: CommandLine, tmp_path: Path) -> None:
        farhandd("host-key")
        (tmp_path / "state/farhand/host_key").chmod(0o644)
        result = farhandd("host-key")
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith("farhandd: no host key: ")


class TestAuthorize:
    def test_each_key_is_added_once(self, farhandd: CommandLine, key_file: Path, authorized_keys: Path) -> None:
        key_file.write_text(f"{KEY}\n" * 2)
        first, second = farhandd("authorize", key_file), farhandd("authorize", key_file)
        assert (first.code, first.err, second.code, second.err) == (0, "", 0, "")
        assert first.out.splitlines()[1] == f"1 added to {authorized_keys}"
        assert "is already authorized" in second.out
        assert authorized_keys.read_text() == f"{KEY}\n"
        assert authorized_keys.stat().st_mode & 0o777 == 0o600

    def test_a_key_is_not_appended_to_an_unfinished_line(
        self, farhandd: CommandLine, key_file: Path, authorized_keys: Path
    ) -> None:
        authorized_keys.parent.mkdir(parents=True)
        authorized_keys.write_text("# a comment without a newline")
        farhandd("authorize", key_file)
        assert authorized_keys.read_text() == f"# a comment without a newline\n{KEY}\n"

    @pytest.mark.parametrize("arguments", [[f"{KEY} me@laptop"], [*KEY.split(), "me@laptop"]], ids=["whole", "split"])
    def test_a_key_can_be_an_argument(self, farhandd: CommandLine, authorized_keys: Path, arguments: list[str]) -> None:
        assert farhandd("authorize", *arguments).code == 0
        assert authorized_keys.read_text() == f"{KEY} me@laptop\n"

    def test_a_damaged_key_in_an_argument_is_refused(self, farhandd: CommandLine, authorized_keys: Path) -> None:
        result = farhandd("authorize", KEY[:-9])
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith("farhandd: the given key: line 1: ")
        assert not authorized_keys.exists()

    def test_several_files_are_added_at_once(
        self, farhandd: CommandLine, key_file: Path, authorized_keys: Path, tmp_path: Path
    ) -> None:
        other = tmp_path / "ssh-key AAAA.pub"
        other.write_text(format_public_key_line(SoftwareSecurityKey.ed25519().public_key))
        assert farhandd("authorize", key_file, other).code == 0
        assert authorized_keys.read_text() == f"{KEY}\n{other.read_text()}\n"

    def test_keys_can_be_read_from_stdin(
        self, farhandd: CommandLine, authorized_keys: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{KEY}\n".encode())))
        assert farhandd("authorize", "-").code == 0
        assert authorized_keys.read_text() == f"{KEY}\n"

    @pytest.mark.parametrize(
        ("site", "pasted", "why"),
        [
            ("localhost", "{line} me@localhost\n", None),
            ("example.net", "{line}\n", "this is no passkey of localhost"),
            ("localhost", "\n", "no line was pasted"),
            ("localhost", "hello\n", "the line has no key"),
        ],
    )
    def test_a_passkey_s_line_is_pasted_after_the_page_s_address_was_shown(
        self,
        farhandd: CommandLine,
        authorized_keys: Path,
        monkeypatch: pytest.MonkeyPatch,
        site: str,
        pasted: str,
        why: str | None,
    ) -> None:
        line = format_public_key_line(SoftwarePasskey.generate(site=site).public_key)
        authorized_keys.parent.mkdir(parents=True)
        (authorized_keys.parent / "farhandd.toml").write_text('[web]\norigin = "http://localhost:8080"\n')
        given = pasted.format(line=line)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        result = farhandd("authorize", "--passkey")
        assert "open http://localhost:8080/ in the browser" in result.out
        if why is None:
            assert (result.code, authorized_keys.read_text()) == (0, given)
        else:
            assert result.code == 1
            assert why in result.err
            assert not authorized_keys.exists()

    def test_a_passkey_needs_a_site(self, farhandd: CommandLine) -> None:
        result = farhandd("authorize", "--passkey")
        assert (result.code, result.out) == (1, "")
        assert "set web.origin" in result.err

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ("hello\n", "line 1: the line has no key; "),
            ("", "contains no public key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "this is a private key; the public key is in the file"),
            ("#" * 600_000, "the file has 524289 bytes; the maximum is 524288"),
        ],
        ids=["no key", "empty", "private", "too large"],
    )
    def test_a_file_without_public_keys_is_refused(
        self, farhandd: CommandLine, key_file: Path, authorized_keys: Path, content: str, sentence: str
    ) -> None:
        key_file.write_text(content)
        result = farhandd("authorize", key_file)
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith(f"farhandd: {key_file}: {sentence}")
        assert not authorized_keys.exists()

    def test_a_missing_file_is_an_error(self, farhandd: CommandLine, tmp_path: Path) -> None:
        result = farhandd("authorize", tmp_path / "gone")
        assert result.err == f"farhandd: {tmp_path}/gone: cannot be read: No such file or directory\n"

    def test_a_target_that_cannot_be_written_is_an_error(
        self, farhandd: CommandLine, tmp_path: Path, key_file: Path, authorized_keys: Path
    ) -> None:
        authorized_keys.parent.mkdir(parents=True)
        authorized_keys.symlink_to(tmp_path / "gone/authorized_keys")
        result = farhandd("authorize", key_file)
        assert (result.code, result.out) == (1, "")
        sentence = "cannot be written: No such file or directory; nothing was added"
        assert result.err == f"farhandd: {authorized_keys}: {sentence}\n"

    def test_a_target_that_cannot_be_parsed_is_an_error(
        self, farhandd: CommandLine, key_file: Path, authorized_keys: Path
    ) -> None:
        authorized_keys.mkdir(parents=True)
        result = farhandd("authorize", key_file)
        assert result.code == 1
        assert result.err.endswith("; repair it first\n")

    def test_without_configured_key_files_there_is_nothing_to_add_to(
        self, farhandd: CommandLine, tmp_path: Path, key_file: Path
    ) -> None:
        file = tmp_path / "mine.toml"
        file.write_text("[login]\nauthorized_keys = []\n")
        result = farhandd("authorize", "--config", file, key_file)
        assert result.err == "farhandd: login.authorized_keys names no file to add a key to\n"


class TestAuditVerify:
    @pytest.fixture
    def state(self, tmp_path: Path) -> Path:
        """Return a state directory with three audit entries."""
        log = LogFile(tmp_path)
        audit = AuditLog.open(tmp_path / "state/farhand", AuditSettings(), log.logger)
        for _ in range(3):
            audit.record(AuditEntry("login", 0.0, user="ada"))
        audit.close()
        log.close()
        return tmp_path / "state/farhand"

    @pytest.mark.parametrize("named", [False, True])
    def test_an_unbroken_chain_is_reported(self, farhandd: CommandLine, state: Path, named: bool) -> None:
        result = farhandd("audit", "verify", *([state / "audit.jsonl"] if named else []))
        assert (result.code, result.err) == (0, "")
        first, second = result.out.splitlines()
        assert first == "3 entries, chain unbroken"
        assert second.startswith("from entry 1 to 3, hash ")

    def test_the_first_break_is_reported_with_file_line_and_entry(self, farhandd: CommandLine, state: Path) -> None:
        file = state / "audit.jsonl"
        lines = file.read_text().splitlines(keepends=True)
        file.write_text(lines[0] + lines[1].replace("ada", "eve") + lines[2])
        result = farhandd("audit", "verify")
        assert (result.code, result.out) == (1, "")
        assert result.err == (
            f"farhandd: the audit log is broken: {file}: line 2: at entry 2: the line was changed: "
            "its hash is not that of its text\n"
        )

    @pytest.mark.parametrize(("age", "code"), [(90_000, 0), (3_600, 1)])
    def test_deleted_entries_are_reported_and_an_error_within_the_promised_time(
        self, farhandd: CommandLine, state: Path, age: float, code: int
    ) -> None:
        log = LogFile(state)
        audit = AuditLog.open(state, AuditSettings(max_size=64 << 10, keep=1), log.logger)
        for _ in range(400):
            audit.record(AuditEntry("login", time.time() - age, user="root"))
            audit.flush()
        audit.close()
        log.close()
        result = farhandd("audit", "verify")
        assert result.code == code
        said = result.out.splitlines()
        assert said[0].endswith("entries, chain unbroken")
        assert re.match(
            r"entries 1 to \d+ were deleted by rotation, the last of them at .*; that was of .*, hash ", said[2]
        )
        assert ("entries are missing that audit.keep_for (86400 s) promises, up to " in result.err) == bool(code)

    def test_entries_that_an_earlier_version_has_deleted_are_reported(self, farhandd: CommandLine, state: Path) -> None:
        log = LogFile(state)
        audit = AuditLog.open(state, AuditSettings(max_size=64 << 10, keep=1), log.logger)
        for _ in range(400):
            audit.record(AuditEntry("login", time.time(), user="root"))
            audit.flush()
        audit.close()
        log.close()
        head = state / "audit.head"
        head.write_bytes(head.read_bytes().splitlines(keepends=True)[0])
        result = farhandd("audit", "verify")
        assert result.code == 0
        assert result.out.endswith("were deleted by rotation; nothing else is known about them\n")

    def test_a_missing_audit_log_is_an_error(self, farhandd: CommandLine, tmp_path: Path) -> None:
        (tmp_path / "state/farhand").mkdir(parents=True)
        result = farhandd("audit", "verify")
        assert (result.code, result.out) == (1, "")
        assert result.err == f"farhandd: there is no audit log in {tmp_path}/state/farhand\n"

    def test_a_missing_file_is_an_error(self, farhandd: CommandLine, tmp_path: Path) -> None:
        result = farhandd("audit", "verify", tmp_path / "gone")
        sentence = f"{os.fspath(tmp_path)}/gone: cannot be read: No such file or directory"
        assert (result.code, result.err) == (1, f"farhandd: {sentence}\n")
