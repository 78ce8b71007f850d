"""A run taken apart for the program that replaces this one by execve(2): what of it goes along.

Points in time are on the monotonic clock, which goes on through an execve (clock_gettime(2)); what must not pass while
nobody serves is told as the seconds that are left of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from .attachments.attachments import Output
from .plan import Plan, RunResult, StopReason
from .process.process import LeaderSnapshot

Descriptor: TypeAlias = Annotated[int, Field(ge=0)]

Blob: TypeAlias = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]
"""Where bytes are that no JSON should have to carry: their offset behind it, and how many they are."""


class SnapshotRecord(BaseModel):
    """Of everything that goes along: nothing is guessed, and nothing is taken that is not understood."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64"
    )


class MemorySpoolSnapshot(SnapshotRecord):
    """A `MemorySpool`."""

    kind: Literal["memory"] = "memory"
    limit: int
    start: int
    held: int
    ended: bool
    quiet: float
    free: bool
    data: Blob


class FileSpoolSnapshot(SnapshotRecord):
    """A `FileSpool`; what it keeps stays in its file."""

    kind: Literal["file"] = "file"
    path: Path
    limit: int
    start: int
    end: int
    ended: bool
    quiet: float
    failed: bool
    whole: bool = False


SpoolSnapshot: TypeAlias = Annotated[MemorySpoolSnapshot | FileSpoolSnapshot, Field(discriminator="kind")]


class AttachmentSnapshot(SnapshotRecord):
    """An `Attachment` whose client is waited for, for the seconds that are `left`."""

    key: bytes
    hold: bool
    taken: dict[Output, int]
    stdin_at: int
    stdin_received: int
    feeds: bool
    left: float | None
    size: tuple[int, int] | None = None


class StdinSnapshot(SnapshotRecord):
    """A `PipeInput` and what waits for its pipe."""

    received: int
    taken: int
    pipe: Descriptor | None
    queue: Blob
    ending: bool
    closed: bool


class TypistSnapshot(SnapshotRecord):
    """Who types at a terminal or has typed, and how much of it the terminal has."""

    key: bytes
    received: int
    taken: int
    ended: bool


class TerminalSnapshot(SnapshotRecord):
    """A `PseudoTerminal` while there is one, its size, and what waits to be typed: whose it is, and which bytes; none
    are the end of input."""

    master: Descriptor | None
    slave: Descriptor | None
    size: tuple[int, int]
    typists: tuple[TypistSnapshot, ...]
    queue: tuple[tuple[bytes | None, Blob | None], ...]
    in_line: bool


class SeriesSnapshot(SnapshotRecord):
    """A `Series` of a timeline."""

    step: int
    dump: Blob


class TimelineSnapshot(SnapshotRecord):
    """A run's `Timeline`."""

    output: SeriesSnapshot
    sizes: SeriesSnapshot | None
    typed_at: SeriesSnapshot | None
    typed: Blob
    cut: bool


class ProcessSnapshot(SnapshotRecord):
    """A `Process`, and the pipes that its output comes from."""

    handover: LeaderSnapshot
    in_cgroup: bool
    outputs: tuple[tuple[Descriptor, Output], ...]
    why: StopReason | None
    message: str | None
    kill_at: float | None
    times_out: float | None
    linger_until: float | None


class RunSnapshot(SnapshotRecord):
    """A `LiveRun`: one under way has a `process`, one that is over a `result` and is kept until `kept_until`."""

    plan: Plan
    began: float
    start: float
    pid: int | None
    failed: bool
    stdout: SpoolSnapshot
    stderr: SpoolSnapshot
    stdin: StdinSnapshot
    attachments: tuple[AttachmentSnapshot, ...]
    alone: float | None
    process: ProcessSnapshot | None
    result: RunResult | None
    kept_until: float | None
    timeline: TimelineSnapshot | None = None
    terminal: TerminalSnapshot | None = None

    def descriptors(self) -> Iterator[int]:
        """Those that have to stay open."""
        if self.stdin.pipe is not None:
            yield self.stdin.pipe
        if self.terminal is not None:
            yield from (fd for fd in (self.terminal.master, self.terminal.slave) if fd is not None)
        if self.process is not None:
            yield from (descriptor for descriptor, _ in self.process.outputs)


Put: TypeAlias = Callable[[list[bytes]], Blob]
"""Puts bytes aside and says where."""


class Get(Protocol):
    """Returns bytes that were put aside."""

    def __call__(self, blob: Blob, /) -> bytes:
        """Raises OSError."""
