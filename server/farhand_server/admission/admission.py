"""Judges each request about runs once, and returns the run to answer with or the refusal to send."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.messages.run import request_fingerprint as _fingerprint
from farhand_server.audit import AuditEntry, AuditEvent
from farhand_server.config import ServiceConfig
from farhand_server.policy import Action, KnownFiles, Lookup, Owner, Policy, may_act_on
from farhand_server.runs.registry import RecordUnavailable, Registry, RunExpired, ServiceDraining, TooManyRuns
from farhand_server.runs.run import AnyRun
from farhand_server.worker.messages import LookedUp, LookUp, NotAnswered
from farhand_server.worker.workers import Answered, NoAnswer, current

from .caller import Caller
from .judging import Awaited, Judging
from .plan import Denied, LookNeeded, plan_run
from .plan_memo import PlanMemo
from .shares import Shares, ShareUsedUp


class AdmissionContext(Protocol):
    """What admission needs from the core."""

    @property
    def config(self) -> ServiceConfig:
        """The configuration in force."""

    @property
    def policy(self) -> Policy:
        """The policy in force."""

    @property
    def registry(self) -> Registry:
        """The registry of all runs."""

    @property
    def shares(self) -> Shares:
        """What each user may use."""

    @property
    def judging(self) -> dict[str, Judging[Judgement]]:
        """The requests that are being judged, by the ids of their runs."""

    @property
    def plans(self) -> PlanMemo:
        """Plans of earlier requests."""

    def note(self, entry: AuditEntry) -> None:
        """Add an event to the audit log, to be written soon."""


@dataclass(frozen=True, slots=True)
class AdmittedRun:
    """The run with which a request is answered. `new` tells whether this request started it."""

    run: AnyRun
    new: bool


@dataclass(frozen=True, slots=True)
class RunRefusal:
    """Why a request is refused: a code for programs and a sentence for people."""

    code: ErrorCode
    sentence: str


Judgement: TypeAlias = AdmittedRun | RunRefusal


class Admission:
    """Judges one caller's requests by the configuration and policy in force at that moment.

    After a reload, the new policy also applies to callers who are already logged in. Every method writes its denials to
    the audit log. What it admits, the calling code must record with `record` once it has been done.
    """

    def __init__(self, caller: Caller, context: AdmissionContext) -> None:
        self.caller: Final = caller
        self._context = context

    def start(self, request: m.RunRequest) -> Judgement | Awaited[Judgement]:
        """Start the requested run, or return the run that the same request has started earlier on any connection.

        If the judgement depends on the caller's files, it follows once a worker has looked at them. It is a conflict if
        the id belongs to a run with a different request, of another owner, or to which the caller may not attach. The
        refusal does not reveal which.
        """
        context = self._context
        try:
            judging = context.judging.get(request.id)
            if judging is not None:
                same = judging.owner == self.caller.principal.user and judging.fingerprint == _fingerprint(request)
                if same and self.allows("attach", Owner(judging.owner, judging.key)):
                    self._check_awaited()
                    return judging.wait()
                return _conflict(request.id)
            run = context.registry.find(request.id, self.caller.principal.user)
            if run is not None:
                return self._existing_run(run, request)
            return self._judge(request, context.config, context.policy)
        except LookNeeded as needed:
            return self._look(request, needed.question)
        except tuple(_CODES) as error:
            return self._refused(request.id, error)

    def _judge(
        self, request: m.RunRequest, config: ServiceConfig, policy: Policy, lookup: Lookup | None = None
    ) -> AdmittedRun:
        plans = self._context.plans
        plan = plans.find(request, self.caller, config, policy) if lookup is None else None
        if plan is None:
            plan = plan_run(request, self.caller, config, policy, lookup)
            if lookup is None:
                plans.add(request, self.caller, config, policy, plan)
        self._context.registry.check_not_draining()
        self._context.shares.check_run(plan, config)
        return AdmittedRun(self._context.registry.start(plan, max_runs=config.runs.max_runs), new=True)

    def _look(self, request: m.RunRequest, question: LookUp) -> Awaited[Judgement] | RunRefusal:
        """Let the caller's worker look at files, then judge, by the configuration and policy that are in force now."""
        context, who = self._context, self.caller.principal
        config, policy = context.config, context.policy
        try:
            self._check_awaited()
        except ShareUsedUp as error:
            return self._refused(request.id, error)
        judging: Judging[Judgement] = Judging(
            request.id, owner=who.user, key=who.fingerprint, fingerprint=_fingerprint(request)
        )
        asked = current().ask(self.caller.home.credentials, question)

        def looked(asked: asyncio.Future[Answered]) -> None:
            if judging.over:
                return
            del context.judging[request.id]
            admitted: Judgement
            try:
                admitted = self._judge(request, config, policy, _known(question, asked))
            except tuple(_CODES) as error:
                admitted = self._refused(request.id, error)
            except Exception as error:  # noqa: BLE001  # whoever waits must be told, and the client's session logs it
                judging.fail(error)
                return
            others = AdmittedRun(admitted.run, new=False) if isinstance(admitted, AdmittedRun) else admitted
            judging.finish(admitted, others)

        def abandon() -> None:
            del context.judging[request.id]
            asked.cancel()

        judging.on_abandon = abandon
        context.judging[request.id] = judging
        asked.add_done_callback(looked)
        return judging.wait()

    def authorized_run(self, run_id: str, action: Action) -> AnyRun | RunRefusal:
        """Return the run with this id if the caller may perform `action` on it.

        A run that the caller may not even see is refused as if it did not exist.
        """
        try:
            run = self._context.registry.find(run_id, self.visible_owner())
        except tuple(_CODES) as error:
            return self._refused(run_id, error)
        if run is None:
            return _unknown(run_id)
        if not self.may("see", run):
            self.record("denial", run=run_id, detail=self._denial("see", run))
            return _unknown(run_id)
        if not self.may(action, run):
            return self._denied(action, run)
        return run

    def run_to_wait_for(self, run_id: str) -> AnyRun | RunRefusal:
        """Return the run with this id if the caller may attach to it, and may wait for another run."""
        run, who = self.authorized_run(run_id, "attach"), self.caller.principal
        if isinstance(run, RunRefusal):
            return run
        try:
            self._context.shares.check_wait(who.uid, who.user, self._context.config)
        except ShareUsedUp as error:
            return self._refused(run_id, error)
        return run

    def count_awaited(self) -> Callable[[], None]:
        """Count a judgement that the caller waits for, until the returned function is called."""
        return self._context.shares.awaited.hold(self.caller.principal.uid)

    def _check_awaited(self) -> None:
        who = self.caller.principal
        self._context.shares.check_awaited(who.uid, who.user, self._context.config)

    def count_wait(self) -> Callable[[], None]:
        """Count a wait of the caller, until the returned function is called."""
        return self._context.shares.waits.hold(self.caller.principal.uid)

    def signal(self, run: AnyRun, what: str) -> RunRefusal | None:
        """Judge a signal to a run that the caller is attached to, and write `what` or the denial to the audit log.

        Return None if the signal may be sent.
        """
        if not self.may("signal", run):
            return self._denied("signal", run)
        self.record("signal", run=run.id, detail=what)
        return None

    def may(self, action: Action, run: AnyRun) -> bool:
        """Return whether the policy in force lets the caller perform `action` on an existing run."""
        return self.allows(action, Owner(run.owner, run.key))

    def visible_owner(self) -> str | None:
        """Return the only account whose runs the caller may see; None if it may see the runs of other accounts."""
        # No account has an empty name.
        return None if self.allows("see", Owner("")) else self.caller.subject.user

    def allows(self, action: Action, owner: Owner) -> bool:
        """Return whether the policy in force lets the caller perform `action` on this owner's runs."""
        return may_act_on(self._context.policy, self.caller.subject, action, owner)

    def record(self, event: AuditEvent, *, run: str, detail: str | None = None) -> None:
        """Write something that the caller did with a run, or was denied, to the audit log."""
        self._context.note(self.caller.audit_entry(event, run=run, detail=detail))

    def _existing_run(self, run: AnyRun, request: m.RunRequest) -> AdmittedRun | RunRefusal:
        same = run.owner == self.caller.principal.user and run.fingerprint == _fingerprint(request)
        if same and self.may("attach", run):
            return AdmittedRun(run, new=False)
        return _conflict(request.id)

    def _denied(self, action: Action, run: AnyRun) -> RunRefusal:
        sentence = self._denial(action, run)
        self.record("denial", run=run.id, detail=sentence)
        return RunRefusal(ErrorCode.DENIED, sentence)

    def _denial(self, action: Action, run: AnyRun) -> str:
        what = "attach to" if action == "attach" else action
        return f"the policy does not let {self.caller.principal.user} {what} this run of {run.owner}"

    def _refused(self, run_id: str, error: Exception) -> RunRefusal:
        sentence = str(error)
        if isinstance(error, Denied):
            entry = self.caller.audit_entry(
                "denial", run=run_id, argv=error.argv, commands=error.audit, detail=sentence
            )
            self._context.note(entry)
        return RunRefusal(next(code for kind, code in _CODES.items() if isinstance(error, kind)), sentence)


def _known(question: LookUp, asked: asyncio.Future[Answered]) -> KnownFiles:
    """Return the files in a worker's answer. Raises `NoAnswer`."""
    program = repr(os.fsdecode(question.program)[:256])
    try:
        answer, _ = asked.result()  # a descriptor comes with no answer to this question
        if isinstance(answer, LookedUp):
            return KnownFiles(question, answer)
        assert isinstance(answer, NotAnswered)  # ANSWER_TO
        reason = os.strerror(answer.errno)
    except (NoAnswer, ValueError) as error:
        reason = str(error)
    raise NoAnswer(0, f"cannot look for the program {program} in {os.fsdecode(question.cwd)!r}: {reason}")


def _conflict(run_id: str) -> RunRefusal:
    sentence = f"a different request has already started a run with the id {run_id}"
    return RunRefusal(ErrorCode.CONFLICT, sentence)


def _unknown(run_id: str) -> RunRefusal:
    return RunRefusal(ErrorCode.UNKNOWN_RUN, f"there is no run {run_id} here")


_CODES: Final[dict[type[Exception], ErrorCode]] = {
    Denied: ErrorCode.DENIED,
    ServiceDraining: ErrorCode.DRAINING,
    RunExpired: ErrorCode.EXPIRED,
    TooManyRuns: ErrorCode.TOO_MANY_RUNS,
    ShareUsedUp: ErrorCode.TOO_MANY_RUNS,
    RecordUnavailable: ErrorCode.UNAVAILABLE,
    OSError: ErrorCode.UNAVAILABLE,
}
