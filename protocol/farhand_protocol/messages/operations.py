"""Working with runs that are there: what runs, a signal to one, waiting for something in its output."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, Field

from farhand_protocol.model import (
    Argument,
    Count,
    Message,
    Name,
    Offset,
    Output,
    PositiveCount,
    RunId,
    Seconds,
    SignalNumber,
)
from farhand_protocol.outcome import Outcome

from .terminal import WindowSize

MAX_LISTED: Final = 1000
"""Runs in one listing: more than anybody reads, some 300 KB; who wants more goes on with `before`."""

MAX_RUNS: Final = 100
"""Runs in one message: some 30 KB, less than half a data frame, so that a long listing holds nothing else up."""

MAX_COMMAND_TEXT: Final = 1000
"""Characters of a command in a listing: so that one run fits the smallest message limit, whatever it is made of."""

MAX_PATTERN: Final = 4096
"""Bytes of a regular expression: longer than anybody writes, and compiled in milliseconds."""

Pattern = Annotated[Argument, Field(max_length=MAX_PATTERN)]


class List(Message):
    """Opens a channel and asks for runs, the newest first: `runs` messages, then `done`.

    Those under way, with `ended` the others too; only ids that begin with `prefix`; only ones begun before the run
    `before`, to go on with a long list.
    """

    type: Literal["list"] = "list"
    ended: bool = False
    prefix: Annotated[str, Field(pattern=r"^[0-9a-f-]{0,36}$")] = ""
    before: RunId | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = MAX_LISTED


class RunInfo(BaseModel):
    """One run in a listing. `began` in seconds since the epoch, `duration` in seconds, `stdout` and `stderr` the bytes
    written so far, `stdin` those that have come for it, where it goes on and takes any; `attachments` the clients that
    are attached now. Without an `outcome` it goes on.

    `terminal` is the size of its terminal, now or at its end, where it has one; zeros once that is not known any more.
    `command` is for people: the arguments as a shell would read them, or the shell's text, cut at `MAX_COMMAND_TEXT`.
    """

    model_config = Message.model_config
    id: RunId
    owner: Name
    command: Annotated[str, Field(max_length=MAX_COMMAND_TEXT)]
    began: Annotated[float, Field(ge=0)]
    duration: Annotated[float, Field(ge=0)]
    stdout: Count
    stderr: Count
    stdin: Count | None = None
    pid: PositiveCount | None = None
    attachments: Count = 0
    on_disconnect: Literal["kill", "keep"] = "kill"
    outcome: Outcome | None = None
    terminal: WindowSize | None = None


class Runs(Message):
    """Some of the runs that were asked for: as many as fit what the client takes in one message."""

    type: Literal["runs"] = "runs"
    runs: Annotated[tuple[RunInfo, ...], Field(max_length=MAX_RUNS)]


class Deliver(Message):
    """Opens a channel and sends signal `number` to the process group of the run `id`; `done` once it is delivered."""

    type: Literal["deliver"] = "deliver"
    id: RunId
    number: SignalNumber


class Done(Message):
    """The service's last message on a channel whose request has been served, or that the client has left before."""

    ordered: ClassVar[bool] = True
    type: Literal["done"] = "done"


class WaitFor(Message):
    """Opens a channel and waits for the first of: a match of `pattern` (RE2 syntax, on bytes) in `stream` from `offset`
    on, `idle` seconds without output of that stream, the end of the run, `timeout` seconds."""

    type: Literal["wait_for"] = "wait_for"
    id: RunId
    stream: Output = "stdout"
    offset: Offset = 0
    pattern: Pattern | None = None
    idle: Seconds | None = None
    timeout: Seconds | None = None


class Matched(Message):
    """What the wait ended with. For a `pattern`, `start` and `end` are the offsets of the match; else both are the
    offset up to which there was output."""

    type: Literal["matched"] = "matched"
    reason: Literal["pattern", "idle", "ended", "timeout"]
    start: Offset
    end: Offset
