"""How a run ended: one typed outcome, a discriminated union on `status`."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .model import ExitCode, Message, ShortText, SignalNumber


class _Outcome(BaseModel):
    model_config = Message.model_config


class Exited(_Outcome):
    """The program exited on its own with an exit code, 0 to 255."""

    status: Literal["exited"] = "exited"
    code: ExitCode


class Signaled(_Outcome):
    """A signal ended the program, but not because the service stopped the run. Numbers as on Linux (signal(7))."""

    status: Literal["signaled"] = "signaled"
    signal: SignalNumber


class _Stopped(_Outcome):
    """The service stopped the run. Exactly one of `code` and `signal` is set and tells how the program then ended."""

    code: ExitCode | None = None
    signal: SignalNumber | None = None


class TimedOut(_Stopped):
    """The run was stopped because it exceeded a time limit. `timeout` is that limit in seconds: for the whole run, or
    if `idle` is true, for the time without output."""

    status: Literal["timed_out"] = "timed_out"
    timeout: Annotated[float, Field(gt=0)]
    idle: bool = False


class Killed(_Stopped):
    """The service stopped the run, or the kernel did because of a limit that the service had set.

    `reason`: `requested` by a client; its client was `disconnected` for longer than the grace period; the service is
    `draining`; it exceeded its limit on `memory`, `cpu`, `file_size` or `output`; or its `spool` could not be written.
    """

    status: Literal["killed"] = "killed"
    reason: Literal["requested", "disconnected", "draining", "memory", "cpu", "file_size", "output", "spool"]
    message: ShortText | None = None


class SpawnFailed(_Outcome):
    """The program never ran. `errno` is the Linux error number and `error` its name; `what` tells what was missing or
    refused."""

    status: Literal["spawn_failed"] = "spawn_failed"
    errno: Annotated[int, Field(ge=0, le=4095)]
    error: Annotated[str, Field(max_length=32)]
    what: Literal["program", "directory", "process"]
    message: ShortText


class Lost(_Outcome):
    """The service that owned the run is gone, and its end was not observed."""

    status: Literal["lost"] = "lost"


Outcome = Annotated[
    Exited | Signaled | TimedOut | Killed | SpawnFailed | Lost,
    Field(discriminator="status"),
]
