"""How a run has ended: from the leader's exit and the reason for which it was stopped to one typed outcome."""

from __future__ import annotations

from typing import Literal, TypeAlias

from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, TimedOut

from .plan import Plan, Reason

Why: TypeAlias = Reason | Literal["timed_out", "idle"]


def outcome_of(plan: Plan, why: Why | None, message: str | None, code: int) -> Outcome:
    """Return the outcome of a leader that ended with `code`, or by the signal of that number with a minus.

    `why` is the first reason for which it was stopped, None where nobody stopped it; `message` a sentence about that.
    """
    exit_code, number = (code, None) if code >= 0 else (None, -code)
    match why:
        case "timed_out":
            assert plan.timeout is not None
            return TimedOut(timeout=plan.timeout, code=exit_code, signal=number)
        case "idle":
            assert plan.idle_timeout is not None
            return TimedOut(timeout=plan.idle_timeout, idle=True, code=exit_code, signal=number)
        case None:
            return Exited(code=code) if number is None else Signaled(signal=number)
        case reason:
            return Killed(reason=reason, message=message, code=exit_code, signal=number)
