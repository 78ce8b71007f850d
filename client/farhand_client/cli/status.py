"""`--status-json`: the whole truth about a run, for programs: a remote 255 differs from ours there."""

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
from farhand_protocol.outcome import Outcome

STDERR: Final = "-"
"""As FILE: the last line of stderr. stdout is the remote command's alone."""


class StatusError(FarhandError):
    """The status cannot be written."""


class Status(Protocol):
    """Where the status goes; `write` is called once."""

    def write(self, status: dict[str, Any]) -> None:
        """Raises `StatusError`."""

    def close(self) -> None:
        """Give up what is reserved where nothing was written."""


def status_file(path: str) -> Status:
    """Return the place, made sure of before anything runs. Raises `StatusError`."""
    if path == STDERR:
        return _Open(sys.stderr.fileno(), "stderr")
    try:
        if Path(path).exists() and not stat.S_ISREG(Path(path).stat().st_mode):
            return _Open(os.open(path, os.O_WRONLY | os.O_CLOEXEC), path)
        return _Replaced(Path(path))
    except OSError as error:
        raise _error(path, error) from None


class _Open:
    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name

    def write(self, status: dict[str, Any]) -> None:
        try:
            os.write(self._fd, _line(status))
        except OSError as error:
            raise _error(self._name, error) from None

    def close(self) -> None:
        """Status."""


class _Replaced:
    """A regular file, which has the whole status or what it had before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(fd)
        self._new = Path(name)

    def write(self, status: dict[str, Any]) -> None:
        try:
            self._new.write_bytes(_line(status))
            self._new.chmod(0o644)
            self._new.replace(self._path)
        except OSError as error:
            raise _error(str(self._path), error) from None

    def close(self) -> None:
        self._new.unlink(missing_ok=True)


def detached_report(run: Run) -> dict[str, Any]:
    """Return the status of a run that was left going."""
    return {"status": "detached", "run_id": run.id, "pid": run.pid, "new": run.new}


def result_report(result: Result, *, new: bool) -> dict[str, Any]:
    """Return the status of a run whose end is known: the outcome, and what belongs to it.

    `new` is false where the run was there before it was asked for.
    """
    return {**end_report(result), "new": new}


def end_report(result: Result) -> dict[str, Any]:
    """Return how a run ended, that somebody else may have started."""
    return {
        **outcome_report(result.outcome),
        "run_id": result.run_id,
        "duration": result.duration,
        "stdout": result.stdout,
        "stderr": result.stderr,
        "lingered": result.lingered,
        "usage": None if result.usage is None else result.usage.model_dump(mode="json"),
        "applied": {} if result.applied is None else result.applied.model_dump(mode="json", exclude_none=True),
    }


def error_report(error: FarhandError) -> dict[str, Any]:
    """Return the status of a run that failed for a reason of ours, or never began."""
    run_id = getattr(error, "run_id", None)
    if isinstance(error, SpawnError):
        return {**outcome_report(error.outcome), "run_id": run_id}
    said: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, RequestRefused):
        said["code"] = str(error.code)
    if isinstance(error, OutputIncomplete) and error.outcome is not None:
        said["outcome"] = outcome_report(error.outcome)
    return {"status": "failed", "error": said, "run_id": run_id, "may_have_run": run_id is not None}


def outcome_report(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as it stands in the protocol."""
    return {"status": outcome.status, **outcome.model_dump(mode="json", exclude_none=True)}


def _line(status: dict[str, Any]) -> bytes:
    return json.dumps(status).encode() + b"\n"


def _error(name: str, error: OSError) -> StatusError:
    return StatusError(f"the status cannot be written to {name}: {error.strerror}")
