"""One run, from its request to its outcome. It belongs to the service: nobody has to watch it for it to end."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Lost, Outcome, SpawnFailed

from .attachments.attachments import Attachment, Attachments, BadOffset, Output, Watcher
from .attachments.terminal import TerminalAttachments
from .output.filespool import FileSpool, make_spools
from .output.spool import MAX_OFFSET, GoneSpool, Spool, SpoolMemory
from .output.timeline import Timeline
from .plan import EnforcedBy, Plan, RunResult, StopReason, TerminalSize, outcome_of
from .process.cgroup import Cgroups
from .process.process import LaunchError, Process
from .streams.pipe_input import PipeInput
from .streams.streams import PipeStreams, ProgramStreams, TerminalStreams
from .streams.terminal_input import TerminalInput

RUN_ID: Final = b"FARHAND_RUN_ID"
"""The variable by which a program, and a process that has left its family, tells which run it is of."""

EXIT_NOTICE_DELAY: Final = 0.01
"""Seconds that the end of the output may take after the leader's exit before the exit is told by itself: nearly always
it comes at once, and one message is told less."""

REAP_TIMEOUT: Final = 1.0
"""Seconds that killed processes may take to be gone before the end is told without them: they have no say any more,
and one in an uninterruptible wait for a device may take for ever."""


class LiveRun:
    """A run, under way or over. Nobody hears of its `result` before it is `told`: that waits until it is on record."""

    def __init__(
        self,
        plan: Plan,
        memory: SpoolMemory,
        spool_directory: Path,
        *,
        cgroups: Cgroups | None = None,
        spools: tuple[Spool, Spool] | None = None,
    ) -> None:
        self.plan = plan
        self.on_started: Callable[[LiveRun], None] | None = None
        self.began = time.time()
        self.pid: int | None = None
        self.result: RunResult | None = None
        self.told = False
        self.failed = False
        self.stdout: Spool
        self.stderr: Spool
        self.stdout, self.stderr = spools or make_spools(plan, memory, spool_directory)
        self._start = time.monotonic()
        self.timeline: Timeline | None = Timeline(plan, self._start, self.stdout, self.stderr, memory)
        self._cgroups = cgroups
        self._process: Process | None = None
        self._why: StopReason | None = None
        self._message: str | None = None
        self._kill_at = math.inf
        self._linger_until: float | None = None
        self._exit_told = False
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._output_ended = asyncio.Event()
        self.attachments: Attachments
        self.stdin: PipeInput | TerminalInput
        self._streams: ProgramStreams
        self._make_streams(self.timeline)

    @classmethod
    def past(cls, plan: Plan, result: RunResult, *, began: float, pid: int | None) -> LiveRun:
        """Return a run that is over and of which no output is kept."""
        run = cls.__new__(cls)
        run.plan, run.result, run.began, run.pid = plan, result, began, pid
        run.told, run.failed = True, False
        run.stdout, run.stderr = GoneSpool(result.stdout), GoneSpool(result.stderr)
        run.attachments = Attachments({"stdout": run.stdout, "stderr": run.stderr}, plan.grace, lambda: None)
        run.attachments.close()
        run.stdin = PipeInput(run.attachments)
        run._process = run.timeline = run._why = None
        return run

    @property
    def duration(self) -> float:
        """Seconds of wall time so far, or in all."""
        return time.monotonic() - self._start if self.result is None else self.result.duration

    @property
    def size(self) -> int:
        """Bytes of output that are kept."""
        return self.stdout.size + self.stderr.size

    async def execute(self) -> RunResult:
        """Run the command to its end. Called once, by the registry, in a task that nobody cancels."""
        try:
            result = await self._execute()
        except Exception:
            self.failed = True
            raise
        finally:
            self.attachments.close()
        self.result = result
        return result

    def lost(self) -> RunResult:
        """Return the result of a run that the service has failed: nobody knows its end."""
        self.stdout.finish()
        self.stderr.finish()
        self.result = RunResult(Lost(), self.stdout.end, self.stderr.end, self.duration)
        return self.result

    def tell_end(self) -> None:
        """Tell everybody the result. Called by the registry, once it is on record."""
        assert self.result is not None
        self.told = True
        self.plan = self.plan.without_request()
        for watcher in self.attachments.watchers():
            if self.failed:
                watcher.failed(ErrorCode.INTERNAL, "the service failed to see to this run; its log says why")
            else:
                watcher.ended(self.result)

    def refuse(self, sentence: str) -> None:
        """The run does not start, as it cannot be put on record."""
        self.failed = True
        for watcher in self.attachments.watchers():
            watcher.failed(ErrorCode.UNAVAILABLE, sentence)

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
        """Attach a client that has the output up to `taken`, and whose stdin begins at `feeds`.

        The others as for `Attachment` and `Attachments.add`. Raises `BadOffset` and `TooManyAttachments`.
        """
        if self.result is not None and isinstance(self.result.outcome, Lost):
            # How much it took and wrote is not known either: who has had more than is on record hears of the loss.
            ends = {"stdout": self.stdout.end, "stderr": self.stderr.end}
            taken, feeds = {stream: min(offset, ends[stream]) for stream, offset in taken.items()}, None
        for stream, offset in taken.items():
            end = (self.stdout if stream == "stdout" else self.stderr).end
            if offset > end:
                raise BadOffset(f"{stream} of run {self.plan.id} has {end} bytes, and is wanted from {offset} on")
        if feeds is not None and (reason := self.stdin.refusal(key, feeds)) is not None:
            raise BadOffset(f"stdin of run {self.plan.id} {reason}")
        if not self.plan.stdin:
            feeds = None
        return self.attachments.add(
            watcher, key=key, hold=hold, taken=taken, feeds=feeds, share=share, size=size, window=window
        )

    def left(self, attachment: Attachment) -> None:
        """The client goes for good. A run that is being stopped has its output thrown away if nobody else wants it."""
        self.attachments.left(attachment)
        self._free_if_unheld()

    def signal(self, number: int) -> bool:
        """Send a signal to the process group; False where it was not delivered to anyone."""
        return self._process is not None and self._process.signal(number)

    def stop(self, reason: StopReason, kill_after: float | None = None, message: str | None = None) -> None:
        """Begin TERM, `kill_after` seconds of grace (the plan's unless given), KILL.

        Of several stops the first reason counts, and the earliest KILL: a later one can only shorten the grace.
        """
        if self.result is not None:
            return
        kill_at = time.monotonic() + (self.plan.kill_after if kill_after is None else kill_after)
        sooner = kill_at < self._kill_at
        self._kill_at = min(kill_at, self._kill_at)
        first = self._why is None
        if first:
            self._why, self._message = reason, message
        self._free_if_unheld()
        if self._process is None:
            return
        if first:
            self._begin_stop(self._process)
        elif sooner:
            self._kill_in_time(self._process)

    def close(self) -> None:
        """Forget the output; the run is over."""
        self.stdout.close()
        self.stderr.close()
        if self.timeline is not None:
            self.timeline.close()

    @property
    def cgroup(self) -> Path | None:
        """The directory of its cgroup, while it runs in one."""
        return None if self._process is None else self._process.cgroup_path

    def _make_streams(self, timeline: Timeline) -> None:
        plan, record = self.plan, timeline.fed if self.plan.record_input else None
        if plan.terminal is None:
            self.attachments = Attachments({"stdout": self.stdout, "stderr": self.stderr}, plan.grace, self._abandoned)
            self.stdin = PipeInput(self.attachments, record)
            self._streams = PipeStreams(plan, self.stdin, self.stdout, self.stderr, self._one_ended)
            return
        assert isinstance(self.stdout, FileSpool)
        size = TerminalSize(plan.terminal.columns, plan.terminal.rows)
        self.attachments = attached = TerminalAttachments(self.stdout, size, plan.grace, self._abandoned)
        self.stdin, screen = TerminalInput(attached, record), attached.screen
        screen.listeners.append(lambda: timeline.resized(*screen.size))
        self._streams = TerminalStreams(plan, self.stdin, screen, self.stdout, self._one_ended)

    def _abandoned(self) -> None:
        if not self.plan.keep:
            self.stop("disconnected")

    def _free_if_unheld(self) -> None:
        if self._why is not None and not self.attachments.held:
            self.stdout.free()
            self.stderr.free()

    async def _execute(self) -> RunResult:
        process = self._process  # of the program that this one has replaced
        if process is None:
            try:
                process = await self._spawn()
            except LaunchError as error:
                self.stdout.finish()
                self.stderr.finish()
                failed = SpawnFailed(errno=error.errno, error=error.name, what=error.what, message=str(error))
                return RunResult(failed, self.stdout.end, self.stderr.end, self.duration)
        try:
            if self._process is None:
                self._begin(process)
            return await self._see_out(process)
        finally:
            for timer in self._timers.values():
                timer.cancel()
            process.close()
            self._process = None
            self._streams.close()

    async def _spawn(self) -> Process:
        plan = self.plan
        cgroup = self._cgroups.create(plan.id, plan.limits) if self._cgroups is not None and plan.in_cgroup else None
        try:
            with contextlib.ExitStack() as theirs:
                stdin, stdout, stderr = self._streams.open(theirs)
                return await Process.start(
                    plan.argv,
                    cwd=plan.cwd,
                    env={**plan.env, RUN_ID: plan.id.encode()},
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    run_id=plan.id,
                    limits=plan.limits,
                    credentials=plan.credentials,
                    cgroup=cgroup,
                    terminal=plan.terminal is not None,
                    argv0=plan.argv0,
                )
        except BaseException:
            self._streams.close()
            if cgroup is not None:
                cgroup.remove()
            raise

    def _begin(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid
        if self.on_started is not None:
            self.on_started(self)
        for watcher in self.attachments.watchers():
            watcher.started()
        self._streams.begin()
        self._watch_bounds()
        if self._why is not None:
            self._begin_stop(process)
        elif self.plan.timeout is not None:
            self._at("timeout", time.monotonic() + self.plan.timeout, self.stop, "timed_out")

    async def _see_out(self, process: Process) -> RunResult:
        """Wait for the end of a program. It may begin anew after any await, in the program that replaces this one."""
        code = await process.exited
        self._why = self._why or process.limit_hit()
        outcome = outcome_of(self.plan, self._why, self._message, code)
        if self._why is not None:
            await self._rest_of_grace(process)
        lingered = not await self._last_output(process, outcome)
        if self._why == "output" and not self._exit_told:
            outcome = outcome_of(self.plan, self._why, self._message, code)  # what was still in the pipes counts, too
        await self._all_gone(process)
        return RunResult(
            outcome, self.stdout.end, self.stderr.end, self.duration, lingered, process.usage(), self._applied(process)
        )

    def _watch_bounds(self) -> None:
        if self.plan.idle_timeout is not None:
            last = max(self.stdout.touched, self.stderr.touched)
            self._at("idle", last + self.plan.idle_timeout, self._maybe_idle)
        for spool in (self.stdout, self.stderr):
            spool.on_failure = lambda sentence: self.stop("spool", 0.0, sentence)
            if self.plan.output is not None:
                spool.listeners.append(self._check_output)

    def _check_output(self) -> None:
        assert self.plan.output is not None
        if self.stdout.end + self.stderr.end > self.plan.output:
            # It may write as fast as it can while it is asked to go: there is no grace.
            self.stop("output", 0.0, f"it wrote more than {self.plan.output} bytes")

    def _maybe_idle(self) -> None:
        assert self.plan.idle_timeout is not None
        last = max(self.stdout.touched, self.stderr.touched)
        if self.stdout.full or self.stderr.full:
            last = time.monotonic()  # it is held up, which is not its doing
        if time.monotonic() - last >= self.plan.idle_timeout:
            self.stop("idle")
        else:
            self._at("idle", last + self.plan.idle_timeout, self._maybe_idle)

    async def _rest_of_grace(self, process: Process) -> None:
        """Leave the group the grace of a stop, where its leader has ended sooner."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._kill_at - time.monotonic())):
                await process.tree_ended()

    async def _all_gone(self, process: Process) -> None:
        """Kill what is left of the run, and wait until it is gone; not for ever, as a device may hold on to it."""
        process.kill_tree()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REAP_TIMEOUT):
                await process.tree_ended()

    def _applied(self, process: Process) -> dict[str, EnforcedBy]:
        applied = dict[str, EnforcedBy](process.applied.items())
        if self.plan.output is not None:
            applied["output"] = "service"
        return applied

    async def _last_output(self, process: Process, outcome: Outcome) -> bool:
        """Wait for the end of the output, at most for the linger time; True if it came."""
        if self._streams.leader_ended() and not self._output_ended.is_set():
            self._at("exit", time.monotonic() + EXIT_NOTICE_DELAY, self._tell_exit, outcome)
            self._linger_until = self._linger_until or time.monotonic() + self.plan.linger
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._linger_until):
                    await self._output_ended.wait()
            self._timers.pop("exit").cancel()
        return self._streams.drain()

    def _tell_exit(self, outcome: Outcome) -> None:
        self._exit_told = True
        for watcher in self.attachments.watchers():
            watcher.exited(outcome)

    def _begin_stop(self, process: Process) -> None:
        self._streams.begin_stop(process, disconnected=self._why == "disconnected")
        self._kill_in_time(process)

    def _kill_in_time(self, process: Process) -> None:
        self._at("kill", self._kill_at, process.kill_tree)

    def _at(self, name: str, when: float, callback: Callable[..., object], *args: object) -> None:
        """Call back at `when` on the monotonic clock; a timer of the same name before it is dropped."""
        if name in self._timers:
            self._timers[name].cancel()
        delay = max(0.0, when - time.monotonic())
        self._timers[name] = asyncio.get_running_loop().call_later(delay, callback, *args)

    def _one_ended(self) -> None:
        if self.stdout.ended and self.stderr.ended:
            self._output_ended.set()
