"""The decision on a tunnel: whether there may be one, and what it may connect to and listen on.

What will be asked of a tunnel is not known when it starts. So the decision is about the tunnel as a whole: it may do
what any of the rules about the subject allows. The first of these rules gives its limits. Each connection and each
listener is then judged by the tunnel's own process (`forwards.rules`), which alone knows the address that a name has.
"""

from __future__ import annotations

from farhand_server.forwards.rules import ANY_CONNECTION, LOOPBACK_LISTENERS, ForwardRules
from farhand_server.runs.plan import RuleShare
from farhand_server.runs.process.usage import ResourceLimits

from .decide import Decision, RuleResult, RuleStage, first_admitting, stricter, stricter_limits
from .model import Policy, Rule
from .subject import ForwardAsked, Subject


def decide_forward(policy: Policy, subject: Subject, asked: ForwardAsked) -> Decision:
    """Return the decision of the first rule that is about the subject and admits the tunnel, with all that the rules
    allow together. If there is none, deny it. No system call is made."""
    return first_admitting(
        policy,
        subject,
        lambda rule: judge_forward(rule, subject, asked),
        lambda result: _allowed(result, policy, subject, asked),
    )


def judge_forward(rule: Rule, subject: Subject, asked: ForwardAsked) -> RuleResult:
    """Return what one rule says about a tunnel."""
    user = subject.user
    if kind := rule.who.unmatched(subject):
        return RuleResult(rule, RuleStage.WHO, f"none of its {kind} matches")
    allowed = _of(rule)
    if allowed is None:
        return RuleResult(rule, RuleStage.COMMAND, f"the policy does not let {user} forward connections")
    if not _left_by_key(allowed, asked):
        options = "restrict, no-port-forwarding or no-agent-forwarding"
        sentence = f"this key does not allow what the policy lets {user} forward ({options} in authorized_keys)"
        return RuleResult(rule, RuleStage.CIRCUMSTANCES, sentence)
    if asked.detach and not rule.detach:
        sentence = f"the policy does not let {user} detach from this tunnel; it must end with its client"
        return RuleResult(rule, RuleStage.CIRCUMSTANCES, sentence)
    return RuleResult(rule, RuleStage.ADMITTED, f"the rule {rule.name} allows it")


def _of(rule: Rule) -> ForwardRules | None:
    """Return what a rule allows tunnels; None if it allows none."""
    if rule.forward is not None:
        return ForwardRules(rule.forward.connect, rule.forward.listen, rule.forward.agent)
    # A shell could connect and listen anyway. A recording shall show all that somebody has done in one; what went
    # through a tunnel does not appear in it.
    return ForwardRules(ANY_CONNECTION, LOOPBACK_LISTENERS, True) if rule.shell and not rule.record else None


def _left_by_key(allowed: ForwardRules, asked: ForwardAsked) -> bool:
    return (asked.ports and bool(allowed.connect or allowed.listen)) or (asked.agent and allowed.agent)


def _allowed(result: RuleResult, policy: Policy, subject: Subject, asked: ForwardAsked) -> Decision:
    rule = result.rule
    admitting = (each for each in policy.rules if judge_forward(each, subject, asked).stage is RuleStage.ADMITTED)
    rules = [allowed for allowed in map(_of, admitting) if allowed is not None]
    together = ForwardRules(
        connect=tuple(dict.fromkeys(pattern for each in rules for pattern in each.connect)) if asked.ports else (),
        listen=tuple(dict.fromkeys(pattern for each in rules for pattern in each.listen)) if asked.ports else (),
        agent=asked.agent and any(each.agent for each in rules),
    )
    return Decision(
        allowed=True,
        rule=rule.name,
        sentence=result.sentence,
        audit=rule.audit,
        detach=rule.detach,
        limits=stricter_limits(ResourceLimits(), rule.limits),
        timeout=stricter(asked.timeout, rule.limits.timeout),
        share=RuleShare(rule.name, rule.limits.runs, rule.limits.starts),
        forward=together,
    )
