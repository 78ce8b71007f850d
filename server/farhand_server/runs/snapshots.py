"""What the snapshot records of a run's parts have in common.

An upgrade replaces the service's program by execve(2) and keeps the processes of runs. Each part of a run returns a
record of its state from `snapshot`; in the new program, `restore` recreates the part from that record, which is defined
in the same module. The records are part of the format in `upgrade.snapshot`: a change that an older program would not
understand needs a new version there.

Times are on the monotonic clock, which continues across an execve (clock_gettime(2)). Periods that must not elapse
while no program is serving are recorded as the seconds left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Descriptor: TypeAlias = Annotated[int, Field(ge=0)]

Blob: TypeAlias = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]
"""The location of bytes stored after the JSON: their offset from its end, and their number."""

Put: TypeAlias = Callable[[list[bytes]], Blob]
"""A function that stores bytes outside of the JSON and returns their location."""

Get: TypeAlias = Callable[[Blob], bytes]
"""A function that returns bytes stored by `Put`. Raises OSError."""


class SnapshotRecord(BaseModel):
    """Base of all snapshot records: strict types, and no unknown fields. Most services never use one, so they are built
    by an upgrade."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64", defer_build=True
    )


def seconds_left(timer: asyncio.TimerHandle | None) -> float | None:
    """Return the seconds until a timer is due, 0 or more; None if there is no timer."""
    return None if timer is None else max(0.0, timer.when() - time.monotonic())
