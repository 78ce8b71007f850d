"""Requests planned for a user called ada."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_server.admission.caller import Caller
from farhand_server.admission.plan import Denied, plan_run
from farhand_server.auth.accounts import Principal
from farhand_server.auth.authorized_keys import KeyOptions
from farhand_server.config import ServiceConfig
from farhand_server.config.values import Directories
from farhand_server.policy import Policy, Rule, Subject, default_policy
from farhand_server.runs.environment import Home
from farhand_server.runs.plan import Plan
from tests.server.policy.support import Files

PATH = b"/usr/bin:/bin"


HOME = Home(shell=b"/bin/sh", directory=b"/home/ada", environment={b"HOME": b"/home/ada", b"PATH": PATH})


BASE = Path("/home/ada")


DIRECTORIES = Directories(home=BASE, config=BASE / "config", state=BASE / "state", runtime=BASE / "run")


RUN_ID = "0192f0c1-2b3d-7c4e-8f50-617283940a1b"


OWNER = Principal("ada", 1000, "peer")


FORCED = dataclasses.replace(OWNER, options=KeyOptions(command=b"./backup --serve"))


ALLOW_ALL = default_policy("ada", 1000, ("*",))


def rules(*rules: dict[str, object]) -> Policy:
    """Return a policy of these rules, all about ada."""
    about = {"who": {"users": ["ada"]}}
    return Policy(
        rules=tuple(Rule.model_validate({"name": f"r{number}"} | about | rule) for number, rule in enumerate(rules))
    )


def plan(
    request: dict[str, object], principal: Principal = OWNER, policy: Policy = ALLOW_ALL, **config: object
) -> Plan:
    """Return the plan of a request, by default for the command `true`."""
    others = {"shell", "login", "transfer", "forward"}
    fields = {"id": RUN_ID} | ({} if others & request.keys() else {"argv": (b"true",)}) | request
    subject = Subject("ada", 1000, forced=principal.options.command is not None, local=True, home=b"/home/ada")
    caller = Caller(principal, HOME, subject, "192.0.2.7:50214")
    settings = ServiceConfig.model_validate(config, context=DIRECTORIES)
    return plan_run(m.RunRequest.model_validate(fields), caller, settings, policy, Files())


def denied(request: dict[str, object], principal: Principal = OWNER, policy: Policy = ALLOW_ALL) -> Denied:
    """Return the refusal of a request."""
    with pytest.raises(Denied) as caught:
        plan(request, principal, policy)
    return caught.value
