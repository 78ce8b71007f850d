"""A request is denied unless a rule allows it, and then limited by the rule."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.policy import (
    Decision,
    Owner,
    Policy,
    PolicyRequest,
    Subject,
    decide,
    default_policy,
    has_rule_for,
    may_act_on,
)
from farhand_server.policy.decide import stricter
from farhand_server.policy.model import Who
from farhand_server.runs.process.usage import ResourceLimits
from tests.server.policy.support import ADA, EVE, Files, ask, policy, request, rule

ALLOW_ALL: dict[str, Any] = {
    "commands": [["*", "..."]],
    "shell": True,
    "detach": True,
    "leave_processes": True,
    "environment": ["*"],
}
SHELL = request("/bin/bash", "-c", "ls | wc", shell=True)
LOCAL = dataclasses.replace(ADA, fingerprint=None, local=True)


class TestWho:
    @pytest.mark.parametrize(
        ("who", "subject", "included"),
        [
            ({"users": ["eve", "ada"]}, ADA, True),
            ({"users": ["eve"]}, ADA, False),
            ({"users": ["*"]}, ADA, True),
            ({"users": ["ad*"]}, ADA, False),
            ({"groups": ["wheel", "staff"]}, ADA, True),
            ({"groups": ["staff"]}, EVE, False),
            ({"keys": [ADA.fingerprint]}, ADA, True),
            ({"keys": [ADA.fingerprint]}, EVE, False),
            ({"keys": [ADA.fingerprint]}, LOCAL, False),
            ({"keys": ["*"]}, ADA, True),
            ({"keys": ["*"]}, LOCAL, False),
            ({"uids": [1000]}, LOCAL, True),
            ({"uids": [1000]}, ADA, False),
            ({"uids": [0]}, LOCAL, False),
            ({"users": ["ada"], "keys": [EVE.fingerprint]}, ADA, False),
            ({"users": ["ada"], "groups": ["staff"], "keys": [ADA.fingerprint]}, ADA, True),
            ({"users": ["ada"], "uids": [1000]}, LOCAL, True),
        ],
    )
    def test_one_entry_of_each_given_kind_must_match(
        self, who: dict[str, object], subject: Subject, included: bool
    ) -> None:
        assert (Who.model_validate(who).unmatched(subject) is None) is included
        assert ask(SHELL, rule(who=who, shell=True), by=subject).allowed is included


class TestAdmitting:
    def test_without_rules_nothing_is_allowed(self) -> None:
        assert not ask(request("ls")).allowed

    def test_the_first_rule_about_the_user_that_admits_the_request_decides(self) -> None:
        rules = (
            rule("not-ada", who={"users": ["eve"]}, commands=[["*", "..."]]),
            rule("not-ls", commands=[["/usr/bin/git", "..."]]),
            rule("not-detached", commands=[["/usr/bin/ls"]]),
            rule("it", commands=[["/usr/bin/ls"]], detach=True, limits={"timeout": 7}),
            rule("later", **ALLOW_ALL),
        )
        decision = ask(request("ls", detach=True), *rules)
        assert (decision.allowed, decision.rule, decision.timeout) == (True, "it", 7)

    def test_a_shell_must_be_allowed_separately(self) -> None:
        assert ask(SHELL, rule(shell=True)).allowed
        assert not ask(SHELL, rule(commands=[["/usr/bin/ls", "..."]])).allowed
        assert not ask(request("ls"), rule(shell=True)).allowed

    def test_a_forced_command_is_decided_by_what_is_executed(self) -> None:
        serve = rule(commands=[["/bin/sh", "-c", "./serve --read-only"]])
        assert ask(request("/bin/sh", "-c", "./serve --read-only", shell=True), serve).allowed
        assert not ask(request("/bin/sh", "-c", "./serve --read-only; sh", shell=True), serve).allowed

    def test_the_decision_names_the_file_that_was_found(self) -> None:
        git = rule(commands=[["/usr/bin/git"]])
        assert ask(request("git"), git).program == b"/usr/bin/git"
        assert ask(request("bin/git"), git).program == b"/usr/bin/git"
        assert ask(request("git", path=b"/tmp:bin"), git).program == b"/usr/bin/git"

    def test_the_requests_path_cannot_select_another_program(self) -> None:
        files = Files(programs=(b"/usr/bin/git", b"/tmp/git"))
        decision = decide(policy(rule(commands=[["/usr/bin/git"]])), ADA, request("git", path=b"/tmp:/usr/bin"), files)
        assert not decision.allowed

    def test_a_program_with_several_names_is_admitted_by_the_name_in_use(self) -> None:
        links = Files(programs=(b"/bin/busybox", b"/bin/ls", b"/home/ada/ls"))
        rules = policy(rule(commands=[["/bin/ls", "..."]]))
        assert decide(rules, ADA, request("/bin/ls"), links).allowed
        assert not decide(rules, ADA, request("./ls"), links).allowed
        assert not decide(rules, ADA, request("/bin/busybox", "ls"), links).allowed

    def test_no_program_is_searched_if_any_may_run(self) -> None:
        files = Files()
        decision = decide(policy(rule(**ALLOW_ALL)), ADA, request("anything", environment=(b"PATH",)), files)
        assert (decision.allowed, decision.program, files.searches) == (True, None, 0)

    @pytest.mark.parametrize(
        ("keys", "asked", "allowed"),
        [
            ({}, {"detach": True}, False),
            ({"detach": True}, {"detach": True}, True),
            ({}, {"leave_processes": True}, False),
            ({"detach": True}, {"leave_processes": True}, False),
            ({"leave_processes": True}, {"leave_processes": True}, True),
            ({"leave_processes": "always"}, {"leave_processes": True}, True),
            ({}, {"terminal": True}, False),
            ({"terminal": True}, {"terminal": True}, True),
            ({"shell": True}, {"terminal": True}, True),
            ({"shell": True, "terminal": False}, {"terminal": True}, False),
            ({"terminal": False}, {}, True),
            ({}, {"environment": (b"LANG", b"LC_ALL", b"TERM")}, True),
            ({}, {"environment": (b"LANG", b"PATH")}, False),
            ({}, {"environment": (b"LD_PRELOAD",)}, False),
            ({"environment": []}, {"environment": (b"LANG",)}, False),
            ({"environment": ["A_*"]}, {"environment": (b"A_B", b"A_\xff")}, True),
            ({"directories": ["/srv/app"]}, {"cwd": b"/srv/app"}, True),
            ({"directories": ["/srv/app"]}, {"cwd": b"/srv/app/sub"}, True),
            ({"directories": ["/srv/app"]}, {"cwd": b"/srv/app/../sub"}, False),
            ({"directories": ["/srv/app"]}, {"cwd": b"/srv/application"}, False),
            ({"directories": ["/srv/app"]}, {"cwd": b"/srv/now"}, True),
            ({"directories": ["/srv/now"]}, {"cwd": b"/srv/app/x"}, True),
            ({"directories": ["~"]}, {"cwd": b"/home/ada/x"}, True),
            ({"directories": ["~"]}, {"cwd": b"/home/ada/out"}, False),
            ({"directories": ["~/x"]}, {"cwd": b"/home/ada"}, False),
            ({"directories": ["/"]}, {"cwd": b"/anywhere"}, True),
        ],
    )
    def test_terminal_detach_environment_and_directory_must_be_allowed(
        self, keys: dict[str, Any], asked: dict[str, Any], allowed: bool
    ) -> None:
        assert ask(request("ls", **asked), rule(commands=[["/usr/bin/ls"]], **keys)).allowed is allowed

    @pytest.mark.parametrize(
        ("value", "asked", "left"),
        [(False, False, False), (True, False, False), (True, True, True), ("always", False, True)],
    )
    def test_processes_are_left_if_that_is_requested_and_allowed_or_always(
        self, value: bool | str, asked: bool, left: bool
    ) -> None:
        decision = ask(request("ls", leave_processes=asked), rule(commands=[["*"]], leave_processes=value))
        assert (decision.allowed, decision.leave_processes) == (True, left)

    def test_the_decision_names_the_directory_that_was_checked(self) -> None:
        decision = ask(request("ls", cwd=b"/srv/now/x"), rule(commands=[["*"]], directories=["/srv/app"]))
        assert decision.directory == b"/srv/app/x"

    @pytest.mark.parametrize("record", [True, False])
    def test_a_run_is_recorded_if_the_admitting_rule_says_so(self, record: bool) -> None:
        other = rule("other", who={"users": ["eve"]}, commands=[["*"]], record=not record)
        assert ask(request("ls"), other, rule(commands=[["*"]], record=record)).record is record

    def test_an_account_without_a_home_matches_no_directory_below_it(self) -> None:
        homeless = dataclasses.replace(ADA, home=b"")
        assert not ask(request("ls", cwd=b"/"), rule(commands=[["*"]], directories=["~"]), by=homeless).allowed


class TestSentences:
    @pytest.mark.parametrize(
        ("asked", "sentence"),
        [
            (request("git", "push"), "the policy does not let ada run 'git' with these arguments"),
            (SHELL, "the policy does not let ada have a shell"),
            (request("ls", environment=(b"PATH",)), "set the environment variable 'PATH' for this"),
            (request("ls", terminal=True), "have a terminal for this"),
            (request("ls", detach=True), "detach from this run; it must end with its client"),
            (request("ls", leave_processes=True), "leave processes running after this run; they must end with it"),
            (request("ls", cwd=b"/etc"), "run this in the directory '/etc'"),
            (request(b"\x1b[2J\xff" + b"x" * 999), "run '\\x1b[2J\\udcffxxx"),
        ],
    )
    def test_a_denial_says_what_was_not_allowed(self, asked: PolicyRequest, sentence: str) -> None:
        decision = ask(asked, rule(commands=[["/usr/bin/ls"]], directories=["~"]))
        assert not decision.allowed
        assert sentence in decision.sentence
        assert len(decision.sentence) < 400

    def test_a_denial_reveals_nothing_about_rules_for_others(self) -> None:
        others = rule("secret", who={"users": ["eve"]}, commands=[["/usr/bin/ls"]], audit="hash")
        with_others, without = ask(request("ls"), others), ask(request("ls"))
        assert with_others == without
        assert with_others.sentence == "the policy does not let ada run anything here"

    def test_arguments_of_a_denied_request_are_hidden_in_the_audit_log_too(self) -> None:
        hidden = rule(commands=[["/usr/bin/ls"]], audit="hash")
        assert ask(request("ls"), hidden).audit == "hash"
        assert ask(request("git", "secret"), hidden).audit == "hash"
        assert ask(request("git", "secret"), rule(commands=[["/usr/bin/ls"]])).audit == "argv"


class TestLimits:
    def test_the_stricter_of_request_and_rule_applies(self) -> None:
        asked = request("ls", limits=ResourceLimits(memory=10, cpu=5.0, files=3), timeout=100.0, output=5)
        limited = rule(commands=[["*"]], limits={"memory": 5, "cpu": 9, "processes": 4, "timeout": 10, "file_size": 0})
        decision = ask(asked, limited)
        assert decision.limits == ResourceLimits(memory=5, cpu=5.0, processes=4, files=3, file_size=0)
        assert (decision.timeout, decision.output) == (10, 5)

    def test_a_rule_can_set_every_limit_that_a_run_has(self) -> None:
        every = {each.name: 7 for each in dataclasses.fields(ResourceLimits)}
        assert ask(request("ls"), rule(commands=[["*"]], limits=every)).limits == ResourceLimits(**every)

    @given(st.none() | st.integers(0), st.none() | st.integers(0))
    def test_no_limit_is_the_least_strict(self, one: int | None, other: int | None) -> None:
        result = stricter(one, other)
        assert result in (one, other)
        assert result is None or all(each is None or result <= each for each in (one, other))
        assert (result is None) == (one is None and other is None)


words = st.binary(max_size=6).map(lambda word: word.replace(b"\0", b""))
requests = st.builds(
    PolicyRequest,
    argv=st.lists(words | st.sampled_from([b"ls", b"/usr/bin/ls"]), min_size=1, max_size=4).map(tuple),
    shell=st.booleans(),
    cwd=words.map(lambda word: b"/" + word),
    path=words,
    environment=st.lists(words, max_size=2).map(tuple),
    terminal=st.booleans(),
    detach=st.booleans(),
    leave_processes=st.booleans(),
)
rules = st.builds(
    rule,
    commands=st.lists(st.sampled_from([["*"], ["*", "..."], ["/usr/bin/ls", "*"]]), max_size=2),
    shell=st.booleans(),
    terminal=st.sampled_from([None, True, False]),
    others=st.just(["see"]),
    detach=st.booleans(),
    leave_processes=st.sampled_from([True, False, "always"]),
    environment=st.lists(st.sampled_from(["*", "A"]), max_size=1),
    directories=st.sampled_from([None, ["~"], ["/"]]),
)


class TestTotality:
    @given(rules, requests, st.sampled_from([ADA, EVE, LOCAL]))
    def test_every_request_is_decided_and_only_a_rule_about_the_user_allows_it(
        self, allowing: object, asked: PolicyRequest, subject: Subject
    ) -> None:
        decision = ask(asked, allowing, by=subject)  # type: ignore[arg-type]  # st.builds knows no types
        assert isinstance(decision, Decision)
        assert decision.sentence
        assert decision.allowed == (decision.rule is not None)
        if subject is EVE:
            assert not decision.allowed

    @given(requests)
    def test_a_request_that_no_rule_allows_is_denied(self, asked: PolicyRequest) -> None:
        assert not decide(Policy(), ADA, asked, Files()).allowed
        assert not ask(asked, rule(others=["see", "attach", "signal"])).allowed


class TestExistingRuns:
    OWN = Owner("ada", ADA.fingerprint)
    SAME_ACCOUNT = Owner("ada", EVE.fingerprint)
    OTHER = Owner("eve", EVE.fingerprint)

    @pytest.mark.parametrize("action", ["see", "attach", "signal"])
    def test_runs_of_the_same_account_and_key_are_ones_own_whatever_the_rules_say(self, action: str) -> None:
        assert may_act_on(Policy(), ADA, action, self.OWN)  # type: ignore[arg-type]  # a Literal, as a parameter
        assert not may_act_on(Policy(), ADA, action, self.SAME_ACCOUNT)  # type: ignore[arg-type]
        assert not may_act_on(Policy(), ADA, action, Owner("eve", ADA.fingerprint))  # type: ignore[arg-type]

    def test_a_subject_with_a_shell_has_access_to_all_runs_of_the_account(self) -> None:
        assert may_act_on(policy(rule(shell=True)), ADA, "attach", self.SAME_ACCOUNT)
        assert may_act_on(policy(rule(shell=True)), ADA, "attach", Owner("ada"))
        assert not may_act_on(policy(rule(shell=True)), ADA, "see", self.OTHER)

    def test_a_subject_without_a_shell_cannot_get_one_by_attaching(self) -> None:
        confined = policy(rule(commands=[["/usr/bin/ls"]]), rule("other", who={"users": ["eve"]}, shell=True))
        assert not may_act_on(confined, ADA, "attach", self.SAME_ACCOUNT)

    def test_a_key_with_a_forced_command_has_access_to_its_own_runs_only(self) -> None:
        forced = dataclasses.replace(ADA, forced=True)
        everything = policy(rule(shell=True, others=["see", "attach", "signal"]))
        assert may_act_on(everything, forced, "signal", self.OWN)
        assert not may_act_on(everything, forced, "attach", self.SAME_ACCOUNT)
        assert not may_act_on(everything, forced, "see", self.OTHER)

    def test_runs_of_others_need_a_rule_that_grants_them(self) -> None:
        rules = policy(rule("a", others=["attach"]), rule("b", who={"users": ["eve"]}, others=["signal"]))
        assert may_act_on(rules, ADA, "attach", self.OTHER)
        assert may_act_on(rules, ADA, "see", self.OTHER)
        assert not may_act_on(rules, ADA, "signal", self.OTHER)
        assert not may_act_on(policy(rule(others=["see"])), ADA, "attach", self.OTHER)


class TestDefault:
    @pytest.mark.parametrize(("uid", "by_key"), [(0, True), (1000, False)])
    def test_the_services_account_may_do_everything_and_with_roots_service_so_may_all_who_log_in_by_key(
        self, uid: int, by_key: bool
    ) -> None:
        default = default_policy("ada", uid, ("*",))
        everything = request(
            "gone", "-x", environment=(b"PATH",), terminal=True, detach=True, leave_processes=True, cwd=b"/etc"
        )
        for asked in (SHELL, everything):
            assert decide(default, ADA, asked, Files()).allowed
            assert decide(default, LOCAL, asked, Files()).allowed
            assert decide(default, EVE, asked, Files()).allowed is by_key
            assert not decide(default, dataclasses.replace(EVE, fingerprint=None, local=True), asked, Files()).allowed
        assert may_act_on(default, ADA, "signal", Owner("eve"))
        assert not may_act_on(default, EVE, "see", Owner("ada"))

    def test_the_configuration_names_the_variables_that_may_be_set(self) -> None:
        default = default_policy("ada", 0, ("LANG",))
        assert decide(default, EVE, request("ls", environment=(b"LANG",)), Files()).allowed
        assert not decide(default, EVE, request("ls", environment=(b"PATH",)), Files()).allowed
        assert decide(default, ADA, request("ls"), Files()).environment == ("LANG",)


def test_a_subject_without_any_rule_about_it_is_recognised() -> None:
    assert has_rule_for(policy(rule(commands=[["/bin/ls"]])), ADA)
    assert not has_rule_for(policy(rule(commands=[["/bin/ls"]])), EVE)
    assert not has_rule_for(policy(), ADA)
