"""Turns a request into a plan: what the policy lets the caller run, in which environment and with which limits."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from operator import itemgetter
from typing import Final, Literal

from farhand_protocol import messages as m
from farhand_protocol.limits import MiB
from farhand_protocol.messages.run import request_fingerprint
from farhand_protocol.values import bytes_to_json
from farhand_server import policy as rules
from farhand_server.audit.entry import MAX_ARGV, argv_sha256, fits
from farhand_server.config import ServiceConfig
from farhand_server.policy import FilesNeeded, Lookup, NoFiles, Policy
from farhand_server.runs.environment import EnvironmentRefused
from farhand_server.runs.plan import AllowedForward, AllowedTransfer, Origin, Plan, TerminalPlan
from farhand_server.runs.process.usage import ResourceLimits
from farhand_server.worker.messages import LookUp

from .caller import Caller
from .command import command_text, login_name, shell_argv

FORCED_ENVIRONMENT: Final = ("LANG", "LC_*", "TERM")
"""Variables that a request may set for a forced command, whatever the policy says. None of them can change which
program is executed."""

DEFAULT_TERMINAL_SPOOL: Final = 64 * MiB
"""Bytes of a terminal's output that are kept if the request does not say how many: a day's work is a few MiB. Only
bytes actually written need disk space."""


Shown = Literal["argv", "hash"]


class Denied(Exception):
    """The caller may not do this; the text says what. `argv` is what would have been executed, and `audit` tells how
    much of it the audit log may show.
    """

    def __init__(self, sentence: str, argv: tuple[bytes, ...] | None = None, audit: Shown = "argv") -> None:
        super().__init__(sentence)
        self.argv = argv
        self.audit = audit


class LookNeeded(Exception):
    """The policy must know what the caller's files are: plan again with the answer to `question`."""

    def __init__(self, question: LookUp) -> None:
        super().__init__(question)
        self.question = question


def plan_run(
    request: m.RunRequest, caller: Caller, config: ServiceConfig, policy: Policy, lookup: Lookup | None = None
) -> Plan:
    """Return the plan of a new run for this request. Raises `Denied`, and, without `lookup`, `LookNeeded`.

    Exactly what the policy has judged is executed: if the policy names programs, `argv[0]` becomes the file it found,
    and if it names directories, `cwd` becomes a path without symbolic links.
    """
    if request.transfer is not None:
        return _plan_transfer(request, request.transfer, caller, config, policy)
    if request.forward is not None:
        return _plan_forward(request, request.forward, caller, config, policy)
    home, options, runs = caller.home, caller.principal.options, config.runs
    added = dict(options.environment)
    if options.command is not None and not request.login:
        # Forced commands (rrsync, gitolite, borg) expect the request in this variable, as with sshd(8). A request for a
        # login shell sets none.
        added[b"SSH_ORIGINAL_COMMAND"] = _as_text(request)
    if request.ssh_variables:
        added |= caller.ssh_variables
    argv, argv0 = _argv(request, caller)
    terminal = None
    if request.terminal is not None:
        if options.no_pty:
            sentence = "this key does not allow a terminal (restrict or no-pty in authorized_keys); run it without one"
            raise Denied(sentence, argv, "hash")
        terminal = _terminal(request.terminal)
        added[b"TERM"] = terminal.name.encode()
    try:
        # Without a forced command, only the policy limits the names.
        admitted = FORCED_ENVIRONMENT if options.command is not None else ("*",)
        env = home.build(requested=request.env, admitted=admitted, added=added)
    except EnvironmentRefused as error:
        raise Denied(str(error), argv, "hash") from None
    bounds = request.bounds or m.Bounds()
    timeout = min(request.timeout or runs.max_timeout, runs.max_timeout)
    grace = runs.grace if request.grace is None else request.grace
    keep = request.on_disconnect == "keep"
    wished = options.environment if caller.principal.by_own_line else ()
    wanted = rules.PolicyRequest(
        argv=argv,
        shell=options.command is not None or request.shell is not None or request.login,
        # A forced command starts where its author expects it to: the client must not choose what relative paths mean.
        cwd=home.resolve(request.cwd if options.command is None else None),
        path=env[b"PATH"],
        environment=tuple(map(_name, (*request.env, *wished))),
        terminal=request.terminal is not None,
        detach=keep or grace > runs.grace,
        leave_processes=request.leave_processes,
        limits=ResourceLimits(
            memory=bounds.memory,
            cpu=bounds.cpu,
            processes=bounds.processes,
            files=bounds.files,
            file_size=bounds.file_size,
        ),
        output=bounds.output,
        timeout=timeout if timeout <= m.MAX_SECONDS else None,
    )
    fallback = home.fallback(request.cwd if options.command is None else None)
    try:
        decision = rules.decide(policy, caller.subject, wanted, lookup or NoFiles())
    except FilesNeeded:
        raise LookNeeded(rules.question(policy, caller.subject, wanted, fallback)) from None
    if not decision.allowed:
        raise Denied(decision.sentence, argv, decision.audit)
    given = argv if argv is request.argv else None
    if decision.program is not None:
        argv = (decision.program, *argv[1:])
    if terminal is not None and request.grace is None and decision.detach:
        grace = runs.keep_terminal
    spool = request.spool or (None if terminal is None else DEFAULT_TERMINAL_SPOOL)
    if decision.record:
        spool = runs.max_spool  # whatever was requested, because a recording needs space for all output
    audit: Shown = "hash" if "hash" in (decision.audit, config.audit.commands) else "argv"
    if given is not None and not fits(argv):
        # Of many arguments, the text was made while the request was decoded, elsewhere than on the loop.
        argv_sha256(argv, argv[0] + request.command_line[len(given[0]) :])
    command = command_text(request, shell=home.shell)
    return Plan(
        id=request.id,
        owner=caller.principal.user,
        uid=caller.principal.uid,
        fingerprint=request_fingerprint(request),
        command=command,
        argv=argv,
        cwd=decision.directory or wanted.cwd,
        env=env,
        stdin=request.stdin,
        merge_stderr=request.merge_stderr,
        timeout=decision.timeout,
        idle_timeout=request.idle_timeout,
        kill_after=runs.kill_after if request.kill_after is None else request.kill_after,
        linger=runs.linger,
        keep=keep,
        grace=grace,
        spool=runs.spool,
        disk_spool=None if spool is None else min(spool, runs.max_spool),
        output=decision.output,
        limits=decision.limits,
        credentials=home.credentials,
        cgroup=runs.cgroup,
        origin=Origin(
            how=caller.principal.how,
            key=caller.principal.fingerprint,
            peer=caller.peer,
            request=_record(request, argv, command, audit, recorded=decision.record),
            audit=audit,
        ),
        argv0=argv0,
        terminal=terminal,
        record=decision.record,
        record_input=request.record_input,
        leave_processes=decision.leave_processes,
        login=argv0 is not None,
        internal=request.internal,
        rule=decision.share,
        home=fallback if decision.directory is None else b"",
        judged=decision.directory is not None,
    )


def _plan_transfer(
    request: m.RunRequest, wanted: m.TransferRequest, caller: Caller, config: ServiceConfig, policy: Policy
) -> Plan:
    home = caller.home
    shown = (b"get" if wanted.access == "read" else b"put", *wanted.paths)
    asked = rules.TransferAsked(
        wanted.access,
        wanted.paths,
        home=home.directory,
        restricted=caller.principal.options.restricted,
        detach=_detaches(request, config),
        timeout=_timeout(request, config),
    )
    decision = rules.decide_transfer(policy, caller.subject, asked)
    if not decision.allowed:
        raise Denied(decision.sentence, shown, decision.audit)
    transfer = AllowedTransfer(wanted.access, wanted.paths, home.directory, decision.roots, decision.writable)
    return _own_plan(request, caller, config, decision, shown, transfer=transfer)


def _plan_forward(
    request: m.RunRequest, wanted: m.ForwardRequest, caller: Caller, config: ServiceConfig, policy: Policy
) -> Plan:
    options = caller.principal.options
    shown = (b"forward", wanted.purpose.encode()) if wanted.purpose else (b"forward",)
    asked = rules.ForwardAsked(
        ports=not options.no_ports,
        agent=not options.no_agent,
        detach=request.on_disconnect == "keep",
        timeout=_timeout(request, config),
    )
    decision = rules.decide_forward(policy, caller.subject, asked)
    if not decision.allowed or decision.forward is None:
        raise Denied(decision.sentence, shown, decision.audit)
    allowed = decision.forward._replace(permit_open=options.permit_open, permit_listen=options.permit_listen)
    forward = AllowedForward(allowed, caller.home.directory)
    return _own_plan(request, caller, config, decision, shown, forward=forward)


def _detaches(request: m.RunRequest, config: ServiceConfig) -> bool:
    return request.on_disconnect == "keep" or (request.grace or 0.0) > config.runs.grace


def _timeout(request: m.RunRequest, config: ServiceConfig) -> float | None:
    timeout = min(request.timeout or config.runs.max_timeout, config.runs.max_timeout)
    return timeout if timeout <= m.MAX_SECONDS else None


def _own_plan(
    request: m.RunRequest,
    caller: Caller,
    config: ServiceConfig,
    decision: rules.Decision,
    shown: tuple[bytes, ...],
    *,
    transfer: AllowedTransfer | None = None,
    forward: AllowedForward | None = None,
) -> Plan:
    """Return the plan of a run whose program is the service's own; `shown` is its command for people."""
    home, runs = caller.home, config.runs
    audit: Shown = "hash" if "hash" in (decision.audit, config.audit.commands) else "argv"
    command = command_text(request, shell=home.shell)
    grace = runs.grace if request.grace is None else request.grace
    if not decision.detach:
        # Clients ask for as long as they try to return. That this is too long is no reason to refuse a tunnel.
        grace = min(grace, runs.grace)
    return Plan(
        id=request.id,
        owner=caller.principal.user,
        uid=caller.principal.uid,
        fingerprint=request_fingerprint(request),
        command=command,
        argv=shown,
        cwd=b"/",
        env={},
        stdin=True,
        merge_stderr=False,
        timeout=decision.timeout,
        idle_timeout=None,
        kill_after=runs.kill_after if request.kill_after is None else request.kill_after,
        linger=runs.linger,
        keep=request.on_disconnect == "keep",
        grace=grace,
        spool=runs.spool,
        limits=decision.limits,
        credentials=home.credentials,
        cgroup=runs.cgroup,
        origin=Origin(
            how=caller.principal.how,
            key=caller.principal.fingerprint,
            peer=caller.peer,
            request=_record(request, shown, command, audit, recorded=False),
            audit=audit,
        ),
        internal=request.internal,
        rule=decision.share,
        transfer=transfer,
        forward=forward,
    )


def _argv(request: m.RunRequest, caller: Caller) -> tuple[tuple[bytes, ...], bytes | None]:
    """Return the arguments to execute, and the program's name if that is not `argv[0]`."""
    shell, forced = caller.home.shell, caller.principal.options.command
    if forced is not None:
        return shell_argv(shell, forced), None
    if request.prelude is not None and request.shell is not None:
        return (shell, b"-c", request.prelude, shell.rpartition(b"/")[2], request.shell), None
    if request.shell is not None:
        return shell_argv(shell, request.shell), None
    if request.login:
        return (shell,), login_name(shell)
    assert request.argv is not None
    return request.argv, None


def _terminal(wanted: m.TerminalRequest) -> TerminalPlan:
    return TerminalPlan(wanted.name, wanted.size.columns, wanted.size.rows, wanted.modes)


def _as_text(request: m.RunRequest) -> bytes:
    if request.shell is not None:
        return request.shell
    return os.fsencode(shlex.join(os.fsdecode(argument) for argument in request.argv or ()))


_name: Final[Callable[[tuple[bytes, bytes]], bytes]] = itemgetter(0)

_LEFT_OUT: Final[dict[str, bool | dict[str, bool]]] = {
    **dict.fromkeys(("type", "id", "attachment", "env", "window"), True),
    "terminal": {"modes": True},
}
"""Fields that the record holds elsewhere, must not contain, or does not need."""


_COMMAND: Final[dict[str, bool | dict[str, bool]]] = dict.fromkeys(
    ("argv", "shell", "prelude", "transfer", "forward"), True
)
"""Fields that contain what is executed."""


def _record(request: m.RunRequest, argv: tuple[bytes, ...], command: str, audit: Shown, *, recorded: bool) -> bytes:
    """Return the request as JSON for the record, with only the names of its environment variables.

    If the command is hidden or too long, only its hash is recorded.
    """
    ours: dict[str, object] = {"recorded": True} if recorded else {}
    texts = request.argv or (request.shell or b"", request.prelude or b"")
    if request.transfer is not None:
        texts = request.transfer.paths
    shown = audit != "hash" and len(texts) + len(request.env) <= MAX_ARGV
    if not (shown and fits((*texts, *(name for name, _ in request.env)))):
        digest = argv_sha256(argv)
        if request.transfer is not None:
            ours["transfer"] = {"access": request.transfer.access}
        if request.forward is not None:
            ours["forward"] = {}
        told = request.model_dump(mode="json", exclude_defaults=True, exclude=_LEFT_OUT | _COMMAND)
        return json.dumps(told | {"command": f"sha256:{digest}", "argv_sha256": digest} | ours).encode()
    names = [bytes_to_json(name) for name, _ in request.env]
    told = request.model_dump(mode="json", exclude_defaults=True, exclude=_LEFT_OUT)
    return json.dumps(told | {"command": command} | ({"env": names} if names else {}) | ours).encode()
