"""From a request to a plan: what the principal may do, in which environment, within which limits."""

from __future__ import annotations

import os
import shlex
from typing import Final

from farhand_protocol import messages as m
from farhand_protocol.fingerprint import fingerprint
from farhand_server.auth.principal import Principal
from farhand_server.config import Config
from farhand_server.runs.environment import EnvironmentRefused, Home
from farhand_server.runs.limits import Limits
from farhand_server.runs.plan import Plan

FORCED_ENVIRONMENT: Final = ("LANG", "LC_*", "TERM")
"""What a request may set beside a forced command: nothing that changes which program it turns out to be."""


MAX_COMMAND: Final = 1000
"""Characters of a command as it is listed: for people, and a thousand runs fit into a listing."""


class Denied(Exception):
    """The principal may not do this; the text says what."""


def decide(request: m.Run, principal: Principal, home: Home, config: Config) -> Plan:
    """Return what will run for this request. Raises `Denied`."""
    options = principal.options
    added = dict(options.environment)
    argv = request.argv
    if options.command is not None:
        # The names under which sshd(8) and its forced commands know the request (rrsync, gitolite, borg).
        added[b"SSH_ORIGINAL_COMMAND"] = _as_text(request)
        argv = (home.shell, b"-c", options.command)
    elif request.shell is not None:
        argv = (home.shell, b"-c", request.shell)
    assert argv is not None
    admitted = FORCED_ENVIRONMENT if options.command is not None else config.policy.environment
    try:
        env = home.build(requested=request.env, admitted=admitted, added=added)
    except EnvironmentRefused as error:
        raise Denied(str(error)) from None
    runs = config.runs
    bounds = request.bounds or m.Bounds()
    timeout = min(request.timeout or runs.max_timeout, runs.max_timeout)
    return Plan(
        id=request.id,
        owner=principal.user,
        uid=principal.uid,
        fingerprint=fingerprint(request),
        command=os.fsdecode(_as_text(request))[:MAX_COMMAND],
        argv=argv,
        # A forced command starts where its author expects it: elsewhere its relative names would be the client's.
        cwd=home.resolve(request.cwd if options.command is None else None),
        env=env,
        stdin=request.stdin,
        merge_stderr=request.merge_stderr,
        timeout=timeout if timeout <= m.MAX_SECONDS else None,
        idle_timeout=request.idle_timeout,
        kill_after=runs.kill_after if request.kill_after is None else request.kill_after,
        linger=runs.linger,
        keep=request.on_disconnect == "keep",
        grace=runs.grace if request.grace is None else request.grace,
        spool=runs.spool,
        disk_spool=None if request.spool is None else min(request.spool, runs.max_spool),
        output=bounds.output,
        limits=Limits(
            memory=bounds.memory,
            cpu=bounds.cpu,
            processes=bounds.processes,
            files=bounds.files,
            file_size=bounds.file_size,
        ),
    )


def _as_text(request: m.Run) -> bytes:
    if request.shell is not None:
        return request.shell
    return os.fsencode(shlex.join(os.fsdecode(argument) for argument in request.argv or ()))
