"""A run's program while it runs: from the launch until its output has ended and all its processes are gone or
left to themselves."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from farhand_protocol.left import LeftProcesses
from farhand_protocol.outcome import Exited, Outcome, SpawnFailed
from farhand_server.forwards.records import FlowRecord

from .attachments.attachments import Attachments, Output
from .output.spool import Spool
from .own import OwnProgram, OwnReport
from .plan import EnforcedBy, Plan, RunResult, StopReason, outcome_of
from .process.cgroup import Cgroups
from .process.left import LeftTree, describe, stopped
from .process.place import LaunchError
from .process.process import LeaderSnapshot, Process
from .process.tree import RUN_ID_VARIABLE
from .process.usage import rlimit_of_processes_binds
from .snapshots import Descriptor, SnapshotRecord
from .stop import StopLadder, Timeouts
from .streams.streams import ProgramStreams

EXIT_NOTICE_DELAY: Final = 0.01
"""Seconds to wait for the end of the output after the leader's exit before reporting the exit separately. The output
nearly always ends at once, which saves a message."""

REAP_TIMEOUT: Final = 1.0
"""Seconds to wait for killed processes to end before the run is over without them. They no longer matter, and a process
in an uninterruptible wait for a device may take forever."""

TERMINAL_LINGER: Final = 0.1
"""Seconds for which other processes may end after a leader on a terminal, which the kernel takes away from them. They
cannot write any more, and each `exit` of a shell with a background job waits for them, so this is only long enough for
those that end because of the hang-up."""


class ProcessSnapshot(SnapshotRecord):
    """The state of an `Execution`: its process, its pipes, the progress of stopping it, and the descriptors of an
    `OwnProgram`."""

    handover: LeaderSnapshot
    in_cgroup: bool
    outputs: tuple[tuple[Descriptor, Output], ...]
    why: StopReason | None
    message: str | None
    kill_at: float | None
    times_out: float | None
    linger_until: float | None
    order_file: Descriptor | None = None
    records: Descriptor | None = None


class Execution:
    """Launches a plan's program on `streams`, enforces its bounds, and waits for its end.

    `start` is the time when the run began, on the monotonic clock. `on_started` is called once the program runs, before
    the attachments' watchers are notified; `on_record` with each record of a tunnel.
    """

    def __init__(
        self,
        plan: Plan,
        start: float,
        streams: ProgramStreams,
        spools: tuple[Spool, Spool],
        attachments: Attachments,
        cgroups: Cgroups | None,
        on_started: Callable[[int], None],
        on_record: Callable[[FlowRecord], None],
    ) -> None:
        self.process: Process | None = None
        self.left_tree: LeftTree | None = None
        """The processes that the run has left running, once it is over."""
        self._plan = plan
        self._start = start
        self._streams = streams
        self._spools = spools
        self._attachments = attachments
        self._cgroups = cgroups
        self._on_started = on_started
        self._ladder = StopLadder()
        self._timeouts = Timeouts(plan, spools, self.stop)
        self._linger_until: float | None = None
        self._exit_announced = False
        self._own = None if plan.transfer is None and plan.forward is None else OwnProgram(plan, on_record)
        self._output_ended = asyncio.Event()

    @property
    def acts_for(self) -> Mapping[str, str]:
        """Who the log says holds the loop, while something is done for the run (`loopwatch`)."""
        return {"run": self._plan.id, "user": self._plan.owner}

    @property
    def mark(self) -> int:
        """The mark of the run's processes, while it runs; 0 if there is none."""
        return 0 if self.process is None else self.process.mark

    @property
    def cgroup(self) -> Path | None:
        """The directory of the run's cgroup, while it runs in one."""
        return None if self.process is None else self.process.cgroup_path

    @property
    def start_ticks(self) -> int | None:
        """When the program was started, in clock ticks since boot, while it runs; None if that is not known."""
        return None if self.process is None else self.process.start_ticks

    def snapshot(self) -> ProcessSnapshot | None:
        """Return the state for `restore`; None if no program runs."""
        if self.process is None:
            return None
        return ProcessSnapshot(
            handover=self.process.snapshot(),
            in_cgroup=self.process.cgroup_path is not None,
            outputs=self._streams.outputs(),
            why=self._ladder.reason,
            message=self._ladder.message,
            kill_at=None if math.isinf(self._ladder.kill_at) else self._ladder.kill_at,
            times_out=self._timeouts.times_out,
            linger_until=self._linger_until,
            order_file=None if self._own is None else self._own.order_file,
            records=None if self._own is None else self._own.records,
        )

    def restore(self, snapshot: ProcessSnapshot) -> None:
        """Adopt the process of a snapshot. Call this only on a new object whose streams are restored, then call `run`.

        This must happen in the same turn of the event loop as `prepare_loop`. Raises ChildProcessError if the process
        is not a child of the service.
        """
        plan, cgroups = self._plan, self._cgroups
        process = self.process = Process.restore(
            snapshot.handover,
            run_id=plan.id,
            limits=plan.limits,
            cgroup=cgroups.open(plan.id, plan.limits) if snapshot.in_cgroup and cgroups is not None else None,
        )
        self._linger_until = snapshot.linger_until
        if self._own is not None:
            self._own.restore(snapshot.order_file, snapshot.records)
        self._watch_output()
        self._ladder.restore(
            snapshot.why, snapshot.message, snapshot.kill_at, ask=lambda: self._ask(process), kill=process.kill_tree
        )
        if snapshot.times_out is not None:
            self._timeouts.start_total(snapshot.times_out)
        if plan.record and any(spool.start for spool in self._spools):
            self.stop("spool", 0.0, "its recording is lost: somebody has deleted or truncated the file")

    def stop(self, reason: StopReason, kill_after: float | None = None, message: str | None = None) -> None:
        """Start stopping the run, with `kill_after` seconds of grace (default: the plan's). See `StopLadder`."""
        self._ladder.request(reason, self._plan.kill_after if kill_after is None else kill_after, message)
        self.free_if_unheld()

    def free_if_unheld(self) -> None:
        """If the run is being stopped and nobody holds it, let it write without waiting for readers."""
        if self._ladder.reason is not None and not self._attachments.held:
            for spool in self._spools:
                spool.free()

    def stream_ended(self) -> None:
        """Handle the end of a spool: if it was the last one, continue with the end of the run."""
        if all(spool.ended for spool in self._spools):
            self._output_ended.set()

    def forget_request(self) -> Plan:
        """Release the memory of the request, which an ended run does not need; return the rest of the plan."""
        self._plan = self._plan.without_request()
        return self._plan

    async def run(self) -> RunResult:
        """Launch the program, or continue with the restored program, and return its result.

        Call this once, in a task that is never cancelled.
        """
        process = self.process
        if process is None:
            try:
                process = await self._launch()
            except LaunchError as error:
                for spool in self._spools:
                    spool.finish()
                failed = SpawnFailed(errno=error.errno, error=error.name, what=error.what, message=str(error))
                return self._result(failed)
        try:
            if self.process is None:
                self._begin(process)
            return await self._until_over(process)
        finally:
            self._ladder.close()
            self._timeouts.close()
            if self.left_tree is None:
                process.close()
            self.process = None
            self._streams.close()
            self._close_own()

    async def _launch(self) -> Process:
        plan = self._plan
        cgroup = self._cgroups.create(plan.id, plan.limits) if self._cgroups is not None and plan.in_cgroup else None
        try:
            with contextlib.ExitStack() as theirs:
                stdin, stdout, stderr = self._streams.open(theirs)
                if self._own is not None:
                    return await self._own.start(stdin, stdout, stderr, cgroup)
                return await Process.start(
                    plan.argv,
                    cwd=plan.cwd,
                    env={**plan.env, RUN_ID_VARIABLE: plan.id.encode()},
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    run_id=plan.id,
                    limits=plan.limits,
                    credentials=plan.credentials,
                    cgroup=cgroup,
                    terminal=plan.terminal is not None,
                    argv0=plan.argv0,
                    home=plan.home,
                    judged=plan.judged,
                )
        except BaseException:
            self._streams.close()
            self._close_own()
            if cgroup is not None:
                cgroup.remove()
            raise

    def _close_own(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            own.close()

    def _begin(self, process: Process) -> None:
        self.process = process
        self._on_started(process.pid)
        for watcher in self._attachments.watchers():
            watcher.started()
        self._streams.begin()
        self._watch_output()
        if self._ladder.reason is None and self._plan.timeout is not None:
            self._timeouts.start_total(time.monotonic() + self._plan.timeout)
        self._ladder.connect(ask=lambda: self._ask(process), kill=process.kill_tree)

    async def _until_over(self, process: Process) -> RunResult:
        """Wait for the end of the run. At any await an upgrade may intervene; the new program then calls this method
        again."""
        code = await process.exited
        ladder = self._ladder
        ladder.reason = ladder.reason or process.limit_hit()
        outcome = outcome_of(self._plan, ladder.reason, ladder.message, code)
        if ladder.reason is not None:
            await ladder.grace_over(process)
        await process.examined()
        lingered = not await self._linger(process, outcome)
        if ladder.reason in ("output", "spool") and not self._exit_announced:
            # Output that was still in the pipes counts, too: if it is too much, or if it could not be kept.
            outcome = outcome_of(self._plan, ladder.reason, ladder.message, code)
        left = await self._end_rest(process, outcome)
        return self._result(outcome, process, lingered=lingered, left=left)

    async def _linger(self, process: Process, outcome: Outcome) -> bool:
        """Wait for the end of the output and of the other processes, but no longer than the linger time.

        Return whether the output has ended. Processes that may be left behind, or have been told to end, are not waited
        for; on a terminal they are, because those that its hang-up is about to end do not live on.
        """
        until_output = self._streams.leader_ended() and not self._output_ended.is_set()
        if until_output:
            self._streams.poll()
            until_output = not self._output_ended.is_set()
        until_end = (
            self._ladder.reason is None
            and isinstance(outcome, Exited)
            and (not self._plan.leave_processes or self._plan.terminal is not None)
            and bool(process.others())
        )
        if until_output or until_end:
            notice = asyncio.get_running_loop().call_later(EXIT_NOTICE_DELAY, self._announce_exit, outcome)
            linger = self._plan.linger if self._plan.terminal is None else min(TERMINAL_LINGER, self._plan.linger)
            self._linger_until = self._linger_until or time.monotonic() + linger
            try:
                async with asyncio.timeout_at(self._linger_until):
                    if until_output:
                        await self._output_ended.wait()
                    if until_end:
                        await process.tree_ended()
            except (TimeoutError, OSError):  # nothing is left to wait with: the outcome is known all the same
                pass
            finally:
                notice.cancel()
        return self._streams.drain()

    async def _end_rest(self, process: Process, outcome: Outcome) -> LeftProcesses | None:
        """End the remaining processes, or leave them running if the plan says so.

        Return a description of them if the program has ended on its own, None if the run was stopped. Those that the
        hang-up of the terminal has ended are described with those that were killed, but not if others live on.
        """
        if process.over and not process.hung_up:
            return None
        alone = self._ladder.reason is None and (isinstance(outcome, Exited) or self._plan.leave_processes)
        members = process.others() if alone else []
        left = describe(members)
        if left is not None and self._plan.leave_processes:
            self.left_tree = process.release()
            return left
        untouchable = await self._kill_rest(process)
        return stopped(left, members, process.killed, untouchable, process.hung_up) if alone else None

    async def _kill_rest(self, process: Process) -> frozenset[int]:
        """Kill the remaining processes of the run, and wait for their end, but no longer than `REAP_TIMEOUT`.

        Return the pids of those that could not be signalled.
        """
        untouchable = process.kill_tree()
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(REAP_TIMEOUT):
                await process.tree_ended()
        return untouchable

    def _result(
        self,
        outcome: Outcome,
        process: Process | None = None,
        *,
        lingered: bool = False,
        left: LeftProcesses | None = None,
    ) -> RunResult:
        stdout, stderr = (spool.end for spool in self._spools)
        duration = time.monotonic() - self._start
        if process is None:
            return RunResult(outcome, stdout, stderr, duration)
        enforced: dict[str, EnforcedBy | None] = {}
        for name, by in process.applied.items():
            enforced[name] = by
        if enforced.get("processes") == "rlimit" and not rlimit_of_processes_binds(self._plan.uid):
            enforced["processes"] = None
        if self._plan.output is not None:
            enforced["output"] = "service"
        own = OwnReport() if self._own is None else self._own.report()
        usage = process.usage()
        return RunResult(outcome, stdout, stderr, duration, lingered, usage, enforced, left, own.transfer, own.forward)

    def _watch_output(self) -> None:
        self._timeouts.start_idle()
        for spool in self._spools:
            spool.on_failure = lambda sentence: self.stop("spool", 0.0, sentence)
            if self._plan.output is not None:
                spool.listeners.append(self._check_output)

    def _check_output(self) -> None:
        assert self._plan.output is not None
        if sum(spool.end for spool in self._spools) > self._plan.output:
            # No grace period: the program could go on writing at full speed.
            self.stop("output", 0.0, f"it wrote more than {self._plan.output} bytes")

    def _announce_exit(self, outcome: Outcome) -> None:
        self._exit_announced = True
        for watcher in self._attachments.watchers():
            watcher.exited(outcome)

    def _ask(self, process: Process) -> None:
        self._streams.begin_stop(process, disconnected=self._ladder.reason == "disconnected")
