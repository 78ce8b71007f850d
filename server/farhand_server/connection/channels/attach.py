"""What an attachment to a run and one to the record of a run have in common."""

from __future__ import annotations

from farhand_protocol import messages as m
from farhand_server.runs.attachments.attachments import Output
from farhand_server.runs.plan import RunResult


class RunHasNoTerminal(Exception):
    """An attachment shows a terminal, and the run has none; the text says so."""


def wanted_output(request: m.RunRequest | m.Attach) -> dict[Output, int]:
    """Return the offset of each stream from which the client wants output; it does not want the others."""
    if isinstance(request, m.RunRequest):
        return {"stdout": 0} if request.merge_stderr else {"stdout": 0, "stderr": 0}
    offsets: dict[Output, int | None] = {"stdout": request.stdout, "stderr": request.stderr}
    return {stream: offset for stream, offset in offsets.items() if offset is not None}


def ended_message(result: RunResult) -> m.Ended:
    """Return the last message of a run."""
    usage = result.usage
    return m.Ended(
        outcome=result.outcome,
        stdout=result.stdout,
        stderr=result.stderr,
        duration=result.duration,
        lingered=result.lingered,
        usage=None
        if usage is None
        else m.UsageReport(user=usage.user, system=usage.system, peak_memory=usage.peak_memory),
        applied=m.AppliedBounds.model_validate(dict(result.applied)) if result.applied else None,
    )
