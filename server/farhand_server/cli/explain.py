"""`farhandd explain`: shows what the policy decides about a request, by which rule, and why earlier rules did not
match."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import pwd
import socket
from collections.abc import Callable
from typing import Any, Final

from farhand_forwards.targets import MAX_PORT, InetTarget, UnixTarget
from farhand_server.admission.command import shell_argv
from farhand_server.auth.accounts import Principal, user_name
from farhand_server.config import ConfigError, ServiceConfig
from farhand_server.credentials import Credentials
from farhand_server.forwards.rules import ForwardJudge, ForwardRules
from farhand_server.logs import quote
from farhand_server.policy import (
    ForwardAsked,
    KnownFiles,
    Policy,
    PolicyRequest,
    Rule,
    Subject,
    TransferAsked,
    decide,
    decide_forward,
    decide_transfer,
    policy_in_force,
    question,
    subject_of,
)
from farhand_server.policy.decide import Decision, RuleResult, judge_by_rule
from farhand_server.policy.forwards import judge_forward
from farhand_server.policy.transfers import judge_transfer
from farhand_server.runs.environment import Home
from farhand_server.worker.messages import LookedUp, LookUp
from farhand_server.worker.workers import current

from .command import configuration
from .report import print_error, print_result

ALLOWED: Final = 0
DENIED: Final = 1
UNDECIDED: Final = 2
"""The exit code for wrong usage, an unknown account, or a policy that cannot be used."""


def explain(options: argparse.Namespace) -> int:
    """Print the decision. Return 0 if the request is allowed, 1 if it is denied, 2 if no decision is possible."""
    try:
        config = configuration(options)
        policy = policy_in_force(config.policy)
        home = Home.of(_uid(options.user))
        if options.transfer is not None:
            return _explain_transfer(options, config, policy, home)
        if options.forward is not None:
            return _explain_forward(options, config, policy, home)
        request = _request(options, home)
    except (ConfigError, ValueError) as error:
        print_error(str(error))
        return UNDECIDED
    subject = _subject(options, home)
    asked = question(policy, subject, request, home.fallback(None if options.cwd is None else os.fsencode(options.cwd)))
    try:
        # Only root can act with the rights of other users.
        lookup = asyncio.run(_look(asked, home.credentials if os.geteuid() == 0 else None))
    except (OSError, ValueError) as error:
        print_error(f"cannot look at the files of {subject.user}: {error}")
        return UNDECIDED
    decision = decide(policy, subject, request, lookup)
    report = _report(config, policy, subject, request, decision, lookup)
    print_result(json.dumps(report, indent=2) if options.json else _report_text(report))
    return ALLOWED if decision.allowed else DENIED


def _explain_transfer(options: argparse.Namespace, config: ServiceConfig, policy: Policy, home: Home) -> int:
    _check_key(options)
    if not options.arguments:
        raise ValueError("no path to explain: give it after --")
    paths = tuple(os.fsencode(each) for each in options.arguments)
    asked = TransferAsked(options.transfer, paths, home.directory, detach=options.detach)
    subject = _subject(options, home)
    decision = decide_transfer(policy, subject, asked)
    roots = None if decision.roots is None else [os.fsdecode(root) for root in decision.roots]
    report = _who_and_why(subject, decision) | {
        "directories": (roots or ["/"]) if decision.allowed else [],
        "limits": _limits(decision),
        "audit": decision.audit,
        "policy": _policy_name(config),
    }
    report["considered"] = _considered(policy, decision, lambda rule: judge_transfer(rule, subject, asked))
    print_result(json.dumps(report, indent=2) if options.json else _report_text(report))
    return ALLOWED if decision.allowed else DENIED


def _explain_forward(options: argparse.Namespace, config: ServiceConfig, policy: Policy, home: Home) -> int:
    """Explain what a tunnel may do, and whether it may connect to, or listen on, each of the targets that are given."""
    _check_key(options)
    asked = ForwardAsked(detach=options.detach)
    subject = _subject(options, home)
    decision = decide_forward(policy, subject, asked)
    allowed = decision.forward or ForwardRules((), (), agent=False)
    report = _who_and_why(subject, decision)
    denied = [f"{each}: {why}" for each in options.arguments if (why := _denied(options.forward, each, allowed, home))]
    if decision.allowed and denied:
        report |= {"decision": "denied", "reason": "; ".join(denied)}
    report |= {
        "connect": list(allowed.connect),
        "listen": list(allowed.listen),
        "agent": allowed.agent,
        "limits": _limits(decision),
        "audit": decision.audit,
        "policy": _policy_name(config),
    }
    report["considered"] = _considered(policy, decision, lambda rule: judge_forward(rule, subject, asked))
    print_result(json.dumps(report, indent=2) if options.json else _report_text(report))
    return ALLOWED if decision.allowed and not denied else DENIED


def _denied(operation: str, text: str, allowed: ForwardRules, home: Home) -> str | None:
    """Return why a tunnel would be denied a target, `HOST:PORT` or `unix:PATH`; None if it would not. A name must have
    an address that is allowed. Raises ValueError."""
    judge, connects = ForwardJudge(allowed), operation == "connect"
    target = _forward_target(text, listener=not connects)
    if isinstance(target, UnixTarget):
        # As in `forwards.judged`: of a listener, the last component is what is made.
        base = os.path.realpath(home.directory)
        path = os.path.join(base, target.path)  # noqa: PTH118  # bytes
        if connects:
            return judge.denied_path(os.path.realpath(path), base)
        directory, name = os.path.split(path)
        return judge.denied_listening_path(os.path.join(os.path.realpath(directory), name), base)  # noqa: PTH118  # bytes
    if not connects and target.host in ("", "*", "localhost"):
        return judge.denied_listener(target, None)
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{target.host!a} has no address: {error}") from None
    judged = judge.denied_connection if connects else judge.denied_listener
    sentences = [judged(target, str(address[0])) for *_, address in found]
    return None if None in sentences else sentences[0]


def _forward_target(text: str, *, listener: bool) -> InetTarget | UnixTarget:
    if text.startswith("unix:"):
        return UnixTarget(os.fsencode(text.removeprefix("unix:")))
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port[:6]) <= MAX_PORT) or not (host or listener):
        raise ValueError(f"{text!a} is neither HOST:PORT nor unix:PATH")
    return InetTarget(host[1:-1] if host.startswith("[") else host, int(port))


async def _look(asked: LookUp, credentials: Credentials | None) -> KnownFiles:
    workers = current()
    try:
        answer, _ = await workers.ask(credentials, asked)
    finally:
        await workers.close()
    if not isinstance(answer, LookedUp):
        raise ValueError("their worker cannot answer")
    return KnownFiles(asked, answer)


def _uid(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        if user.isascii() and user.isdigit():
            return int(user)
        raise ValueError(f"there is no account {user!a} on this machine") from None


def _subject(options: argparse.Namespace, home: Home) -> Subject:
    uid = _uid(options.user)
    return subject_of(Principal(user_name(uid), uid, "peer" if options.local else "key", options.key), home)


def _check_key(options: argparse.Namespace) -> None:
    if options.key is not None and not options.key.startswith("SHA256:"):
        raise ValueError(f"--key must be a fingerprint as ssh-keygen -l prints it, SHA256:…, not {options.key!a}")


def _request(options: argparse.Namespace, home: Home) -> PolicyRequest:
    _check_key(options)
    arguments = tuple(os.fsencode(each) for each in options.arguments)
    if options.shell:
        if len(arguments) > 1:
            raise ValueError("--shell accepts one text, or none for a login shell; quote it")
        arguments = shell_argv(home.shell, arguments[0]) if arguments else (home.shell,)
    elif not arguments:
        raise ValueError("no command to explain: give it after --, or --shell")
    variables = dict(os.fsencode(each).partition(b"=")[::2] for each in options.env)
    return PolicyRequest(
        argv=arguments,
        shell=options.shell,
        cwd=home.resolve(None if options.cwd is None else os.fsencode(options.cwd)),
        path=variables.get(b"PATH") or home.environment[b"PATH"],
        environment=tuple(variables),
        terminal=options.terminal,
        detach=options.detach,
        leave_processes=options.leave_processes,
    )


def _report(
    config: ServiceConfig,
    policy: Policy,
    subject: Subject,
    request: PolicyRequest,
    decision: Decision,
    lookup: KnownFiles,
) -> dict[str, Any]:
    program = decision.program or lookup.program(request.argv[0], path=request.path, cwd=request.cwd)
    report = _who_and_why(subject, decision) | {
        "program": None if program is None else os.fsdecode(program),
        "directory": os.fsdecode(decision.directory or request.cwd),
        "environment": list(decision.environment),
        "limits": _limits(decision),
        "audit": decision.audit,
        "record": decision.record,
        "leave_processes": decision.leave_processes,
        "policy": _policy_name(config),
    }
    report["considered"] = _considered(policy, decision, lambda rule: judge_by_rule(rule, subject, request, lookup))
    return report


def _who_and_why(subject: Subject, decision: Decision) -> dict[str, Any]:
    return {
        "decision": "allowed" if decision.allowed else "denied",
        "rule": decision.rule,
        "reason": decision.sentence,
        "user": subject.user,
        "login": "local" if subject.local else f"key {subject.fingerprint or '(any)'}",
    }


def _limits(decision: Decision) -> dict[str, Any]:
    limits = dataclasses.asdict(decision.limits) | {
        "output": decision.output,
        "timeout": decision.timeout,
        "runs": decision.share.runs,
        "starts": None if decision.share.starts is None else str(decision.share.starts),
    }
    return {name: value for name, value in limits.items() if value is not None}


def _policy_name(config: ServiceConfig) -> str:
    return "default" if config.policy.file is None else str(config.policy.file)


def _considered(policy: Policy, decision: Decision, judge: Callable[[Rule], RuleResult]) -> list[dict[str, str]]:
    considered = []
    for rule in policy.rules:
        result = judge(rule)
        considered.append({"rule": rule.name, "stage": result.stage.name.lower(), "reason": result.sentence})
        if rule.name == decision.rule:
            break
    return considered


def _report_text(report: dict[str, Any]) -> str:
    """Return one `key: value` per line, always with the same keys in the same order. `-` stands for an empty value."""
    lines = []
    for key, value in report.items():
        if key == "considered":
            lines += [f"considered: {each['rule']}: {each['stage']}: {each['reason']}" for each in value]
            continue
        if isinstance(value, dict):
            value = " ".join(f"{name}={bound}" for name, bound in value.items())
        elif isinstance(value, list):
            value = " ".join(quote(each) for each in value)
        elif key in ("program", "directory", "policy") and value is not None:
            value = quote(value)
        elif value is True:
            value = "yes"
        lines.append(f"{key}: {value or '-'}")
    return "\n".join(lines)
