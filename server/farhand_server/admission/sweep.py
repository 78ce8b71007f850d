"""Plans the runs that remove what transfers have left behind. The service itself asks for them, and they are judged as
the transfers were: by the policy in force, for the same account and key."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from farhand_protocol.values import arguments_to_json
from farhand_server import policy as rules
from farhand_server.audit.entry import argv_sha256
from farhand_server.config import ServiceConfig
from farhand_server.policy import Policy
from farhand_server.runs.plan import AllowedTransfer, Origin, Plan

from .caller import Caller
from .command import transfer_text

SWEEP_TIMEOUT: Final = 60.0
"""Seconds for one destination: a tree of 100,000 entries takes less than one on a disk. What takes longer is a file
server that does not answer, and other destinations must not wait for it."""


def plan_sweep(
    run_id: str, path: bytes, caller: Caller, config: ServiceConfig, policy: Policy, *, before: float
) -> Plan | None:
    """Return the plan of a run that sweeps one destination of what was left there before a time; None if the policy
    would not let the caller write there now."""
    home, runs, who = caller.home, config.runs, caller.principal
    asked = rules.TransferAsked("write", (path,), home=home.directory, timeout=SWEEP_TIMEOUT)
    decision = rules.decide_transfer(policy, caller.subject, asked)
    if not decision.allowed:
        return None
    shown = (b"sweep", path)
    hidden = "hash" in (decision.audit, config.audit.commands)
    digest = argv_sha256(shown)
    command = f"sha256:{digest}" if hidden else transfer_text("sweep", (path,))
    told: dict[str, object] = {"command": command, "internal": True}
    if hidden:
        told |= {"argv_sha256": digest}
    else:
        told |= {"transfer": {"access": "sweep", "paths": arguments_to_json((path,))}}
    return Plan(
        id=run_id,
        owner=who.user,
        uid=who.uid,
        fingerprint=hashlib.sha256(b"sweep " + run_id.encode()).digest(),
        command=command,
        argv=shown,
        cwd=b"/",
        env={},
        stdin=False,
        merge_stderr=False,
        timeout=decision.timeout,
        idle_timeout=None,
        kill_after=0.0,
        linger=runs.linger,
        keep=True,
        grace=runs.grace,
        spool=runs.spool,
        limits=decision.limits,
        credentials=home.credentials,
        cgroup=runs.cgroup,
        origin=Origin(
            how=who.how,
            key=who.fingerprint,
            request=json.dumps(told).encode(),
            audit="hash" if hidden else "argv",
        ),
        internal=True,
        rule=decision.share,
        transfer=AllowedTransfer("sweep", (path,), home.directory, decision.roots, decision.writable, before),
    )
