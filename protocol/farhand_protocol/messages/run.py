"""The messages on a run's channel. Each such channel is one client's attachment to the run."""

from functools import cached_property
from hashlib import sha256
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import BaseModel, Field, model_validator

from farhand_protocol.left import LeftProcesses
from farhand_protocol.limits import MAX_WINDOW, MIN_SPOOL_SIZE, MIN_WINDOW
from farhand_protocol.model import (
    Argument,
    Arguments,
    Base64,
    Count,
    Environment,
    Grace,
    Message,
    Offset,
    Output,
    PositiveCount,
    RunId,
    Seconds,
    SignalNumber,
    Stream,
    refuse,
)
from farhand_protocol.outcome import Outcome
from farhand_protocol.values import (
    MAX_COUNT,
    MAX_PATHS,
    MAX_PURPOSE,
    attach_fault,
    forward_fault,
    gap_fault,
    run_fault,
    transfer_fault,
)

from .terminal import TerminalRequest, WindowSize

AttachmentKey = Annotated[Base64, Field(min_length=16, max_length=16)]
"""Chosen at random by the client for each attachment. A new attachment replaces an older one with the same key."""


Window = Annotated[int, Field(ge=MIN_WINDOW, le=MAX_WINDOW)]
"""Bytes of each output stream that may be in flight on a channel, if less than the client's limit. This many bytes may
still arrive after Ctrl-C."""


class Bounds(BaseModel):
    """The most that a run may use: `memory`, `file_size` and `output` in bytes, `cpu` in seconds, the others as counts.

    `output` is the sum of both streams. The service has its own bounds; the stricter bound applies.
    """

    model_config = Message.model_config
    memory: PositiveCount | None = None
    cpu: Seconds | None = None
    processes: PositiveCount | None = None
    files: PositiveCount | None = None
    file_size: Count | None = None
    output: Count | None = None


class TransferRequest(BaseModel):
    """What a transfer may touch of the user's files: it reads `paths`, which may be patterns (glob(7)), or writes to
    the only path, and nowhere else. Relative paths begin at the user's home."""

    model_config = Message.model_config
    access: Literal["read", "write"]
    paths: Annotated[Arguments, Field(min_length=1, max_length=MAX_PATHS)]

    @model_validator(mode="after")
    def _one_destination(self) -> Self:
        refuse(transfer_fault(self.__dict__))
        return self


class ForwardRequest(BaseModel):
    """What a tunnel is for, as text for listings: `-L 8080:db:5432`. It decides nothing: the policy judges each
    connection and each listener when it is asked for."""

    model_config = Message.model_config
    purpose: Annotated[str, Field(max_length=MAX_PURPOSE)] = ""

    @model_validator(mode="after")
    def _printable(self) -> Self:
        refuse(forward_fault(self.__dict__))
        return self


JOINED: Final = 1024
"""Arguments that are made one text at once: in 80 KiB."""


class RunRequest(Message):
    """Opens a channel and starts a run of exactly one of `argv` (executed unchanged), `shell` (text for a shell),
    `login` (the account's shell as a login shell), `transfer` (the service's own program that moves files) and
    `forward` (its program that connects and listens: a tunnel).

    The same `id` with the same request always means the same run, whichever client sends it and however often; it is
    never started twice. The working directory is relative to the user's home. `timeout`, `idle_timeout` (without any
    output), `kill_after` and `grace` are in seconds. Once no client holds the run, `on_disconnect` determines whether
    it is stopped after `grace` or kept. With `spool`, unread output does not block the program: it goes to a file of
    that many bytes for each stream, in which new output replaces the oldest.

    With `prelude` the shell runs that script, and finds the text in `shell` as its first argument.

    With `terminal` the program has a controlling terminal: everything it writes is `stdout`, and stdin is typed. Its
    output always goes to a spool file and blocks only for connected clients. With `record_input`, typed input is
    recorded, too. With `leave_processes`, processes that the program leaves behind are not stopped.
    A `transfer` and a `forward` have stdin, and none of the fields that are about programs.
    With `ssh_variables` the program gets the variables by which programs find out that sshd has started them.
    `internal` marks a run that a program makes for itself and not for its user; listings show the mark.
    """

    type: Literal["run"] = "run"
    id: RunId
    attachment: AttachmentKey | None = None
    argv: Annotated[Arguments, Field(min_length=1)] | None = None
    shell: Argument | None = None
    prelude: Argument | None = None
    login: bool = False
    cwd: Argument | None = None
    env: Environment = ()
    stdin: bool = False
    merge_stderr: bool = False
    timeout: Seconds | None = None
    idle_timeout: Seconds | None = None
    kill_after: Grace | None = None
    on_disconnect: Literal["kill", "keep"] = "kill"
    grace: Grace | None = None
    bounds: Bounds | None = None
    spool: Annotated[int, Field(ge=MIN_SPOOL_SIZE, le=MAX_COUNT)] | None = None
    window: Window | None = None
    terminal: TerminalRequest | None = None
    record_input: bool = False
    leave_processes: bool = False
    internal: bool = False
    transfer: TransferRequest | None = None
    forward: ForwardRequest | None = None
    ssh_variables: bool = False

    @model_validator(mode="after")
    def _one_command(self) -> Self:
        refuse(run_fault(self.__dict__))
        return self

    @cached_property
    def fingerprint(self) -> bytes:
        """What `request_fingerprint` returns."""
        return sha256(request_text(self)).digest()

    @cached_property
    def command_line(self) -> bytes:
        """The arguments as in /proc/PID/cmdline: each followed by a NUL byte. It is empty without `argv`."""
        argv = self.argv or ()
        # All at once would take 80 bytes more for each argument.
        chunks = (argv[first : first + JOINED] for first in range(0, len(argv), JOINED))
        return b"".join(b"\0".join((*chunk, b"")) for chunk in chunks)

    def __copy__(self) -> Self:
        """Return a copy that computes its own fingerprint: `model_copy` changes it afterwards."""
        copied = super().__copy__()
        for computed in ("fingerprint", "command_line"):
            copied.__dict__.pop(computed, None)
        return copied


OF_THE_CHANNEL: Final = frozenset({"attachment", "window"})
"""Fields of a request that belong to its channel rather than to the run."""


def request_text(request: RunRequest) -> bytes:
    """Return the text of which a request's fingerprint is the hash. The id comes first in it."""
    return request.model_dump_json(exclude_defaults=True, exclude=set(OF_THE_CHANNEL)).encode()


def request_fingerprint(request: RunRequest) -> bytes:
    """Return 32 bytes (SHA-256, FIPS 180-4), equal for two requests if and only if they are the same request.

    Sending a request again refers to the same run; a different request with the same id is a conflict. The fields in
    `OF_THE_CHANNEL` are ignored. Fields with their default value are left out, so
    that fingerprints stored in the history still compare equal after `run` has gained a field. It is computed once.
    """
    return request.fingerprint


class Attach(Message):
    """Opens a channel on the run `id`, whether it is still running or has ended.

    `stdout` and `stderr` are the offsets from which output is sent; a stream without an offset is not sent. With
    `stdin` the client feeds the run, and its first byte has that offset; bytes that the run already has are dropped.
    With `hold`, a run that was started without a spool waits for this attachment to read; without it, an attachment
    that falls behind receives a `gap`. Without `follow`, each stream ends at its current offset, and if the run
    continues, the final message is `done`. A `read_only` attachment may send nothing but `credit` and `close`.

    With `size` the client shows the run's terminal at that size; a run without a terminal refuses it. Each attachment
    that types has its own offsets: `stdin` counts what this attachment has typed. Only one attachment may type, unless
    later ones set `share`.
    """

    type: Literal["attach"] = "attach"
    id: RunId
    attachment: AttachmentKey | None = None
    stdout: Offset | None = None
    stderr: Offset | None = None
    stdin: Offset | None = None
    hold: bool = False
    follow: bool = True
    read_only: bool = False
    window: Window | None = None
    size: WindowSize | None = None
    share: bool = False

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        refuse(attach_fault(self.__dict__))
        return self


class Started(Message):
    """The program runs, or ran, as process `pid` of the remote machine.

    `new` is false if the run existed before this channel. `stdin` tells whether this attachment feeds the run.
    """

    type: Literal["started"] = "started"
    pid: Annotated[int, Field(ge=1, le=1 << 31)]
    new: bool = True
    stdin: bool = False


class Credit(Message):
    """The receiver of `stream` accepts `bytes` more bytes, and will not need the earlier data again."""

    type: Literal["credit"] = "credit"
    stream: Stream
    bytes: Annotated[int, Field(ge=1, le=MAX_WINDOW)]


class End(Message):
    """`stream` ends here. TLS has no half-close, so the end is a message."""

    ordered: ClassVar[bool] = True
    type: Literal["end"] = "end"
    stream: Stream


class GapNotice(Message):
    """`bytes` bytes of `stream` from its current `offset` on are no longer stored; the stream continues after them."""

    ordered: ClassVar[bool] = True
    type: Literal["gap"] = "gap"
    stream: Output
    offset: Offset
    bytes: PositiveCount

    @model_validator(mode="after")
    def _ends_at_an_offset(self) -> Self:
        refuse(gap_fault(self.__dict__))
        return self


class Signal(Message):
    """Send signal `number` (Linux's, signal(7)) to the run's process group."""

    type: Literal["signal"] = "signal"
    number: SignalNumber


class Stop(Message):
    """Stop the run: TERM, a grace period of `kill_after` seconds (default: the run's own), KILL."""

    type: Literal["stop"] = "stop"
    kill_after: Grace | None = None


class Exit(Message):
    """The program itself has ended with `outcome`, but processes that it left behind still hold its output, or still
    run; `ended` follows."""

    type: Literal["exit"] = "exit"
    outcome: Outcome


class UsageReport(BaseModel):
    """What a run has used: `user` and `system` in seconds of processor time, `peak_memory` in bytes if known."""

    model_config = Message.model_config
    user: Annotated[float, Field(ge=0)]
    system: Annotated[float, Field(ge=0)]
    peak_memory: Count | None = None


class AppliedBounds(BaseModel):
    """How each bound on the run was enforced: for its process tree by a cgroup, for each process by a resource limit
    (setrlimit(2)), or by the service itself. Resources without a bound, and bounds that nothing could enforce, are left
    out."""

    model_config = Message.model_config
    memory: Literal["cgroup", "rlimit"] | None = None
    cpu: Literal["cgroup", "rlimit"] | None = None
    processes: Literal["cgroup", "rlimit"] | None = None
    files: Literal["rlimit"] | None = None
    file_size: Literal["rlimit"] | None = None
    output: Literal["service"] | None = None


class Ended(Message):
    """The service's final message on a run's channel: the outcome, after all data.

    `stdout` and `stderr` are the bytes the program wrote, `duration` the wall time in seconds. `lingered` is true if
    processes that the program left behind still held its output at the end of the linger time.
    """

    ordered: ClassVar[bool] = True
    type: Literal["ended"] = "ended"
    outcome: Outcome
    stdout: Count
    stderr: Count
    duration: Annotated[float, Field(ge=0)]
    lingered: bool = False
    usage: UsageReport | None = None
    applied: AppliedBounds | None = None
    left_processes: LeftProcesses | None = None


class Close(Message):
    """The client's final message on a channel: it leaves the run as if its connection were lost, but permanently.

    With `lost` not permanently: several clients share the connection, and only the one behind this channel is lost.
    """

    ordered: ClassVar[bool] = True
    type: Literal["close"] = "close"
    lost: bool | None = None
