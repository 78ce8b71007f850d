"""The decision on a transfer of files: which paths may be read or written.

A path is judged as it is written: once it is absolute, and `.` and `..` are resolved by their names alone, it must be
one of the rule's directories, or below one. Where symbolic links lead, only the user's own process can find out, when
it opens the path; the decision names the directories that it must not leave (`farhand_files.opening`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from farhand_server.runs.plan import RuleShare
from farhand_server.runs.process.usage import ResourceLimits

from .decide import (
    Decision,
    RuleResult,
    RuleStage,
    allowed_directory,
    first_admitting,
    shown_value,
    stricter,
    stricter_limits,
)
from .model import Policy, Rule
from .subject import Subject, TransferAsked


def decide_transfer(policy: Policy, subject: Subject, asked: TransferAsked) -> Decision:
    """Return the decision of the first rule that is about the subject and admits the transfer. If there is none, deny
    it. No system call is made."""
    return first_admitting(
        policy,
        subject,
        lambda rule: judge_transfer(rule, subject, asked),
        lambda result: _allowed(result, policy, subject, asked),
    )


def judge_transfer(rule: Rule, subject: Subject, asked: TransferAsked) -> RuleResult:
    """Return what one rule says about a transfer."""
    user = subject.user
    if kind := rule.who.unmatched(subject):
        return RuleResult(rule, RuleStage.WHO, f"none of its {kind} matches")
    roots = _roots(rule, subject, asked)
    outside = next((path for path in asked.paths if not _inside(path, asked.home, roots)), None)
    if outside is not None:
        sentence = f"the policy does not let {user} {asked.access} {shown_value(outside)}"
        return RuleResult(rule, RuleStage.COMMAND, sentence)
    if (subject.forced or asked.restricted) and not (rule.files is not None and rule.files.restricted_keys):
        why = "command=" if subject.forced else "restrict"
        sentence = f"this key does not allow transfers ({why} in authorized_keys), and the policy makes no exception"
        return RuleResult(rule, RuleStage.CIRCUMSTANCES, sentence)
    if asked.detach and not rule.detach:
        sentence = f"the policy does not let {user} detach from this transfer; it must end with its client"
        return RuleResult(rule, RuleStage.CIRCUMSTANCES, sentence)
    return RuleResult(rule, RuleStage.ADMITTED, f"the rule {rule.name} allows it")


def from_home(path: bytes, home: bytes) -> bytes:
    """Return a path of a transfer as an absolute one: relative paths, and `~`, begin at the home directory."""
    if path == b"~" or path.startswith(b"~/"):
        path = path[2:].lstrip(b"/")
    return os.path.join(home, path)  # noqa: PTH118  # bytes


def _roots(rule: Rule, subject: Subject, asked: TransferAsked) -> tuple[bytes, ...] | None:
    if rule.files is None:
        # A recording shall show all that somebody has done in a shell; files do not appear in it.
        return None if rule.shell and not rule.record else ()
    return _directories(rule.files.read if asked.access == "read" else rule.files.write, subject)


def _writable(policy: Policy, subject: Subject) -> tuple[bytes, ...]:
    about = (rule.files for rule in policy.rules if not rule.who.unmatched(subject))
    return _directories((each for files in about if files is not None for each in files.write), subject)


def _directories(allowed: Iterable[str], subject: Subject) -> tuple[bytes, ...]:
    found = (allowed_directory(each, subject) for each in allowed)
    return tuple(dict.fromkeys(path for path in found if path is not None))


def _inside(path: bytes, home: bytes, roots: tuple[bytes, ...] | None) -> bool:
    if roots is None:
        return True
    plain = os.path.normpath(from_home(path, home))
    if plain.startswith(b"//"):  # normpath keeps two slashes, which POSIX lets a system interpret
        plain = plain[1:]
    return any(plain == root or plain.startswith(root.rstrip(b"/") + b"/") for root in map(os.path.normpath, roots))


def _allowed(result: RuleResult, policy: Policy, subject: Subject, asked: TransferAsked) -> Decision:
    rule = result.rule
    return Decision(
        allowed=True,
        rule=rule.name,
        sentence=result.sentence,
        audit=rule.audit,
        detach=rule.detach,
        limits=stricter_limits(ResourceLimits(), rule.limits),
        timeout=stricter(asked.timeout, rule.limits.timeout),
        share=RuleShare(rule.name, rule.limits.runs, rule.limits.starts),
        roots=_roots(rule, subject, asked),
        writable=_writable(policy, subject),
    )
