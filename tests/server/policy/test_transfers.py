"""Files may be transferred below the directories that a rule names, and by keys that may do more than one thing."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.policy import Decision, Rule, TransferAsked, decide_transfer, default_policy
from farhand_server.policy.transfers import from_home
from tests.server.policy.support import ADA, EVE, policy, rule

HOME = b"/home/ada"
LOGS = rule(files={"read": ["/var/log", "~/data"], "write": ["/srv/app/"]})
FORCED = dataclasses.replace(ADA, forced=True)


def read(*paths: bytes, **keys: object) -> TransferAsked:
    return TransferAsked(**{"access": "read", "paths": paths, "home": HOME} | keys)  # type: ignore[arg-type]  # the tests name them


def write(path: bytes) -> TransferAsked:
    return TransferAsked("write", (path,), HOME)


def decided(asked: TransferAsked, *rules: Rule) -> Decision:
    return decide_transfer(policy(*rules), ADA, asked)


@pytest.mark.parametrize(
    "path",
    [
        b"/var/log",
        b"/var/log/",
        b"/var/log/*.gz",
        b"/var/log/a/../b",
        b"//var/log/x",
        b"data",
        b"./data/.",
        b"~//data",
        b"../../var/log",
    ],
)
def test_what_is_in_a_directory_of_the_rule_may_be_read(path: bytes) -> None:
    decision = decided(read(path), LOGS)
    assert (decision.allowed, decision.rule) == (True, "rule")
    assert decision.roots == (b"/var/log", b"/home/ada/data")


@pytest.mark.parametrize(
    "path",
    [
        *(b"/etc/passwd", b"/var/logs", b"/var", b"/", b"~", b"", b".", b"/var/log/..", b"/var/log/../../etc/x"),
        *(b"/var/*/x", b"/srv/app/x", b"~eve/data", b"/home/eve/data", b"/var/lo*"),
    ],
)
def test_what_is_not_may_not_and_the_sentence_names_it(path: bytes) -> None:
    decision = decided(read(b"/var/log/x", path), LOGS)
    assert (decision.allowed, decision.rule) == (False, None)
    assert decision.sentence == f"the policy does not let ada read {path.decode()!a}"


def test_reading_is_not_writing() -> None:
    assert decided(write(b"/srv/app/new/x"), LOGS).roots == (b"/srv/app/",)
    assert decided(write(b"/var/log/x"), LOGS).sentence == "the policy does not let ada write '/var/log/x'"
    assert not decided(write(b"/srv/app"), rule(files={"read": ["/srv/app"]})).allowed


def test_what_a_subject_may_write_by_any_rule_is_told() -> None:
    others = rule("others", who={"users": ["eve"]}, files={"write": ["/var"]})
    more = rule("more", files={"read": ["/x"], "write": ["~/in", "/srv/app/"]})
    assert decided(read(b"/var/log/x"), LOGS, others, more).writable == (b"/srv/app/", b"/home/ada/in")


def test_a_shell_could_transfer_everything_anyway() -> None:
    assert decided(write(b"/anything"), rule(shell=True)).roots is None
    assert not decided(read(b"/etc/x"), rule(shell=True, files={"read": ["/var/log"]})).allowed
    assert decided(read(b"/etc/x"), rule("a", files={"read": ["/var"]}), rule("b", shell=True)).rule == "b"


def test_commands_allow_no_transfer_nor_does_a_shell_that_is_recorded() -> None:
    assert not decided(read(b"/x"), rule(commands=[["*", "..."]])).allowed
    assert not decided(read(b"/x"), rule(shell=True, record=True)).allowed
    assert decided(read(b"/x/y"), rule(shell=True, record=True, files={"read": ["/x"]})).roots == (b"/x",)


def test_keys_for_one_purpose_do_not_transfer_unless_the_rule_says_so() -> None:
    exception = rule("exception", files={"read": ["/var/log"], "restricted_keys": True})
    for subject, asked, why in (
        (FORCED, read(b"/var/log/x"), "command="),
        (ADA, read(b"/var/log/x", restricted=True), "restrict"),
    ):
        decision = decide_transfer(policy(LOGS), subject, asked)
        assert not decision.allowed
        assert decision.sentence.startswith(f"this key does not allow transfers ({why} in authorized_keys)")
        assert not decide_transfer(default_policy("ada", 1000, ()), subject, asked).allowed
        assert decide_transfer(policy(LOGS, exception), subject, asked).rule == "exception"


def test_a_rule_limits_transfers_as_it_limits_runs() -> None:
    limits = {"timeout": "1m", "runs": 2, "starts": "3/s", "memory": "1 GiB", "output": 1}
    decision = decided(read(b"/x/y", timeout=90.0), rule(files={"read": ["/x"]}, limits=limits, audit="hash"))
    assert (decision.timeout, decision.share.runs, str(decision.share.starts)) == (60.0, 2, "3/s")
    assert (decision.limits.memory, decision.output, decision.audit) == (1 << 30, None, "hash")
    assert decided(read(b"/x/y", detach=True), rule(files={"read": ["/x"]})).sentence.startswith(
        "the policy does not let ada detach from this transfer"
    )


def test_nobody_else_may() -> None:
    decision = decide_transfer(policy(LOGS), EVE, read(b"/var/log/x"))
    assert (decision.allowed, decision.sentence) == (False, "the policy does not let eve run anything here")


def test_a_home_that_there_is_not_contains_nothing() -> None:
    nobody = dataclasses.replace(ADA, home=b"")
    decision = decide_transfer(policy(rule(files={"read": ["~"]})), nobody, read(b"/x", home=b"/"))
    assert not decision.allowed
    assert decide_transfer(policy(rule(files={"read": ["/"]})), ADA, read(b"/x")).allowed


@pytest.mark.parametrize("files", [{}, {"read": [], "write": []}, {"restricted_keys": True}, {"read": ["log"]}])
def test_directories_are_named_and_absolute(files: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"give the directories|must be an absolute path"):
        rule(files=files)


@given(st.lists(st.sampled_from([b"..", b".", b"a", b"var", b"log", b"", b"x*"]), max_size=8).map(b"/".join))
def test_whatever_is_allowed_is_there_once_its_names_are_followed(path: bytes) -> None:
    if decided(read(path), LOGS).allowed:
        at: list[bytes] = []
        for name in from_home(path, HOME).split(b"/"):
            at = at[:-1] if name == b".." else at + [name] * (name not in (b"", b"."))
        assert at[:2] == [b"var", b"log"] or at[:3] == [b"home", b"ada", b"data"]
