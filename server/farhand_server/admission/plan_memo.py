"""Remembers the plans of requests that come again and again, as those of scripts do, each time with another id.

A plan follows from the request, the caller, the configuration and the policy alone: all of what `plan_run` looks at. So
for an equal request of the same caller it is the same plan, but for id and fingerprint. After a reload there is another
configuration or policy, and nothing is remembered any more. What may change between two starts without a reload (files,
accounts) is never remembered: a plan for which a worker had to look at files is not added, and accounts are looked up
at login.
"""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import sha256
from operator import attrgetter
from typing import Final, NamedTuple

from farhand_protocol import messages as m
from farhand_protocol.messages.run import OF_THE_CHANNEL, request_text
from farhand_server.config import ServiceConfig
from farhand_server.policy import Policy
from farhand_server.runs.plan import STRING_SIZE, USUAL_REQUEST, Plan

from .caller import Caller

MAX_PLANS: Final = 256
"""Plans that are remembered: more than one for each of a hundred clients that send commands one after another. A plan
takes some 2 KiB, and none is remembered that takes more than `USUAL_REQUEST`, so all take at most 5 MiB."""

MAX_ARGUMENTS: Final = USUAL_REQUEST // STRING_SIZE
"""Arguments that a remembered plan has at most: more make the request larger than is usual."""

_asked: Final = attrgetter(*(name for name in m.RunRequest.model_fields if name not in {"id", *OF_THE_CHANNEL}))
"""All that a request says, apart from its id and what belongs to its channel."""


class _Remembered(NamedTuple):
    plan: Plan
    caller: Caller
    """Kept because the key has only its identity, which another one could get."""
    before: bytes
    """The text of which the fingerprint is the hash, up to the id."""
    after: bytes


class PlanMemo:
    """The plans of one service."""

    def __init__(self) -> None:
        self._config: ServiceConfig | None = None
        self._policy: Policy | None = None
        self._plans: dict[Hashable, _Remembered] = {}

    def find(self, request: m.RunRequest, caller: Caller, config: ServiceConfig, policy: Policy) -> Plan | None:
        """Return the plan of this request if one of an equal request is remembered."""
        if config is not self._config or policy is not self._policy:
            return None
        found = self._plans.get((id(caller), _asked(request)))
        if found is None:
            return None
        return found.plan.repeated(request.id, sha256(found.before + request.id.encode() + found.after).digest())

    def add(self, request: m.RunRequest, caller: Caller, config: ServiceConfig, policy: Policy, plan: Plan) -> None:
        """Remember what `plan_run` returned for this request without looking at files."""
        if config is not self._config or policy is not self._policy:
            self._plans.clear()
            self._config, self._policy = config, policy
        if len(plan.argv) > MAX_ARGUMENTS or plan.request_size:
            return  # before the text of a large request is made
        before, found, after = request_text(request).partition(request.id.encode())
        if not found:
            return
        if len(self._plans) >= MAX_PLANS:
            del self._plans[next(iter(self._plans))]  # the oldest one: a plan that is still used is soon added again
        self._plans[id(caller), _asked(request)] = _Remembered(plan, caller, before, after)
