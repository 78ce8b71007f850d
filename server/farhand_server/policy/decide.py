"""The decision: one pure function of a policy, a subject and a request.

It decides about what will actually be executed. If a rule names programs, the decision says which file was found, and
the caller must start exactly that file: a second search, in another environment or a moment later, could find a
different file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Final, Literal, TypeVar

from farhand_server.forwards.rules import ForwardRules
from farhand_server.runs.plan import RuleShare
from farhand_server.runs.process.usage import ResourceLimits

from .model import Policy, Rule, RuleLimits
from .patterns import ANYTHING, fixed_directory, matches_arguments, matches_program, text, unmatched_name
from .subject import Action, Lookup, Owner, PolicyRequest, Subject

MAX_SHOWN: Final = 256
"""Maximum characters of the request's text in a sentence. More would hide the point of the sentence."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on a request. The fields after `audit` apply only if the request is allowed."""

    allowed: bool
    rule: str | None
    """The rule that allowed the request; None if no rule did."""
    sentence: str
    """The reason, as a sentence for the user without a full stop. It reveals nothing about rules for other users."""
    audit: Literal["argv", "hash"]
    """What the audit log may show of the command. The log's own settings can only be stricter."""
    program: bytes | None = None
    """The file to execute if the rule names programs; None if any program may run, found by the ordinary search."""
    directory: bytes | None = None
    """The directory in which to start, without symbolic links, if the rule names directories; None if any is
    allowed."""
    detach: bool = False
    """Whether the run may continue without a client."""
    leave_processes: bool = False
    """Whether processes that the program leaves behind continue to run: requested and allowed, or `always`."""
    record: bool = False
    """Whether the complete output of the run must be kept."""
    environment: tuple[str, ...] = ()
    """Patterns for the names of variables that the request may set. The names in the request have already been
    checked."""
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    """These limits, and `output` (bytes) and `timeout` (seconds), are the stricter ones of request and rule."""
    output: int | None = None
    timeout: float | None = None
    share: RuleShare = field(default_factory=RuleShare)
    """How much of this the rule allows one account."""
    roots: tuple[bytes, ...] | None = None
    """Of a transfer, the only directories in which it may open anything; None if the rule does not limit it."""
    writable: tuple[bytes, ...] = ()
    """Directories that the subject may write by some rule. Of `roots`, what is below them may have been replaced."""
    forward: ForwardRules | None = None
    """Of a tunnel, what it may connect to and listen on."""


class RuleStage(IntEnum):
    """How far a request got with a rule: the part of the rule that refused it, or that it was admitted."""

    WHO = 0
    COMMAND = 1
    CIRCUMSTANCES = 2
    ADMITTED = 3


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule says about a request, with a sentence that says why. `program` and `directory` are as in
    `Decision`."""

    rule: Rule
    stage: RuleStage
    sentence: str
    program: bytes | None = None
    directory: bytes | None = None


def decide(policy: Policy, subject: Subject, request: PolicyRequest, lookup: Lookup) -> Decision:
    """Return the decision of the first rule that is about the subject and admits the request. If there is none, deny
    it.

    Raises only what `lookup` raises. If the rule allows any program, no system call is needed; otherwise one search for
    the program, and one realpath(3) for each command pattern with the same program name.
    """
    return first_admitting(
        policy,
        subject,
        lambda rule: judge_by_rule(rule, subject, request, lookup),
        lambda result: _allowed(result, request),
    )


def first_admitting(
    policy: Policy,
    subject: Subject,
    judge: Callable[[Rule], RuleResult],
    allowed: Callable[[RuleResult], Decision],
) -> Decision:
    """Return what `allowed` makes of the result of the first rule that admits what `judge` judges; if there is none, a
    denial with the sentence of the rule with which it got furthest."""
    furthest: RuleResult | None = None
    audit: Literal["argv", "hash"] = "argv"
    for rule in policy.rules:
        result = judge(rule)
        if result.stage is RuleStage.ADMITTED:
            return allowed(result)
        if result.stage is not RuleStage.WHO and rule.audit == "hash":
            audit = "hash"
        if furthest is None or result.stage > furthest.stage:
            furthest = result
    if furthest is None or furthest.stage is RuleStage.WHO:
        return Decision(False, None, f"the policy does not let {subject.user} run anything here", audit)
    return Decision(False, None, furthest.sentence, audit)


def directories_for(policy: Policy, subject: Subject) -> tuple[bytes, ...]:
    """Return all directories, besides the request's, for which `decide` may ask `Lookup.directory`."""
    found: dict[bytes, None] = {}
    for rule in policy.rules:
        if rule.who.unmatched(subject) is None:
            for program, *_ in rule.commands:
                if program != ANYTHING:
                    found[fixed_directory(program)] = None
            for allowed in rule.directories or ():
                if (path := allowed_directory(allowed, subject)) is not None:
                    found[path] = None
    return tuple(found)


def has_rule_for(policy: Policy, subject: Subject) -> bool:
    """Return whether any rule is about the subject. If none is, everything is denied to it."""
    return any(rule.who.unmatched(subject) is None for rule in policy.rules)


def may_act_on(policy: Policy, subject: Subject, action: Action, owner: Owner) -> bool:
    """Return whether a subject may perform an action on an existing run.

    A subject's own runs are those that were started with the same credentials. If the policy allows the subject a
    shell, all runs of the account are its own, because it could do everything with the shell anyway. A subject without
    a shell must not get one by attaching to a run: if it is limited to some commands, runs that others have started for
    the account count as runs of others, and a rule must grant access to them in `others`. A key with a `command=` has
    access only to its own runs.
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
    """Return what one rule says about a request."""
    user = subject.user
    if kind := rule.who.unmatched(subject):
        return RuleResult(rule, RuleStage.WHO, f"none of its {kind} matches")
    admitted, program = _command(rule, request, lookup)
    if not admitted:
        what = "have a shell" if request.shell else f"run {shown_value(request.argv[0])} with these arguments"
        return RuleResult(rule, RuleStage.COMMAND, f"the policy does not let {user} {what}")
    if request.terminal and not rule.allows_terminal:
        return RuleResult(rule, RuleStage.CIRCUMSTANCES, f"the policy does not let {user} have a terminal for this")
    if request.detach and not rule.detach:
        sentence = f"the policy does not let {user} detach from this run; it must end with its client"
        return RuleResult(rule, RuleStage.CIRCUMSTANCES, sentence)
    if request.leave_processes and not rule.leave_processes:
        sentence = f"the policy does not let {user} leave processes running after this run; they must end with it"
        return RuleResult(rule, RuleStage.CIRCUMSTANCES, sentence)
    if (name := unmatched_name(rule.environment, request.environment)) is not None:
        sentence = f"the policy does not let {user} set the environment variable {shown_value(name)} for this"
        return RuleResult(rule, RuleStage.CIRCUMSTANCES, sentence)
    directory = None
    if rule.directories is not None:
        directory = lookup.directory(request.cwd)
        if not any(_inside(directory, each, subject, lookup) for each in rule.directories):
            sentence = f"the policy does not let {user} run this in the directory {shown_value(request.cwd)}"
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
    path = allowed_directory(allowed, subject)
    if path is None:
        return False
    above = lookup.directory(path)
    return directory == above or directory.startswith(above.rstrip(b"/") + b"/")


def allowed_directory(allowed: str, subject: Subject) -> bytes | None:
    """Return a directory that a rule names; None if it is below a home that the subject does not have."""
    path = allowed.encode()
    if not path.startswith(b"~"):
        return path
    return subject.home + path[1:] if subject.home else None


def _allowed(result: RuleResult, request: PolicyRequest) -> Decision:
    rule = result.rule
    return Decision(
        allowed=True,
        rule=rule.name,
        sentence=result.sentence,
        audit=rule.audit,
        program=result.program,
        directory=result.directory,
        detach=rule.detach,
        leave_processes=request.leave_processes or rule.leave_processes == "always",
        record=rule.record,
        environment=rule.environment,
        limits=stricter_limits(request.limits, rule.limits),
        output=stricter(request.output, rule.limits.output),
        timeout=stricter(request.timeout, rule.limits.timeout),
        share=RuleShare(rule.name, rule.limits.runs, rule.limits.starts),
    )


_Number = TypeVar("_Number", int, float)


def stricter(one: _Number | None, other: _Number | None) -> _Number | None:
    """Return the smaller of two limits. None means no limit."""
    return min((each for each in (one, other) if each is not None), default=None)


def stricter_limits(one: ResourceLimits, other: RuleLimits) -> ResourceLimits:
    """Return the stricter of each pair of limits."""
    return ResourceLimits(
        **{each.name: stricter(getattr(one, each.name), getattr(other, each.name)) for each in fields(ResourceLimits)}
    )


def shown_value(value: bytes) -> str:
    """Return a part of a request for a sentence."""
    return ascii(text(value)[:MAX_SHOWN])
