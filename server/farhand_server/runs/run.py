"""One run, from its plan to its outcome. It belongs to the service, and runs to its end even if nobody watches it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Self, TypeAlias

from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Lost
from farhand_server.forwards.records import FlowRecord

from .attachments.attachments import Attachment, Attachments, AttachmentSnapshot, BadOffset, Output, Watcher
from .attachments.terminal import TerminalAttachments
from .execution import Execution, ProcessSnapshot
from .output.directory import SpoolDirectory
from .output.filespool import FileSpool, RunSpool, SpoolSnapshot, make_spools, restore_spool
from .output.spool import MAX_OFFSET, SpoolMemory
from .output.timeline import Timeline, TimelineSnapshot
from .past import PastRun
from .plan import Plan, RunResult, StopReason, TerminalSize
from .process.cgroup import Cgroups
from .process.left import LeftTree
from .snapshots import Get, Put, SnapshotRecord
from .streams.pipe_input import PipeInput, StdinSnapshot
from .streams.streams import PipeStreams, ProgramStreams, TerminalStreams
from .streams.terminal_input import TerminalInput, TerminalSnapshot


class RunSnapshot(SnapshotRecord):
    """The state of a `LiveRun`. An active run has a `process`. A run that is over has a `result`, and is kept until
    `kept_until`."""

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
        """Yield the descriptors that must stay open."""
        if self.stdin.pipe is not None:
            yield self.stdin.pipe
        if self.terminal is not None:
            yield from (fd for fd in (self.terminal.master, self.terminal.slave) if fd is not None)
        if self.process is not None:
            yield from (descriptor for descriptor, _ in self.process.outputs)
            yield from (fd for fd in (self.process.order_file, self.process.records) if fd is not None)

    @property
    def unreaped_leader(self) -> int | None:
        """The pid of the leader, if it has not been reaped."""
        if self.process is None or self.process.handover.code is not None:
            return None
        return self.process.handover.pid


class LiveRun:
    """A run that is active, or is over with its output still kept.

    Nobody is notified of its `result` before it is `announced`, which happens once the result is recorded.
    """

    def __init__(
        self,
        plan: Plan,
        memory: SpoolMemory,
        directory: SpoolDirectory,
        *,
        cgroups: Cgroups | None = None,
        spools: tuple[RunSpool, RunSpool] | None = None,
        start: float | None = None,
    ) -> None:
        """`start` is on the monotonic clock and defaults to now. Raises OSError if a spool cannot be created."""
        self.plan = plan
        self.on_started: Callable[[LiveRun], None] | None = None
        self.on_record: Callable[[LiveRun, FlowRecord], None] | None = None
        """Called with each record of a tunnel."""
        self.began = time.time()
        self.pid: int | None = None
        self.result: RunResult | None = None
        self.announced = False
        self.failed = False
        """Whether an error in the service has broken the run, so that its outcome is not known."""
        self.stdout, self.stderr = spools or make_spools(plan, memory, directory)
        self._start = time.monotonic() if start is None else start
        self.timeline = Timeline(plan, self._start, self.stdout, self.stderr, memory)
        self._memory = memory
        self._request_size = plan.request_size
        memory.used += self._request_size
        self.attachments: Attachments
        self.stdin: PipeInput | TerminalInput
        self._streams: ProgramStreams
        self._make_streams(memory)
        self._execution = Execution(
            plan,
            self._start,
            self._streams,
            (self.stdout, self.stderr),
            self.attachments,
            cgroups,
            self._started,
            self._recorded,
        )
        # Attributes that a `PastRun` has as well
        self.id: Final = plan.id
        self.owner: Final = plan.owner
        self.key: Final = plan.origin.key
        self.fingerprint: Final = plan.fingerprint
        self.command: Final = plan.command
        self.keep: Final = plan.keep
        self.has_terminal: Final = plan.terminal is not None
        self.login: Final = plan.login
        self.internal: Final = plan.internal
        self.transfer: Final = plan.transfer is not None
        self.forward: Final = plan.forward is not None

    @property
    def acts_for(self) -> Mapping[str, str]:
        """Who the log says holds the loop, while something is done for the run (`loopwatch`)."""
        return {"run": self.id, "user": self.owner}

    @property
    def duration(self) -> float:
        """Wall time in seconds: so far, or in total once the run is over."""
        return time.monotonic() - self._start if self.result is None else self.result.duration

    def spool(self, stream: Output) -> RunSpool:
        """Return the spool of `stream`."""
        return self.stdout if stream == "stdout" else self.stderr

    @property
    def tty(self) -> str | None:
        """The name of its terminal while it has one, such as `pts/3`."""
        return self._streams.tty

    @property
    def size(self) -> int:
        """The number of bytes of output that are kept."""
        return self.stdout.size + self.stderr.size

    @property
    def on_disk(self) -> int:
        """The number of bytes of output that are kept in files."""
        return self.size if isinstance(self.stdout, FileSpool) else 0

    @property
    def left_tree(self) -> LeftTree | None:
        """The processes that the run has left running, once it is over."""
        return self._execution.left_tree

    @property
    def mark(self) -> int:
        """The mark of the run's processes (see `process.subreaper`), while it runs; 0 if there is none."""
        return self._execution.mark

    @property
    def start_ticks(self) -> int | None:
        """When the program was started, in clock ticks since boot, while it runs; None if that is not known."""
        return self._execution.start_ticks

    @property
    def cgroup(self) -> Path | None:
        """The directory of the run's cgroup, while it runs in one."""
        return self._execution.cgroup

    @property
    def past(self) -> PastRun:
        """What the history knows about this run, which must be over."""
        assert self.result is not None
        return PastRun(
            id=self.id,
            owner=self.owner,
            key=self.key,
            fingerprint=self.fingerprint,
            command=self.command,
            keep=self.keep,
            has_terminal=self.has_terminal,
            login=self.login,
            internal=self.internal,
            transfer=self.transfer,
            forward=self.forward,
            began=self.began,
            pid=self.pid,
            result=self.result,
        )

    # Upgrade

    @property
    def steady(self) -> bool:
        """Whether a snapshot can be taken: the program runs, or has ended and the run waits for its output or
        processes."""
        return self._execution.process is not None and self.result is None

    def snapshot(self, put: Put, *, kept_until: float | None = None) -> RunSnapshot:
        """Return the state for `restore`, of a run that is `steady`, or that is over and kept until `kept_until`.

        This changes nothing: the run can also continue here.
        """
        attachments, alone = self.attachments.snapshot()
        return RunSnapshot(
            plan=self.plan,
            began=self.began,
            start=self._start,
            pid=self.pid,
            failed=self.failed,
            stdout=self.stdout.snapshot(put),
            stderr=self.stderr.snapshot(put),
            stdin=self.stdin.snapshot(put),
            terminal=self._streams.terminal_snapshot(put),
            attachments=attachments,
            alone=alone,
            process=self._execution.snapshot(),
            result=self.result,
            kept_until=kept_until,
            timeline=self.timeline.snapshot(put),
        )

    @classmethod
    def restore(
        cls,
        snapshot: RunSnapshot,
        get: Get,
        memory: SpoolMemory,
        directory: SpoolDirectory,
        cgroups: Cgroups | None,
    ) -> Self:
        """Return the run recorded in a snapshot. An active run continues once `execute` is called.

        Call this in the same turn of the event loop as `prepare_loop`. Raises OSError if the output cannot be read, and
        ChildProcessError if the process is not a child of the service.
        """
        plan = snapshot.plan
        stdout = restore_spool(snapshot.stdout, plan, get, memory, directory)
        stderr = restore_spool(snapshot.stderr, plan, get, memory, directory)
        run = cls(plan, memory, directory, cgroups=cgroups, spools=(stdout, stderr), start=snapshot.start)
        run.began, run.pid, run.failed, run.result = snapshot.began, snapshot.pid, snapshot.failed, snapshot.result
        run.announced = snapshot.result is not None
        if snapshot.timeline is not None:
            run.timeline.restore(snapshot.timeline, get)
        run.attachments.restore(snapshot.attachments, snapshot.alone)
        outputs = () if snapshot.process is None else snapshot.process.outputs
        run._streams.restore(outputs, snapshot.stdin, snapshot.terminal, get)
        run._execution.stream_ended()
        if snapshot.process is None:
            run.attachments.close()
        else:
            run._execution.restore(snapshot.process)
        return run

    # Called by the registry

    async def execute(self) -> RunResult:
        """Run the command to its end. The registry calls this once, in a task that is never cancelled."""
        try:
            result = await self._execution.run()
        except Exception:
            self.failed = True
            raise
        finally:
            self.attachments.close()
        self.result = result
        return result

    def mark_lost(self) -> RunResult:
        """Return the result of a run that an error in the service has broken: its outcome is not known."""
        self.stdout.finish()
        self.stderr.finish()
        self.result = RunResult(Lost(), self.stdout.end, self.stderr.end, self.duration)
        return self.result

    def announce_end(self) -> None:
        """Notify all watchers of the result. The registry calls this once the result is recorded."""
        assert self.result is not None
        self.announced = True
        self.plan = self._execution.forget_request()
        self._count_no_request()
        for watcher in self.attachments.watchers():
            if self.failed:
                watcher.failed(ErrorCode.INTERNAL, "the service failed to handle this run; its log says why")
            else:
                watcher.ended(self.result)

    def refuse(self, sentence: str) -> None:
        """Notify all watchers that the run does not start, because its start cannot be recorded."""
        self.failed = True
        for watcher in self.attachments.watchers():
            watcher.failed(ErrorCode.UNAVAILABLE, sentence)

    def close(self) -> None:
        """Delete the output of a run that is over."""
        self.stdout.close()
        self.stderr.close()
        self.timeline.close()
        self.stdin.close()  # a run that never started may have some waiting
        self._count_no_request()

    # Called for clients

    def attach(
        self,
        watcher: Watcher,
        *,
        key: bytes | None,
        hold: bool,
        taken: Mapping[Output, int],
        feeds: int | None,
        share: bool = False,
        size: TerminalSize | None = None,
        window: int = MAX_OFFSET,
    ) -> Attachment:
        """Attach a client that already has the output up to `taken`, and whose stdin begins at `feeds`.

        The other parameters are those of `Attachments.add`. Raises `BadOffset` and `TooManyAttachments`.
        """
        if self.result is not None and isinstance(self.result.outcome, Lost):
            # The record is not exact. A client that is ahead of it must still learn that the run is lost.
            taken, feeds = {stream: min(offset, self.spool(stream).end) for stream, offset in taken.items()}, None
        check_offsets(self, taken)
        if feeds is not None and (reason := self.stdin.refusal(key, feeds)) is not None:
            raise BadOffset(f"stdin of run {self.plan.id} {reason}")
        if not self.plan.stdin:
            feeds = None
        return self.attachments.add(
            watcher, key=key, hold=hold, taken=taken, feeds=feeds, share=share, size=size, window=window
        )

    def detach(self, attachment: Attachment) -> None:
        """Remove the attachment of a client that has detached and will not return. If the run is being stopped and has
        no other holder, it then writes without waiting."""
        self.attachments.left(attachment)
        self._execution.free_if_unheld()

    def signal(self, number: int) -> bool:
        """Send a signal to the process group. Return whether any process received it."""
        process = self._execution.process
        return process is not None and process.signal(number)

    def stop(self, reason: StopReason, kill_after: float | None = None, message: str | None = None) -> None:
        """Stop the run: TERM, `kill_after` seconds of grace (default: the plan's), KILL. See `StopLadder`."""
        if self.result is None:
            self._execution.stop(reason, kill_after, message)

    def _make_streams(self, memory: SpoolMemory) -> None:
        plan, record = self.plan, self.timeline.fed if self.plan.record_input else None
        if plan.terminal is None:
            spools: dict[Output, RunSpool] = {"stdout": self.stdout, "stderr": self.stderr}
            self.attachments = Attachments(spools, plan.grace, self._abandoned)
            self.stdin = PipeInput(self.attachments, memory, record)
            self._streams = PipeStreams(plan, self.stdin, self.stdout, self.stderr, self._stream_ended)
            return
        assert isinstance(self.stdout, FileSpool)
        first = TerminalSize(plan.terminal.columns, plan.terminal.rows)
        self.attachments = attachments = TerminalAttachments(self.stdout, first, plan.grace, self._abandoned)
        self.stdin, shared_size = TerminalInput(attachments, memory, record), attachments.shared_size
        shared_size.listeners.append(lambda: self.timeline.resized(*shared_size.size))
        self._streams = TerminalStreams(plan, self.stdin, shared_size, self.stdout, self._stream_ended)

    def _started(self, pid: int) -> None:
        self.pid = pid
        if self.on_started is not None:
            self.on_started(self)

    def _recorded(self, record: FlowRecord) -> None:
        if self.on_record is not None:
            self.on_record(self, record)

    def _count_no_request(self) -> None:
        self._memory.used -= self._request_size
        self._request_size = 0

    def _stream_ended(self) -> None:
        self._execution.stream_ended()

    def _abandoned(self) -> None:
        if not self.keep:
            self.stop("disconnected")


AnyRun: TypeAlias = LiveRun | PastRun


def check_offsets(run: AnyRun, taken: Mapping[Output, int]) -> None:
    """Raise `BadOffset` if a requested offset is beyond the end of its stream."""
    for stream, offset in taken.items():
        end = run.spool(stream).end
        if offset > end:
            raise BadOffset(f"{stream} of run {run.id} has {end} bytes, so it cannot be sent from offset {offset}")
