"""`farhandd explain` prints decision, rule and reason, as lines or as JSON, and has an exit code for scripts."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import pytest

from farhand_server.cli import main

ME = pwd.getpwuid(os.getuid()).pw_name
KEY = "SHA256:" + "A" * 43
SH = os.path.realpath("/bin") + "/sh"
POLICY = f"""
[[rules]]
name = "by-key"
who = {{ users = ["{ME}"], keys = ["{KEY}"] }}
commands = [["/bin/sh", "-c", "*"]]
limits = {{ memory = "1 MiB", timeout = 5, runs = 7, starts = "10/s" }}
files = {{ read = ["/var/log", "/srv/a b"] }}
forward = {{ connect = ["127.0.0.0/8:5432", "unix:/run/*"], listen = ["localhost:8000-8999"] }}
audit = "hash"

[[rules]]
name = "local"
who = {{ uids = [{os.getuid()}] }}
shell = true
detach = true
record = true
directories = ["/"]
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    policy.chmod(0o644)
    file = tmp_path / "farhandd.toml"
    file.write_text(f'[policy]\nfile = "{policy}"\n')
    return str(file)


def explain(config: str, *arguments: str) -> int:
    return main(["explain", "--config", config, "--user", ME, *arguments])


def test_an_allowed_request_is_explained_with_rule_program_and_limits(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(config, "--key", KEY, "--cwd", "/srv", "--", "sh", "-c", "echo -- x") == 0
    assert capsys.readouterr().out.splitlines() == [
        "decision: allowed",
        "rule: by-key",
        "reason: the rule by-key allows it",
        f"user: {ME}",
        f"login: key {KEY}",
        f"program: {SH}",
        "directory: /srv",
        'environment: LANG "LC_*" TERM',
        "limits: memory=1048576 timeout=5.0 runs=7 starts=10/s",
        "audit: hash",
        "record: -",
        "leave_processes: -",
        f"policy: {Path(config).parent / 'policy.toml'}",
        "considered: by-key: admitted: the rule by-key allows it",
    ]


def test_a_denied_request_is_explained_with_the_result_of_each_rule(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(config, "--key", KEY, "--env", "PATH=/x", "--", "/bin/sh", "-c", "true") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "decision: denied",
        "rule: -",
        f"reason: the policy does not let {ME} set the environment variable 'PATH' for this",
    ]
    assert lines[-2:] == [
        f"considered: by-key: circumstances: the policy does not let {ME} set the environment variable 'PATH' for this",
        "considered: local: who: none of its uids matches",
    ]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--local", "--shell", "--", "ls | wc"], 0),
        (["--local", "--shell"], 0),
        (["--local", "--shell", "--terminal"], 0),
        (["--key", KEY, "--terminal", "--", "sh", "-c", "true"], 1),
        (["--local", "--shell", "--detach", "--cwd", "/", "--env", "LANG", "--", "-x"], 0),
        (["--local", "--", "ls"], 1),
        (["--shell", "--", "ls"], 1),
        (["--", "sh", "-c", "true"], 1),
        (["--key", KEY, "--detach", "--", "sh", "-c", "true"], 1),
        (["--key", KEY, "--leave-processes", "--", "sh", "-c", "true"], 1),
        (["--key", KEY, "--", "sh", "-c", "true", "more"], 1),
    ],
)
def test_the_exit_code_is_the_decision(config: str, arguments: list[str], code: int) -> None:
    assert explain(config, *arguments) == code


def test_the_report_says_whether_the_run_would_be_recorded(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    explain(config, "--local", "--shell")
    assert "record: yes\n" in capsys.readouterr().out


def test_json_has_the_same_content(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(config, "--json", "--key", KEY, "--", "sh", "-c", "true") == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["decision"], output["rule"], output["program"]) == ("allowed", "by-key", SH)
    assert output["limits"] == {"memory": 1 << 20, "timeout": 5.0, "runs": 7, "starts": "10/s"}
    assert output["considered"] == [
        {"rule": "by-key", "stage": "admitted", "reason": "the rule by-key allows it"},
    ]


def test_without_a_policy_file_the_default_policy_decides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "farhandd.toml"
    file.touch()
    assert explain(str(file), "--local", "--", "no such program") == 0
    output = capsys.readouterr().out
    assert "rule: own-account\n" in output
    assert "program: -\n" in output
    assert "policy: default\n" in output


def test_text_of_the_request_cannot_control_the_terminal(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    explain(config, "--cwd", "/\x1b[2J\n", "--", "\x1b[2J\n")
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert len(output.splitlines()) == 15


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--user", "no such", "--", "ls"], "there is no account 'no such' on this machine"),
        (["--key", "ada", "--", "ls"], "--key must be a fingerprint as ssh-keygen -l prints it, SHA256:…, not 'ada'"),
        (["--shell", "a", "b"], "--shell accepts one text, or none for a login shell; quote it"),
        ([], "no command to explain: give it after --, or --shell"),
    ],
)
def test_wrong_usage_has_exit_code_2(
    config: str, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert explain(config, *arguments) == 2
    assert capsys.readouterr() == ("", f"farhandd: {sentence}\n")


def test_an_invalid_policy_has_exit_code_2(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(config).parent / "policy.toml"
    file.write_text("[[rule]]\n")
    assert explain(config, "--", "ls") == 2
    assert capsys.readouterr() == ("", f"farhandd: {file}: unknown key rule; did you mean 'rules'?\n")


def test_a_transfer_is_explained_with_the_directories_that_it_cannot_leave(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(config, "--key", KEY, "--transfer", "read", "--", "/var/log/*.gz", "/srv/a b") == 0
    assert capsys.readouterr().out.splitlines() == [
        "decision: allowed",
        "rule: by-key",
        "reason: the rule by-key allows it",
        f"user: {ME}",
        f"login: key {KEY}",
        'directories: /var/log "/srv/a b"',
        "limits: memory=1048576 timeout=5.0 runs=7 starts=10/s",
        "audit: hash",
        f"policy: {Path(config).parent / 'policy.toml'}",
        "considered: by-key: admitted: the rule by-key allows it",
    ]


def test_a_denied_transfer_is_explained_with_what_it_was_about(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(config, "--key", KEY, "--json", "--transfer", "write", "--", "/var/log/x") == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["decision"], shown["directories"]) == ("denied", [])
    assert shown["reason"] == f"the policy does not let {ME} write '/var/log/x'"
    assert [each["stage"] for each in shown["considered"]] == ["command", "who"]
    assert explain(config, "--transfer", "read") == 2
    assert "no path to explain" in capsys.readouterr().err


def test_a_tunnel_is_explained_with_what_it_may_reach(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    targets = ("127.0.0.1:5432", "localhost:5432", "unix:/run/x")
    assert explain(config, "--key", KEY, "--forward", "connect", "--", *targets) == 0
    assert capsys.readouterr().out.splitlines() == [
        "decision: allowed",
        "rule: by-key",
        "reason: the rule by-key allows it",
        f"user: {ME}",
        f"login: key {KEY}",
        'connect: 127.0.0.0/8:5432 "unix:/run/*"',
        "listen: localhost:8000-8999",
        "agent: -",
        "limits: memory=1048576 timeout=5.0 runs=7 starts=10/s",
        "audit: hash",
        f"policy: {Path(config).parent / 'policy.toml'}",
        "considered: by-key: admitted: the rule by-key allows it",
    ]
    assert explain(config, "--key", KEY, "--forward", "listen", "--", ":8080", "127.0.0.1:8999") == 0


@pytest.mark.parametrize(
    ("operation", "target", "reason"),
    [
        ("connect", "127.0.0.1:80", "the policy does not allow a connection to 127.0.0.1:80"),
        ("connect", "[::ffff:169.254.169.254]:80", "no rule of the policy names"),
        ("connect", "unix:/tmp/x", "the policy does not allow a connection to /tmp/x"),
        ("listen", "*:8080", "the policy does not allow a listener on"),
        ("listen", "unix:/run/x", "the policy does not allow a listener on"),
    ],
)
def test_a_denied_target_is_explained(
    config: str, capsys: pytest.CaptureFixture[str], operation: str, target: str, reason: str
) -> None:
    assert explain(config, "--key", KEY, "--json", "--forward", operation, "--", target) == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["decision"] == "denied"
    assert shown["reason"].startswith(f"{target}: {reason}")


def test_a_path_is_explained_as_the_tunnel_judges_it(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir)
    monkeypatch.chdir("/run")
    for operation in ("connect", "listen"):
        assert explain(config, "--key", KEY, "--forward", operation, "--", "unix:of-home") == 1
        assert f"{home}/of-home" in capsys.readouterr().out


def test_a_tunnel_that_no_rule_allows_is_denied(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(config, "--local", "--forward", "connect") == 1
    assert "reason: the policy does not let" in capsys.readouterr().out
    for nonsense in ("db", "db:x", ":80", "name.invalid:80"):
        assert explain(config, "--key", KEY, "--forward", "connect", "--", nonsense) == 2
    assert "has no address" in capsys.readouterr().err
