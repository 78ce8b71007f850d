"""A sweep is judged as the transfer before it was, and acts for the same account."""

from __future__ import annotations

import json

import pytest

from farhand_server.admission.caller import Caller
from farhand_server.admission.sweep import SWEEP_TIMEOUT, plan_sweep
from farhand_server.auth.accounts import Principal
from farhand_server.config import ServiceConfig
from farhand_server.credentials import Credentials
from farhand_server.policy import Policy, Rule, Subject, default_policy
from farhand_server.runs.environment import Home
from farhand_server.runs.plan import AllowedTransfer, Plan
from tests.support.plans import DIRECTORIES, RUN_ID

KEY = "SHA256:" + "A" * 43
ADA = Credentials("ada", 1000, 1000, (1000, 4))
ALLOW_ALL = default_policy("ada", 1000, ("*",))


def sweep(path: bytes, policy: Policy = ALLOW_ALL, **config: object) -> Plan | None:
    home = Home(b"/bin/sh", b"/home/ada", {b"HOME": b"/home/ada"}, ADA)
    subject = Subject("ada", 1000, fingerprint=KEY, home=b"/home/ada")
    caller = Caller(Principal("ada", 1000, "key", KEY), home, subject)
    settings = ServiceConfig.model_validate(config, context=DIRECTORIES)
    return plan_sweep(RUN_ID, path, caller, settings, policy, before=17.0)


def rule(**allowed: object) -> Policy:
    told = {"name": "releases", "who": {"users": ["ada"], "keys": [KEY]}} | allowed
    return Policy(rules=(Rule.model_validate(told),))


def test_it_is_an_internal_run_as_the_user_that_ends_by_itself() -> None:
    plan = sweep(b"/srv/a b")
    assert plan is not None
    assert plan.transfer == AllowedTransfer("sweep", (b"/srv/a b",), b"/home/ada", None, (), 17.0)
    assert (plan.owner, plan.uid, plan.credentials) == ("ada", 1000, ADA)
    assert (plan.argv, plan.command) == ((b"sweep", b"/srv/a b"), "sweep '/srv/a b'")
    assert (plan.internal, plan.keep, plan.stdin, plan.timeout) == (True, True, False, SWEEP_TIMEOUT)
    assert (plan.origin.how, plan.origin.key, plan.origin.peer) == ("key", KEY, None)
    assert json.loads(plan.origin.request) == {
        "command": "sweep '/srv/a b'",
        "internal": True,
        "transfer": {"access": "sweep", "paths": ["/srv/a b"]},
    }


def test_it_opens_only_what_the_policy_allows_now() -> None:
    plan = sweep(b"/srv/app/1", rule(files={"write": ["/srv/app"]}, limits={"memory": "64 MiB", "timeout": "5s"}))
    assert plan is not None
    assert plan.transfer is not None
    assert plan.transfer.roots == plan.transfer.writable == (b"/srv/app",)
    assert (plan.limits.memory, plan.timeout, plan.rule.name) == (64 << 20, 5.0, "releases")


@pytest.mark.parametrize("files", [{"write": ["/srv/other"]}, {"read": ["/srv/app"]}])
def test_what_may_not_be_written_is_not_swept(files: dict[str, object]) -> None:
    assert sweep(b"/srv/app/1", rule(files=files)) is None


def test_a_hidden_path_is_not_on_record() -> None:
    for plan in (sweep(b"/a", audit={"commands": "hash"}), sweep(b"/a", rule(files={"write": ["/"]}, audit="hash"))):
        assert plan is not None
        assert plan.origin.audit == "hash"
        assert plan.command.startswith("sha256:")
        assert "/a" not in plan.origin.request.decode()
