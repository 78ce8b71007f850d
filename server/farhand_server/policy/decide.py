"""The judgement: one pure function from a policy, a subject and a request to a decision.

What is judged is what will be executed. Where a rule names programs, the decision says which file that came to, and
that file is to be started: a second search, in another environment or a moment later, could find another.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Final, Literal, TypeVar

from farhand_server.runs.process.usage import ResourceLimits

from .model import Policy, Rule, RuleLimits
from .patterns import ANYTHING, matches_arguments, matches_name, matches_program, text
from .subject import Action, Lookup, Owner, PolicyRequest, Subject

MAX_SHOWN: Final = 256
"""Characters of the request's own words in a sentence: longer ones would push the point of it out of sight."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a request comes to. The fields after `audit` are for one that is allowed."""

    allowed: bool
    rule: str | None
    """The rule that decided; None where nothing was allowed."""
    sentence: str
    """For the user, without a full stop. It tells nothing of rules that are not about this user."""
    audit: Literal["argv", "hash"]
    """What the audit log may show of the command; its own settings can only be stricter."""
    program: bytes | None = None
    """The file to execute, where the rule names programs; None where any may run, and the ordinary search will do."""
    directory: bytes | None = None
    """The directory to start in, without symbolic links, where the rule names directories; None where any may be."""
    detach: bool = False
    """Whether it might go on without a client."""
    record: bool = False
    """Whether its output has to be kept whole."""
    environment: tuple[str, ...] = ()
    """Patterns for the names of variables that the request may set. Those of the request have been held to them."""
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    """With `output` (bytes) and `timeout` (seconds): the stricter of request and rule."""
    output: int | None = None
    timeout: float | None = None


class RuleStage(IntEnum):
    """How far a request got with a rule."""

    WHO = 0
    COMMAND = 1
    CIRCUMSTANCES = 2
    ADMITTED = 3


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule made of a request, and why, in a sentence; `program` and `directory` as in `Decision`."""

    rule: Rule
    stage: RuleStage
    sentence: str
    program: bytes | None = None
    directory: bytes | None = None


def decide(policy: Policy, subject: Subject, request: PolicyRequest, lookup: Lookup) -> Decision:
    """Judge a request: the first rule that is about the subject and admits the request decides; else it is denied.

    Raises nothing but what `lookup` raises. Costs no system call where the rule lets any program run, and else one
    search for the program and one realpath(3) for each command that names a program of that name.
    """
    furthest: RuleResult | None = None
    audit: Literal["argv", "hash"] = "argv"
    for rule in policy.rules:
        verdict = judge_by_rule(rule, subject, request, lookup)
        if verdict.stage is RuleStage.ADMITTED:
            return _allowed(verdict, request)
        if verdict.stage is not RuleStage.WHO and rule.audit == "hash":
            audit = "hash"
        if furthest is None or verdict.stage > furthest.stage:
            furthest = verdict
    if furthest is None or furthest.stage is RuleStage.WHO:
        return Decision(False, None, f"the policy does not let {subject.user} run anything here", audit)
    return Decision(False, None, furthest.sentence, audit)


def has_rule_for(policy: Policy, subject: Subject) -> bool:
    """Whether any rule is about the subject: to all others everything is denied, whatever they ask for."""
    return any(rule.who.unmatched(subject) is None for rule in policy.rules)


def may(policy: Policy, subject: Subject, action: Action, owner: Owner) -> bool:
    """Whether a subject may do something with a run that is there.

    One's own runs are those that were started with the same credentials. Those of the same account are one's own too
    for whoever has a shell by the policy, since a shell can do all that anyway. Whoever has none must not get one by
    attaching to it: for a subject confined to some commands, the runs that others started for the account are the runs
    of others, and a rule has to say it in `others`. A key with a `command=` gets at its own runs and no others at all.
    """
    if owner.user == subject.user and owner.fingerprint == subject.fingerprint:
        return True
    if subject.forced:
        return False
    rules = [rule for rule in policy.rules if rule.who.unmatched(subject) is None]
    if owner.user == subject.user and any(rule.shell for rule in rules):
        return True
    granted = {granted for rule in rules for granted in rule.others}
    return action in granted or (action == "see" and bool(granted))


def judge_by_rule(rule: Rule, subject: Subject, request: PolicyRequest, lookup: Lookup) -> RuleResult:
    """Return what one rule makes of a request."""
    user = subject.user
    if kind := rule.who.unmatched(subject):
        return RuleResult(rule, RuleStage.WHO, f"none of its {kind} is this one")
    admitted, program = _command(rule, request, lookup)
    if not admitted:
        what = "have a shell" if request.shell else f"run {_shown(request.argv[0])} with these arguments"
        return RuleResult(rule, RuleStage.COMMAND, f"the policy does not let {user} {what}")
    if request.terminal and not rule.allows_terminal:
        return RuleResult(rule, RuleStage.CIRCUMSTANCES, f"the policy does not let {user} have a terminal for this")
    if request.detach and not rule.detach:
        sentence = f"the policy does not let {user} leave this run behind; it has to end with its client"
        return RuleResult(rule, RuleStage.CIRCUMSTANCES, sentence)
    for name in request.environment:
        if not matches_name(rule.environment, name):
            sentence = f"the policy does not let {user} set the environment variable {_shown(name)} for this"
            return RuleResult(rule, RuleStage.CIRCUMSTANCES, sentence)
    directory = None
    if rule.directories is not None:
        directory = lookup.directory(request.cwd)
        if not any(_inside(directory, each, subject, lookup) for each in rule.directories):
            sentence = f"the policy does not let {user} run this in the directory {_shown(request.cwd)}"
            return RuleResult(rule, RuleStage.CIRCUMSTANCES, sentence)
    return RuleResult(rule, RuleStage.ADMITTED, f"the rule {rule.name} allows it", program, directory)


def _command(rule: Rule, request: PolicyRequest, lookup: Lookup) -> tuple[bool, bytes | None]:
    if request.shell and rule.shell:
        return True, None
    named = []
    for program, *arguments in rule.commands:
        if matches_arguments(arguments, request.argv[1:]):
            if program == ANYTHING:
                return True, None
            named.append(program)
    found = lookup.program(request.argv[0], path=request.path, cwd=request.cwd) if named else None
    if found is not None and any(matches_program(program, found, lookup.directory) for program in named):
        return True, found
    return False, None


def _inside(directory: bytes, allowed: str, subject: Subject, lookup: Lookup) -> bool:
    path = allowed.encode()
    if path.startswith(b"~"):
        if not subject.home:
            return False
        path = subject.home + path[1:]
    above = lookup.directory(path)
    return directory == above or directory.startswith(above.rstrip(b"/") + b"/")


def _allowed(verdict: RuleResult, request: PolicyRequest) -> Decision:
    rule = verdict.rule
    return Decision(
        allowed=True,
        rule=rule.name,
        sentence=verdict.sentence,
        audit=rule.audit,
        program=verdict.program,
        directory=verdict.directory,
        detach=rule.detach,
        record=rule.record,
        environment=rule.environment,
        limits=stricter_limits(request.limits, rule.limits),
        output=stricter(request.output, rule.limits.output),
        timeout=stricter(request.timeout, rule.limits.timeout),
    )


Number = TypeVar("Number", int, float)


def stricter(one: Number | None, other: Number | None) -> Number | None:
    """Return the smaller of two bounds, where None is no bound."""
    return min((each for each in (one, other) if each is not None), default=None)


def stricter_limits(one: ResourceLimits, other: RuleLimits) -> ResourceLimits:
    """Return the stricter of each bound."""
    return ResourceLimits(
        **{each.name: stricter(getattr(one, each.name), getattr(other, each.name)) for each in fields(ResourceLimits)}
    )


def _shown(value: bytes) -> str:
    return ascii(text(value)[:MAX_SHOWN])
