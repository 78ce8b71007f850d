"""The plan of a run follows from the request, the caller, the configuration and the policy."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

from farhand_server.admission.plan import Denied
from farhand_server.audit.entry import argv_sha256
from farhand_server.auth.authorized_keys import KeyOptions
from farhand_server.runs.plan import TerminalPlan
from tests.support.plans import FORCED, OWNER, denied, plan, rules

SCREEN = {"name": "xterm-256color", "size": {"columns": 80, "rows": 24}, "modes": (("VERASE", 127), ("IXON", 0))}


ON_A_TERMINAL: dict[str, object] = {"terminal": SCREEN, "stdin": True, "merge_stderr": True}


def test_arguments_are_executed_as_they_are() -> None:
    assert plan({"argv": (b"printf", b"$HOME", b"")}).argv == (b"printf", b"$HOME", b"")


def test_shell_text_is_executed_by_the_accounts_shell() -> None:
    assert plan({"shell": b"echo $HOME"}).argv == (b"/bin/sh", b"-c", b"echo $HOME")


@pytest.mark.parametrize(
    ("request_", "original"),
    [
        ({"argv": (b"rsync", b"--server", b"a b", b"it's")}, b"rsync --server 'a b' 'it'\"'\"'s'"),
        ({"argv": (b"caf\xe9",)}, b"'caf\xe9'"),
        ({"shell": b"ls | wc"}, b"ls | wc"),
    ],
)
def test_a_forced_command_replaces_the_request_which_is_in_its_environment(
    request_: dict[str, object], original: bytes
) -> None:
    decided = plan(request_, FORCED)
    assert decided.argv == (b"/bin/sh", b"-c", b"./backup --serve")
    assert decided.env[b"SSH_ORIGINAL_COMMAND"] == original


@pytest.mark.parametrize("name", [b"PATH", b"LD_PRELOAD", b"BASH_ENV", b"SSH_ORIGINAL_COMMAND", b"HOME"])
def test_variables_that_could_change_a_forced_command_are_refused(name: bytes) -> None:
    with pytest.raises(Denied, match=name.decode()):
        plan({"env": ((name, b"x"),)}, FORCED)


def test_a_forced_command_starts_in_the_home_whatever_the_request_says() -> None:
    assert plan({"cwd": b"/tmp/of-the-client"}, FORCED).cwd == b"/home/ada"
    assert plan({"cwd": b"/tmp"}).cwd == b"/tmp"


@pytest.mark.parametrize(
    ("asked", "longest", "timeout"),
    [
        (None, float("inf"), None),
        (None, 60.0, 60.0),
        (5.0, 60.0, 5.0),
        (90.0, 60.0, 60.0),
        (90.0, float("inf"), 90.0),
        (None, 1e30, None),
    ],
)
def test_the_configuration_bounds_the_time(asked: float | None, longest: float, timeout: float | None) -> None:
    request: dict[str, object] = {} if asked is None else {"timeout": asked}
    assert plan(request, runs={"max_timeout": longest}).timeout == timeout


def test_the_kill_delay_is_that_of_the_request_or_of_the_configuration() -> None:
    assert plan({}, runs={"kill_after": 3.0}).kill_after == 3.0
    assert plan({"kill_after": 0.0}, runs={"kill_after": 3.0}).kill_after == 0.0


def test_the_program_that_the_policy_found_is_executed() -> None:
    only_git = rules({"commands": [["/usr/bin/git", "fetch"]]})
    assert plan({"argv": (b"git", b"fetch")}, policy=only_git).argv == (b"/usr/bin/git", b"fetch")
    assert plan({"argv": (b"git", b"fetch")}).argv == (b"git", b"fetch")


def test_a_program_is_searched_for_in_the_path_of_the_run() -> None:
    policy = rules({"commands": [["/opt/a/bin/tool"]], "environment": ["PATH"]})
    assert plan({"argv": (b"tool",), "env": ((b"PATH", b"/opt/a/bin"),)}, policy=policy).argv == (b"/opt/a/bin/tool",)
    assert "run 'tool'" in str(denied({"argv": (b"tool",)}, policy=policy))


def test_a_run_starts_in_the_directory_that_was_judged() -> None:
    policy = rules({"commands": [["*", "..."]], "directories": ["/srv/app", "~"]})
    assert plan({"cwd": b"/srv/now"}, policy=policy).cwd == b"/srv/app"
    assert "in the directory '/home/ada/out'" in str(denied({"cwd": b"out"}, policy=policy))


def test_a_prelude_is_executed_in_place_of_the_text_which_alone_is_shown() -> None:
    made = plan({"shell": b"cd x", "prelude": b'eval "$1"'})
    assert (made.argv, made.command) == ((b"/bin/sh", b"-c", b'eval "$1"', b"sh", b"cd x"), "cd x")
    assert json.loads(made.origin.request)["prelude"] == 'eval "$1"'
    secret = plan({"shell": b"x", "prelude": b"y"}, audit={"commands": "hash"})
    assert "prelude" not in json.loads(secret.origin.request)
    refused = denied({"shell": b"x", "prelude": b"y"}, policy=rules({"commands": (("/bin/x",),)}))
    assert "have a shell" in str(refused)


def test_shell_text_needs_a_rule_for_shells() -> None:
    everything_but = rules({"commands": [["/usr/bin/*", "..."]]})
    assert "have a shell" in str(denied({"shell": b"ls"}, policy=everything_but))


def test_a_forced_command_is_judged_by_what_it_executes() -> None:
    just_that = rules({"commands": [["/bin/sh", "-c", "./backup --serve"]]})
    assert plan({"argv": (b"anything",)}, FORCED, just_that).argv == (b"/bin/sh", b"-c", b"./backup --serve")
    only_ls = rules({"commands": [["/usr/bin/ls"]]})
    assert denied({"argv": (b"ls",)}, FORCED, only_ls).argv == (b"/bin/sh", b"-c", b"./backup --serve")


def test_a_policy_that_admits_every_variable_does_not_admit_them_with_a_forced_command() -> None:
    policy = rules({"shell": True, "environment": ["*"]})
    assert "PATH" in str(denied({"env": ((b"PATH", b"/x"),)}, FORCED, policy))


def test_the_policy_decides_which_variables_may_be_set() -> None:
    policy = rules({"commands": [["*", "..."]], "environment": ["APP_*"]})
    assert plan({"env": ((b"APP_MODE", b"x"),)}, policy=policy).env[b"APP_MODE"] == b"x"
    assert "'LD_PRELOAD'" in str(denied({"env": ((b"LD_PRELOAD", b"x"),)}, policy=policy))


def test_variables_in_a_users_own_key_file_are_judged_and_those_of_administrators_are_not() -> None:
    policy = rules({"commands": [["*", "..."]]})
    line = KeyOptions(environment=((b"LD_PRELOAD", b"x"),))
    own = dataclasses.replace(OWNER, options=line, by_own_line=True)
    assert "'LD_PRELOAD'" in str(denied({}, own, policy))
    assert plan({}, dataclasses.replace(own, by_own_line=False), policy).env[b"LD_PRELOAD"] == b"x"


@pytest.mark.parametrize("request_", [{"on_disconnect": "keep"}, {"grace": 61.0}])
def test_keeping_a_run_after_disconnecting_needs_a_rule(request_: dict[str, object]) -> None:
    policy = rules({"commands": [["*", "..."]]})
    assert "detach from this run" in str(denied(request_, policy=policy))
    assert plan({"grace": 60.0}, policy=policy).grace == 60.0
    plan(request_, policy=rules({"commands": [["*", "..."]], "detach": True}))


def test_a_login_shell_and_an_internal_run_are_planned_as_such() -> None:
    assert (plan({}).login, plan({}).internal) == (False, False)
    assert plan({"argv": None, "login": True}).login
    assert plan({"internal": True}).internal


def test_leaving_processes_needs_a_rule_which_may_also_demand_it() -> None:
    refusing = rules({"commands": [["*", "..."]], "detach": True})
    assert "leave processes running" in str(denied({"leave_processes": True}, policy=refusing))
    assert not plan({}, policy=refusing).leave_processes
    allowing = rules({"commands": [["*", "..."]], "leave_processes": True})
    assert not plan({}, policy=allowing).leave_processes
    assert plan({"leave_processes": True}, policy=allowing).leave_processes
    assert plan({}, policy=rules({"commands": [["*", "..."]], "leave_processes": "always"})).leave_processes


def test_the_stricter_limit_applies() -> None:
    limits = {"memory": 1000, "files": 10, "output": 5, "timeout": 30.0}
    policy = rules({"commands": [["*", "..."]], "limits": limits})
    decided = plan({"bounds": {"memory": 2000, "files": 5, "cpu": 1.0}, "timeout": 60.0}, policy=policy)
    assert (decided.limits.memory, decided.limits.files, decided.limits.cpu) == (1000, 5, 1.0)
    assert (decided.output, decided.timeout) == (5, 30.0)
    assert plan({}, policy=policy, runs={"max_timeout": 20.0}).timeout == 20.0


def test_a_plan_has_the_request_and_its_origin() -> None:
    by_key = dataclasses.replace(OWNER, how="key", fingerprint="SHA256:abc")
    origin = plan({"argv": (b"make", b"caf\xe9"), "env": ((b"TOKEN", b"secret"),)}, by_key).origin
    assert (origin.how, origin.key, origin.peer, origin.audit) == ("key", "SHA256:abc", "192.0.2.7:50214", "argv")
    assert b"secret" not in origin.request
    reported = json.loads(origin.request)
    assert (reported["argv"], reported["env"]) == (["make", {"base64": "Y2Fm6Q=="}], ["TOKEN"])


@pytest.mark.parametrize(
    ("by_policy", "by_configuration"), [("hash", "argv"), ("argv", "hash"), ("hash", "hash"), ("argv", "argv")]
)
def test_either_of_policy_and_configuration_hides_the_arguments(by_policy: str, by_configuration: str) -> None:
    policy = rules({"commands": [["/usr/bin/ls", "..."]], "audit": by_policy})
    decided = plan({"argv": (b"ls", b"of-nobody-s-business")}, policy=policy, audit={"commands": by_configuration})
    hidden = "hash" in (by_policy, by_configuration)
    assert decided.origin.audit == ("hash" if hidden else "argv")
    assert (b"of-nobody-s-business" not in decided.origin.request) == hidden
    digest = argv_sha256((b"/usr/bin/ls", b"of-nobody-s-business"))
    assert json.loads(decided.origin.request).get("argv_sha256") == (digest if hidden else None)


@pytest.mark.parametrize("program", [b"ls", b"/usr/bin/ls", b""])
def test_long_arguments_are_recorded_by_the_hash_of_what_is_executed(program: bytes) -> None:
    argv = (program, b"x" * 100_000, b"", b"y")
    policy = rules({"commands": [["/usr/bin/ls", "..."]]}) if program else rules({"commands": [["*", "..."]]})
    made = plan({"argv": argv}, policy=policy)
    assert len(made.origin.request) < 1000
    executed = (b"/usr/bin/ls" if program else b"", *argv[1:])
    assert made.argv == executed
    digest = hashlib.sha256(b"\0".join((*executed, b""))).hexdigest()
    assert json.loads(made.origin.request)["argv_sha256"] == argv_sha256(made.argv) == digest


def test_a_login_shell_is_the_accounts_shell_with_a_dash_before_its_name() -> None:
    decided = plan({"login": True})
    assert (decided.argv, decided.argv0, decided.command) == ((b"/bin/sh",), b"-sh", "-sh")
    assert plan({"shell": b"id"}).argv0 is None


def test_a_login_shell_needs_a_rule_for_shells() -> None:
    assert "have a shell" in str(denied({"login": True}, policy=rules({"commands": [["/usr/bin/*", "..."]]})))
    assert plan({"login": True}, policy=rules({"shell": True})).argv == (b"/bin/sh",)


def test_a_forced_command_replaces_a_login_shell_and_its_environment_has_no_request() -> None:
    decided = plan({"login": True, **ON_A_TERMINAL}, FORCED)
    assert (decided.argv, decided.argv0) == ((b"/bin/sh", b"-c", b"./backup --serve"), None)
    assert b"SSH_ORIGINAL_COMMAND" not in decided.env


def test_a_terminal_is_as_requested() -> None:
    assert plan(ON_A_TERMINAL).terminal == TerminalPlan("xterm-256color", 80, 24, (("VERASE", 127), ("IXON", 0)))
    assert plan({}).terminal is None


def test_the_terminals_name_is_in_the_environment_whatever_else_is_requested() -> None:
    line = dataclasses.replace(OWNER, options=KeyOptions(environment=((b"TERM", b"vt52"),)))
    assert plan(ON_A_TERMINAL | {"env": ((b"TERM", b"dumb"),)}, line).env[b"TERM"] == b"xterm-256color"
    assert plan(ON_A_TERMINAL, policy=rules({"shell": True, "commands": [["*"]], "environment": []})).env[b"TERM"]
    assert b"TERM" not in plan({}).env


@pytest.mark.parametrize("options", [KeyOptions(no_pty=True), KeyOptions(restricted=True, no_pty=True)])
def test_a_key_that_does_not_allow_a_terminal_is_denied_one(options: KeyOptions) -> None:
    by_key = dataclasses.replace(OWNER, options=options)
    assert "does not allow a terminal (restrict or no-pty in authorized_keys)" in str(denied(ON_A_TERMINAL, by_key))
    assert plan({"login": True}, by_key).terminal is None


@pytest.mark.parametrize(
    ("asked", "largest", "size"), [(None, 1 << 30, 64 << 20), (None, 1 << 20, 1 << 20), (1 << 25, 1 << 30, 1 << 25)]
)
def test_the_output_of_a_terminal_is_always_kept_in_a_spool_on_disk(asked: int | None, largest: int, size: int) -> None:
    request = ON_A_TERMINAL | ({} if asked is None else {"spool": asked})
    assert plan(request, runs={"max_spool": largest}).disk_spool == size
    assert plan({}).disk_spool is None


def test_a_terminal_is_kept_longer_for_users_who_may_keep_runs() -> None:
    times = {"grace": 60.0, "keep_terminal": 500.0}
    may = rules({"shell": True, "commands": [["*"]], "detach": True})
    may_not = rules({"shell": True, "commands": [["*"]]})
    assert plan(ON_A_TERMINAL, policy=may, runs=times).grace == 500.0
    assert plan(ON_A_TERMINAL, policy=may_not, runs=times).grace == 60.0
    assert plan(ON_A_TERMINAL | {"grace": 5.0}, policy=may, runs=times).grace == 5.0
    assert plan({}, policy=may, runs=times).grace == 60.0


def test_input_is_recorded_on_request() -> None:
    assert plan(ON_A_TERMINAL | {"record_input": True}).record_input
    assert not plan(ON_A_TERMINAL).record_input


def test_the_record_has_the_terminal_without_its_modes() -> None:
    reported = json.loads(plan({"login": True, "window": 65536, **ON_A_TERMINAL}).origin.request)
    size = {"columns": 80, "rows": 24}
    assert reported["terminal"] == {"name": "xterm-256color", "size": size}
    assert (reported["login"], reported["command"]) == (True, "-sh")
    assert "window" not in reported


def test_requests_with_different_terminals_differ() -> None:
    other = ON_A_TERMINAL | {"terminal": SCREEN | {"name": "vt100"}}
    assert plan(ON_A_TERMINAL).fingerprint == plan(ON_A_TERMINAL).fingerprint != plan(other).fingerprint


def test_a_terminal_needs_a_rule_that_allows_it() -> None:
    confined: dict[str, object] = {"commands": [["/usr/bin/*", "..."]]}
    asked = ON_A_TERMINAL | {"argv": (b"git",)}
    assert "have a terminal for this" in str(denied(asked, policy=rules(confined)))
    assert plan(asked, policy=rules(confined | {"terminal": True})).terminal is not None


@pytest.mark.parametrize("asked", [{}, {"spool": 1 << 17}, {"spool": 1 << 40}, ON_A_TERMINAL])
def test_a_run_that_must_be_recorded_has_the_largest_spool_whatever_was_requested(asked: dict[str, object]) -> None:
    recorded = plan(asked, policy=rules({"shell": True, "commands": [["*"]], "record": True}))
    assert (recorded.record, recorded.disk_spool) == (True, 1 << 30)
    assert json.loads(recorded.origin.request)["recorded"] is True
    assert not plan(asked).record
    assert "recorded" not in json.loads(plan(asked).origin.request)


class TestVariablesOfSshd:
    """Programs find out by them that they were started as by sshd(8): bash reads `~/.bashrc` for a command."""

    def test_they_are_set_on_request(self) -> None:
        env = plan({"ssh_variables": True}).env
        assert env[b"SSH_CLIENT"] == b"192.0.2.7 50214 65535"
        assert env[b"SSH_CONNECTION"] == b"192.0.2.7 50214 UNKNOWN 65535"
        assert not {name for name in plan({}).env if name.startswith(b"SSH_")}

    def test_a_request_cannot_set_others(self) -> None:
        env = plan({"ssh_variables": True, "env": [("SSH_CLIENT", "10.0.0.1 1 1")]}).env
        assert env[b"SSH_CLIENT"] == b"192.0.2.7 50214 65535"

    def test_a_forced_command_gets_them_too(self) -> None:
        assert plan({"ssh_variables": True}, FORCED).env[b"SSH_CLIENT"] == b"192.0.2.7 50214 65535"
