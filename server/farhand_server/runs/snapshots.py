"""What the snapshot records of runs have in common.

An upgrade replaces the program of the service by execve(2) and keeps its processes. Each part of a run returns a record
of its state from `snapshot` and is made again from that record by `restore`, in the new program; the record is defined
beside the part that it belongs to. The records are part of the format in `upgrade.snapshot`: a change that an older
program would not understand needs a new version there.

Points in time are on the monotonic clock, which continues across an execve (clock_gettime(2)). Periods that must not
elapse while no program serves are recorded as the seconds that are left of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Descriptor: TypeAlias = Annotated[int, Field(ge=0)]

Blob: TypeAlias = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]
"""Bytes stored outside of the JSON: their offset behind it, and their number."""

Put: TypeAlias = Callable[[list[bytes]], Blob]
"""Stores bytes outside of the JSON, and returns where."""

Get: TypeAlias = Callable[[Blob], bytes]
"""Returns bytes that `Put` has stored. Raises OSError."""


class SnapshotRecord(BaseModel):
    """Base of all records: strict types, and no unknown fields."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64"
    )


def seconds_left(timer: asyncio.TimerHandle | None) -> float | None:
    """Return the seconds until a timer is due, 0 or more; None without a timer."""
    return None if timer is None else max(0.0, timer.when() - time.monotonic())
