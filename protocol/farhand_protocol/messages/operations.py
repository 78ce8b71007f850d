"""Requests, each on its own channel: list runs, signal a run, wait for a run's output; the state of the service."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, Field

from farhand_protocol.left import LeftProcesses
from farhand_protocol.model import (
    Argument,
    Count,
    Grace,
    Message,
    Name,
    Offset,
    Output,
    PositiveCount,
    RunId,
    Seconds,
    ShortText,
    SignalNumber,
)
from farhand_protocol.outcome import Outcome

from .terminal import WindowSize

MAX_LISTED: Final = 1000
"""Runs in one listing: more than anyone reads, about 300 KB. A client that wants more continues with `before`."""

MAX_RUNS: Final = 100
"""Runs in one message: about 30 KB, less than half a data frame, so that a long listing delays nothing else."""

MAX_COMMAND_TEXT: Final = 1000
"""Characters of a command in a listing, so that any run fits the smallest message limit."""

MAX_CLIENTS: Final = 8
"""Attached clients in a listing: as many as fit on a line. `attachments` counts all."""

MAX_CLIENT_USER: Final = 32
"""Characters of a client's account in a listing, as useradd(8) allows."""

MAX_PATTERN: Final = 4096
"""Bytes of a regular expression: longer than anyone writes, and compiled in milliseconds."""

MAX_SHARES: Final = 256
"""Shares in one `service_status`: those of the 40 users or so who use the most fit on a screen or two."""

MAX_FAULTS: Final = 16
"""Faults in one status. There are few kinds of them, each with a sentence of up to `MAX_SHORT_TEXT` characters."""

Pattern = Annotated[Argument, Field(max_length=MAX_PATTERN)]


class List(Message):
    """Opens a channel and requests runs, newest first: `runs` messages, then `done`.

    Lists current runs, and with `ended` also past runs. `prefix` selects runs whose ids begin with it; `before`, the id
    of a run, selects runs that began before that run, to continue a long list.
    """

    type: Literal["list"] = "list"
    ended: bool = False
    prefix: Annotated[str, Field(pattern=r"^[0-9a-f-]{0,36}$")] = ""
    before: RunId | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = MAX_LISTED


class ClientInfo(BaseModel):
    """A client that is attached to a run: the account as which it has logged in, its key's fingerprint and its address.

    A local client has neither key nor address. `types` tells whether what it sends reaches the program.
    """

    model_config = Message.model_config
    user: Annotated[str, Field(max_length=MAX_CLIENT_USER)]
    key: Annotated[str, Field(max_length=64)] | None = None
    address: Annotated[str, Field(max_length=64)] | None = None
    types: bool = False


class RunInfo(BaseModel):
    """One run in a listing. Without an `outcome` it is still running.

    `began` is in seconds since the epoch, `duration` in seconds. `stdout` and `stderr` are the bytes written so far,
    `stdin` the bytes received as its input, if it is still running and has stdin; `attachments` counts the attached
    clients. `terminal` is the current or last size of its terminal, if it has one; zeros if the size is no longer
    known. `left_processes` are processes that the run has left behind: for those that still run, their present state.
    `command` is for people: the arguments quoted for a shell, or the shell's text, truncated at `MAX_COMMAND_TEXT`.
    `login` tells whether it is a login shell, and `internal` whether a program made it for itself. `tty` is the name of
    its terminal while it runs, as ps(1) shows it. `clients` are some of the attached clients. With `transfer` it is a
    transfer of files, with `forward` a tunnel; the output of neither is for people.
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
    left_processes: LeftProcesses | None = None
    login: bool = False
    tty: Annotated[str, Field(max_length=32)] | None = None
    clients: Annotated[tuple[ClientInfo, ...], Field(max_length=MAX_CLIENTS)] = ()
    internal: bool = False
    transfer: bool = False
    forward: bool = False


class Runs(Message):
    """Some of the requested runs: as many as fit the client's message limit."""

    type: Literal["runs"] = "runs"
    runs: Annotated[tuple[RunInfo, ...], Field(max_length=MAX_RUNS)]


class Deliver(Message):
    """Opens a channel and sends signal `number` to the process group of run `id`; `done` follows once it is delivered.

    For a run that has ended, all processes that it has left running receive the signal. With `kill_after`, `done`
    follows only when all of these have ended; those that are alive after that many seconds are killed.
    """

    type: Literal["deliver"] = "deliver"
    id: RunId
    number: SignalNumber
    kill_after: Grace | None = None


class Done(Message):
    """The service's final message on a channel whose request is complete or which the client has already closed."""

    ordered: ClassVar[bool] = True
    type: Literal["done"] = "done"


class WaitFor(Message):
    """Opens a channel and waits for the first of: a match of `pattern` (RE2 syntax, on bytes) in `stream` from `offset`
    on, `idle` seconds without output on that stream, the end of the run, `timeout` seconds."""

    type: Literal["wait_for"] = "wait_for"
    id: RunId
    stream: Output = "stdout"
    offset: Offset = 0
    pattern: Pattern | None = None
    idle: Seconds | None = None
    timeout: Seconds | None = None


class Matched(Message):
    """What ended the wait. For a `pattern`, `start` and `end` are the offsets of the match; otherwise both are the
    offset at which the output currently ends."""

    type: Literal["matched"] = "matched"
    reason: Literal["pattern", "idle", "ended", "timeout"]
    start: Offset
    end: Offset


class StatusRequest(Message):
    """Opens a channel and asks for the state of the service itself. A feature: `features.SERVICE_STATUS`."""

    type: Literal["status"] = "status"


class ShareInfo(BaseModel):
    """What one user has of something that all users share, such as `runs`: `used` of the `limit` that the user may have
    now."""

    model_config = Message.model_config
    user: Annotated[str, Field(max_length=MAX_CLIENT_USER)]
    resource: Annotated[str, Field(max_length=64)]
    used: Count
    limit: Count


class LoopHolds(BaseModel):
    """How often one thing held the service's loop for more than 50 ms since its program started, so that everybody
    waited: the longest time and all of them together, in seconds."""

    model_config = Message.model_config
    times: Count = 0
    longest: Annotated[float, Field(ge=0)] = 0.0
    total: Annotated[float, Field(ge=0)] = 0.0


class ServiceStatus(Message):
    """The answer to `status`. `uptime` is in seconds; `runs` and `connections` are those of all users.

    `faults` are sentences about what the service cannot do now, although it is running. `shares` are those of the user
    who asks, or of all users if root or the service's account asks: a feature, `features.SHARES`. `holds` is a feature,
    too: `features.LOOP_HOLDS`.
    """

    type: Literal["service_status"] = "service_status"
    pid: PositiveCount
    uptime: Annotated[float, Field(ge=0)]
    runs: Count
    connections: Count
    draining: bool = False
    faults: Annotated[tuple[ShortText, ...], Field(max_length=MAX_FAULTS)] = ()
    shares: Annotated[tuple[ShareInfo, ...], Field(max_length=MAX_SHARES)] = ()
    holds: LoopHolds = Field(default_factory=LoopHolds)
