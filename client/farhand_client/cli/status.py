"""Runs as JSON, for programs: the reports that commands print with `--json`, and the file of `--status-json`.

Unlike the exit code they distinguish a command's own 255 from a failure of the connection.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, Protocol

from farhand_client.errors import FarhandError, OutputIncomplete, RequestRefused, SpawnError
from farhand_client.results import Result
from farhand_client.run import Run
from farhand_protocol import messages as m
from farhand_protocol.outcome import Outcome

_STDERR: Final = "-"
"""FILE for stderr, where the status is the last line. stdout belongs to the remote command alone."""


class StatusError(FarhandError):
    """The status cannot be written."""


class StatusFile(Protocol):
    """Where the status is written; call `write` at most once, and `close` in any case."""

    def write(self, status: dict[str, Any]) -> None:
        """Write `status` as one line of JSON. Raises `StatusError`."""

    def close(self) -> None:
        """Release what was reserved for a status that was not written."""


def open_status_file(path: str) -> StatusFile:
    """Return the status file `path`, after checking that it can be written. Raises `StatusError`."""
    if path == _STDERR:
        return _OpenStatusFile(sys.stderr.fileno(), "stderr")
    try:
        if Path(path).exists() and not stat.S_ISREG(Path(path).stat().st_mode):
            return _OpenStatusFile(os.open(path, os.O_WRONLY | os.O_CLOEXEC), path)
        return _ReplacedStatusFile(Path(path))
    except OSError as error:
        raise _status_error(path, error) from None


def result_report(result: Result, *, new: bool) -> dict[str, Any]:
    """Return the status of a run whose end is known; `new` is false if the run existed before it was requested."""
    return {**end_report(result), "new": new}


def end_report(result: Result) -> dict[str, Any]:
    """Return how a run ended: its outcome, duration, bytes, usage and limits."""
    return {
        **outcome_report(result.outcome),
        "run_id": result.run_id,
        "duration": result.duration,
        "stdout": result.stdout,
        "stderr": result.stderr,
        "lingered": result.lingered,
        "left_processes": left_report(result.left_processes),
        "usage": None if result.usage is None else result.usage.model_dump(mode="json"),
        "applied": {} if result.applied is None else result.applied.model_dump(mode="json", exclude_none=True),
    }


def left_report(left: m.LeftProcesses | None) -> dict[str, Any] | None:
    """Return the processes that a run has left behind."""
    return None if left is None else left.model_dump(mode="json")


def detached_report(run: Run) -> dict[str, Any]:
    """Return the status of a run that was left running."""
    return {"status": "detached", "run_id": run.id, "pid": run.pid, "new": run.new}


def error_report(error: FarhandError, run_id: str | None = None) -> dict[str, Any]:
    """Return the status of a run that did not start, or that failed on the client's side.

    `run_id` is the id of the run that was under way, if `error` does not have it.
    """
    run_id = getattr(error, "run_id", None) or run_id
    if isinstance(error, SpawnError):
        return {**outcome_report(error.outcome), "run_id": run_id}
    details: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, RequestRefused):
        details["code"] = str(error.code)
    if isinstance(error, OutputIncomplete) and error.outcome is not None:
        details["outcome"] = outcome_report(error.outcome)
    return {"status": "failed", "error": details, "run_id": run_id, "may_have_run": run_id is not None}


def outcome_report(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome with the fields that it has in the protocol."""
    return {"status": outcome.status, **outcome.model_dump(mode="json", exclude_none=True)}


class _OpenStatusFile:
    """A descriptor that is written to directly: stderr, a pipe or a device."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name

    def write(self, status: dict[str, Any]) -> None:
        try:
            os.write(self._fd, _json_line(status))
        except OSError as error:
            raise _status_error(self._name, error) from None

    def close(self) -> None:
        """Do nothing: nothing was reserved."""


class _ReplacedStatusFile:
    """A regular file that is replaced as a whole, and otherwise left unchanged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(fd)
        self._new = Path(name)

    def write(self, status: dict[str, Any]) -> None:
        try:
            self._new.write_bytes(_json_line(status))
            self._new.chmod(0o644)
            self._new.replace(self._path)
        except OSError as error:
            raise _status_error(str(self._path), error) from None

    def close(self) -> None:
        self._new.unlink(missing_ok=True)


def _json_line(status: dict[str, Any]) -> bytes:
    return json.dumps(status).encode() + b"\n"


def _status_error(name: str, error: OSError) -> StatusError:
    return StatusError(f"cannot write the status to {name}: {error.strerror}")
