"""A run taken apart for the program that replaces this one by execve(2): what of it goes along.

Points in time are on the monotonic clock, which goes on through an execve (clock_gettime(2)); what must not pass while
nobody serves is told as the seconds that are left of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from .attachments import Output
from .plan import Plan, Result, Why
from .process.process import Handover

Descriptor: TypeAlias = Annotated[int, Field(ge=0)]

Blob: TypeAlias = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]
"""Where bytes are that no JSON should have to carry: their offset behind it, and how many they are."""


class Frozen(BaseModel):
    """Of everything that goes along: nothing is guessed, and nothing is taken that is not understood."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64"
    )


class FrozenMemory(Frozen):
    """A `MemorySpool`."""

    kind: Literal["memory"] = "memory"
    limit: int
    start: int
    held: int
    ended: bool
    quiet: float
    free: bool
    data: Blob


class FrozenFile(Frozen):
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


FrozenSpool: TypeAlias = Annotated[FrozenMemory | FrozenFile, Field(discriminator="kind")]


class FrozenAttachment(Frozen):
    """An `Attachment` whose client is waited for, for the seconds that are `left`."""

    key: bytes
    hold: bool
    taken: dict[Output, int]
    stdin_at: int
    stdin_received: int
    feeds: bool
    left: float | None
    size: tuple[int, int] | None = None


class FrozenStdin(Frozen):
    """A run's `Stdin` and what waits for its pipe."""

    received: int
    taken: int
    pipe: Descriptor | None
    queue: Blob
    ending: bool
    closed: bool


class FrozenTypist(Frozen):
    """Who types at a terminal or has typed, and how much of it the terminal has."""

    key: bytes
    received: int
    taken: int
    ended: bool


class FrozenTerminal(Frozen):
    """A `PseudoTerminal` while there is one, its size, and what waits to be typed: whose it is, and which bytes; none
    are the end of input."""

    master: Descriptor | None
    slave: Descriptor | None
    size: tuple[int, int]
    typists: tuple[FrozenTypist, ...]
    queue: tuple[tuple[bytes | None, Blob | None], ...]
    in_line: bool


class FrozenSeries(Frozen):
    """A `Series` of a timeline."""

    step: int
    dump: Blob


class FrozenTimeline(Frozen):
    """A run's `Timeline`."""

    output: FrozenSeries
    sizes: FrozenSeries | None
    typed_at: FrozenSeries | None
    typed: Blob
    cut: bool


class FrozenProcess(Frozen):
    """A `Process`, and the pipes that its output comes from."""

    handover: Handover
    in_cgroup: bool
    outputs: tuple[tuple[Descriptor, Output], ...]
    why: Why | None
    message: str | None
    kill_at: float | None
    times_out: float | None
    linger_until: float | None


class FrozenRun(Frozen):
    """A `Run`: with a `process` where it is under way, with a `result` where it is over and kept until `kept_until`."""

    plan: Plan
    began: float
    start: float
    pid: int | None
    failed: bool
    stdout: FrozenSpool
    stderr: FrozenSpool
    stdin: FrozenStdin
    attachments: tuple[FrozenAttachment, ...]
    alone: float | None
    process: FrozenProcess | None
    result: Result | None
    kept_until: float | None
    timeline: FrozenTimeline | None = None
    terminal: FrozenTerminal | None = None

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
