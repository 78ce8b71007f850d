"""A tunnel may do what any rule about its user allows, less what its key forbids."""

from __future__ import annotations

from typing import Any

import pytest

from farhand_server.forwards.rules import ANY_CONNECTION, LOOPBACK_LISTENERS, ForwardRules
from farhand_server.policy import Decision, ForwardAsked, Rule, decide_forward, default_policy
from tests.server.policy.support import ADA, EVE, policy, rule

SHELL: dict[str, Any] = {"shell": True, "commands": [["*", "..."]]}
ALL = ForwardRules(ANY_CONNECTION, LOOPBACK_LISTENERS, agent=True)


def decided(*rules: Rule, asked: ForwardAsked | None = None) -> Decision:
    return decide_forward(policy(*rules), ADA, asked or ForwardAsked())


def test_who_may_have_a_shell_may_connect_anywhere_and_listen_on_loopback_addresses() -> None:
    assert decided(rule(**SHELL)).forward == ALL
    for uid in (0, 1000):
        default = decide_forward(default_policy("ada", uid, ("*",)), ADA, ForwardAsked(detach=True))
        assert (default.forward, default.detach) == (ALL, True)


@pytest.mark.parametrize("keys", [{"commands": [["/bin/ls"]]}, SHELL | {"record": True}, {"others": ["see"]}])
def test_who_may_run_some_commands_or_is_recorded_forwards_nothing(keys: dict[str, Any]) -> None:
    decision = decided(rule(**keys))
    assert (decision.allowed, decision.sentence) == (False, "the policy does not let ada forward connections")


def test_rules_allow_together_and_the_first_gives_the_limits() -> None:
    db = rule("db", forward={"connect": ["db:5432", "web:80"]}, limits={"timeout": 60.0, "runs": 2}, audit="hash")
    web = rule("web", forward={"connect": ["web:80"], "listen": ["*:8080"], "agent": True})
    others = rule("eve", who={"users": ["eve"]}, forward={"connect": ["*:*"]})
    decision = decided(others, db, web)
    assert (decision.rule, decision.timeout, decision.audit) == ("db", 60.0, "hash")
    assert (decision.share.name, decision.share.runs) == ("db", 2)
    assert decision.forward == ForwardRules(("db:5432", "web:80"), ("*:8080",), agent=True)
    assert decided(others, db).forward == ForwardRules(("db:5432", "web:80"), (), agent=False)
    assert not decide_forward(policy(db), EVE, ForwardAsked()).allowed


def test_what_a_rule_says_takes_the_place_of_what_its_shell_allows() -> None:
    assert decided(rule(**SHELL, forward={"connect": ["db:1"]})).forward == ForwardRules(("db:1",), (), agent=False)


def test_a_key_leaves_ports_or_the_agent_or_neither() -> None:
    shell = rule(**SHELL)
    assert decided(shell, asked=ForwardAsked(ports=False)).forward == ForwardRules((), (), agent=True)
    assert decided(shell, asked=ForwardAsked(agent=False)).forward == ALL._replace(agent=False)
    for denied in (
        decided(shell, asked=ForwardAsked(ports=False, agent=False)),
        decided(rule(forward={"connect": ["db:1"]}), asked=ForwardAsked(ports=False)),
    ):
        assert not denied.allowed
        assert denied.sentence.startswith("this key does not allow what the policy lets ada forward (restrict")


def test_a_tunnel_that_outlives_its_client_needs_a_rule_that_lets_runs_detach() -> None:
    asked = ForwardAsked(detach=True)
    assert "detach" in decided(rule(**SHELL), asked=asked).sentence
    both = decided(rule("a", **SHELL), rule("b", forward={"connect": ["db:1"]}, detach=True), asked=asked)
    assert both.forward == ForwardRules(("db:1",), (), agent=False)


@pytest.mark.parametrize(
    "forward", [{}, {"agent": False}, {"connect": ["db"]}, {"listen": ["x:0"]}, {"connect": "db:1"}, {"to": ["db:1"]}]
)
def test_a_rule_that_allows_nothing_or_means_nothing_is_refused(forward: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"allows nothing|neither HOST|no port|valid|permitted"):
        rule(forward=forward)
