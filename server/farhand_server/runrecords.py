"""What history and audit log have about a run: entries from runs, and runs from records."""

from __future__ import annotations

import json
import time
from functools import cache

from pydantic import TypeAdapter, ValidationError

from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited, Lost, Outcome

from .audit import AuditEntry, AuditEvent, Recorded
from .files.order import TransferReport
from .forwards.records import FlowRecord
from .history import RunRecord
from .runs.past import PastRun
from .runs.plan import Plan, RunResult
from .runs.process.usage import ResourceUsage
from .runs.run import LiveRun


@cache
def _outcome_reader() -> TypeAdapter[Outcome]:
    return TypeAdapter(Outcome)


def audit_entry(
    run: LiveRun,
    event: AuditEvent,
    *,
    outcome: str | None = None,
    detail: str | None = None,
    result: RunResult | None = None,
) -> AuditEntry:
    """Return the entry about the start or the end of a run. That about the end of a transfer says everything about
    it, that of a tunnel what went through it."""
    plan, origin = run.plan, run.plan.origin
    starts = event == "start"
    return AuditEntry(
        event,
        time.time(),
        user=plan.owner,
        how=origin.how,
        key=origin.key,
        peer=origin.peer,
        run=plan.id,
        argv=plan.argv if starts or plan.transfer is not None or plan.forward is not None else None,
        argv0=plan.argv0 if starts else None,
        terminal=plan.terminal.name if starts and plan.terminal is not None else None,
        recorded=_recorded(plan) if starts else (),
        commands=origin.audit,
        outcome=outcome,
        detail=detail,
        transfer=None if result is None or result.transfer is None else transfer_shown(result.transfer),
        forward=None if result is None or result.forward is None else result.forward._asdict(),
    )


def flow_entry(run: LiveRun, record: FlowRecord) -> AuditEntry:
    """Return the entry about a connection or a listener of a tunnel."""
    plan, origin = run.plan, run.plan.origin
    told: dict[str, int | float | str] = {"kind": record.kind, "target": record.target}
    if record.address and record.address != record.target:
        told["address"] = record.address
    if record.origin:
        told["origin"] = record.origin
    if record.kind != "listen" and not record.message:
        told |= {"from_client": record.from_client, "to_client": record.to_client, "seconds": round(record.seconds, 3)}
    return AuditEntry(
        "flow",
        time.time(),
        user=plan.owner,
        how=origin.how,
        key=origin.key,
        peer=origin.peer,
        run=plan.id,
        commands=origin.audit,
        outcome=record.cause,
        detail=record.message or None,
        forward=told,
    )


def transfer_shown(done: TransferReport) -> dict[str, int | str]:
    """Return what the audit log says about a transfer: the totals that are not 0, but always the files."""
    told: dict[str, int | str] = {
        name: value for name, value in done._asdict().items() if value and name not in ("complete", "files", "size")
    }
    return {"files": done.files, "bytes": done.size} | told


def outcome_json(outcome: Outcome) -> bytes:
    """Return an outcome as JSON, as `past_run` reads it."""
    # Nearly all runs have one of these.
    return _exited(outcome.code) if isinstance(outcome, Exited) else outcome.model_dump_json(exclude_none=True).encode()


@cache
def _exited(code: int) -> bytes:
    return Exited(code=code).model_dump_json(exclude_none=True).encode()


def usage_json(usage: ResourceUsage) -> bytes:
    """Return what a run has used as JSON, as `past_run` reads it."""
    peak = "null" if usage.peak_memory is None else usage.peak_memory
    return f'{{"user": {usage.user!r}, "system": {usage.system!r}, "peak_memory": {peak}}}'.encode()


def left_detail(left: m.LeftProcesses) -> str:
    """Return the detail of an entry about processes that were left behind."""
    return f"left {left.counted} behind, {'stopped' if left.stopped else 'still running'}: {', '.join(left.names)}"


def _recorded(plan: Plan) -> tuple[Recorded, ...]:
    output: tuple[Recorded, ...] = ("output",) if plan.record else ()
    return (*output, "stdin") if plan.record_input else output


def past_run(record: RunRecord) -> PastRun:
    """Return the run that a record of the history describes."""
    request = _request(record.request)
    return PastRun(
        id=record.id,
        owner=record.owner,
        key=record.fingerprint,
        fingerprint=record.request_sha256,
        command=str(request.get("command", "")),
        keep=request.get("on_disconnect") == "keep",
        has_terminal=isinstance(request.get("terminal"), dict),
        login=request.get("login") is True,
        internal=request.get("internal") is True,
        transfer=request.get("transfer") is not None,
        forward=request.get("forward") is not None,
        began=record.requested_at,
        pid=record.pid,
        result=RunResult(
            _outcome(record.outcome),
            record.stdout or 0,
            record.stderr or 0,
            record.duration or 0.0,
            record.lingered,
            _usage(record.usage),
            left_processes=_left_processes(record.left_processes),
        ),
    )


def _request(text: bytes) -> dict[str, object]:
    try:
        request = json.loads(text)
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}


def _outcome(text: bytes | None) -> Outcome:
    try:
        return Lost() if text is None else _outcome_reader().validate_json(text)
    except ValidationError:
        return Lost()  # written by another version, or by someone else


def _usage(text: bytes | None) -> ResourceUsage | None:
    try:
        counted = m.UsageReport.model_validate_json(text) if text else None
    except ValidationError:
        return None
    return None if counted is None else ResourceUsage(counted.user, counted.system, counted.peak_memory)


def _left_processes(text: bytes | None) -> m.LeftProcesses | None:
    try:
        left = m.LeftProcesses.model_validate_json(text) if text else None
    except ValidationError:
        return None
    # Which of them are still alive is not on record.
    return None if left is None else left.model_copy(update={"pids": ()})
