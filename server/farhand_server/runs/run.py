"""One run, from its request to its outcome. It belongs to the service: nobody has to watch it for it to end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, SpawnFailed, TimedOut

from .pipes import PipeReader, PipeWriter
from .process import Process, SpawnError
from .spool import Spool

Reason = Literal["requested", "disconnected", "draining"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run, with everything decided. Times in seconds, `spool` in bytes for each stream."""

    id: str
    owner: str
    argv: tuple[bytes, ...]
    cwd: bytes
    env: Mapping[bytes, bytes]
    stdin: bool
    merge_stderr: bool
    timeout: float | None
    kill_after: float
    linger: float
    spool: int


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of a run that is over. `duration` in seconds; `stdout` and `stderr` in bytes written."""

    outcome: Outcome
    stdout: int
    stderr: int
    duration: float
    lingered: bool


class Watcher(Protocol):
    """Who is told how a run goes."""

    def started(self, pid: int) -> None:
        """The program runs."""

    def stdin_taken(self, count: int) -> None:
        """The program's stdin has taken `count` bytes."""

    def ended(self, result: Result) -> None:
        """The run is over; its spools have ended before."""

    def failed(self) -> None:
        """The service has failed the run by a fault of its own; its processes are gone."""


class Run:
    """A run under way. `stdout` and `stderr` are its spools."""

    def __init__(self, plan: Plan, watcher: Watcher) -> None:
        self.plan = plan
        self.stdout = Spool(plan.spool)
        self.stderr = Spool(plan.spool)
        self._watcher: Watcher | None = watcher
        self._process: Process | None = None
        self._stdin = PipeWriter(self._stdin_taken)
        self._outputs: list[tuple[int, Spool]] = []
        self._readers: list[PipeReader] = []
        self._why: Reason | Literal["timed_out"] | None = None
        self._kill_at = math.inf
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._output_ended = asyncio.Event()

    async def execute(self) -> Result:
        """Run the command to its end. Called once, by the registry, in a task that nobody cancels."""
        try:
            result = await self._execute()
        except Exception:
            if self._watcher is not None:
                self._watcher.failed()
            raise
        if self._watcher is not None:
            self._watcher.ended(result)
        return result

    def write_stdin(self, data: bytes) -> None:
        """Give the program input: what comes before its start waits, what comes after its end is dropped."""
        self._stdin.write(data)

    def end_stdin(self) -> None:
        """Close the program's stdin behind what was written."""
        self._stdin.end()

    def signal(self, number: int) -> bool:
        """Send a signal to the process group; False where it was not delivered to anyone."""
        return self._process is not None and self._process.signal(number)

    def stop(self, reason: Reason | Literal["timed_out"], kill_after: float | None = None) -> None:
        """Begin TERM, `kill_after` seconds of grace (the plan's unless given), KILL.

        Of several stops the first reason counts, and the earliest KILL: a later one can only shorten the grace.
        """
        kill_at = time.monotonic() + (self.plan.kill_after if kill_after is None else kill_after)
        sooner = kill_at < self._kill_at
        self._kill_at = min(kill_at, self._kill_at)
        first = self._why is None
        self._why = self._why or reason
        if self._process is None:
            return
        if first:
            self._begin_stop(self._process)
        elif sooner:
            self._kill_in_time(self._process)

    def unwatch(self) -> None:
        """Tell nobody any more."""
        self._watcher = None
        self.discard_output()

    def discard_output(self) -> None:
        """Throw the output away, had and to come, so that the program does not wait for a reader."""
        self.stdout.discard()
        self.stderr.discard()

    async def _execute(self) -> Result:
        began = time.monotonic()
        lingered = False
        outcome: Outcome
        try:
            process = await self._start()
        except SpawnError as error:
            self.stdout.finish()
            self.stderr.finish()
            outcome = SpawnFailed(errno=error.errno, error=error.name, what=error.what, message=str(error))
        else:
            outcome, lingered = await self._supervise(process)
        return Result(outcome, self.stdout.end, self.stderr.end, time.monotonic() - began, lingered)

    async def _start(self) -> Process:
        plan = self.plan
        theirs: list[int] = []
        try:
            self._make_pipes(theirs)
            return await Process.start(
                plan.argv, cwd=plan.cwd, env=plan.env, stdin=theirs[0], stdout=theirs[1], stderr=theirs[-1]
            )
        except BaseException:
            self._close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)

    def _make_pipes(self, theirs: list[int]) -> None:
        try:
            if self.plan.stdin:
                reading, writing = os.pipe2(os.O_CLOEXEC)
                theirs.append(reading)
                self._stdin.connect(writing)
            else:
                theirs.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            for spool in (self.stdout,) if self.plan.merge_stderr else (self.stdout, self.stderr):
                reading, writing = os.pipe2(os.O_CLOEXEC)
                theirs.append(writing)
                self._outputs.append((reading, spool))
        except OSError as error:
            number = error.errno or errno.EIO
            raise SpawnError(number, "process", f"cannot make pipes: {os.strerror(number)}") from None
        if self.plan.merge_stderr:
            self.stderr.finish()

    async def _supervise(self, process: Process) -> tuple[Outcome, bool]:
        self._process = process
        try:
            if self._watcher is not None:
                self._watcher.started(process.pid)
            # Read only now: nothing that the program did may be told before its start is.
            while self._outputs:
                self._readers.append(PipeReader(*self._outputs.pop(0), self._one_ended))
            if self._why is not None:
                self._begin_stop(process)
            elif self.plan.timeout is not None:
                self._at("timeout", time.monotonic() + self.plan.timeout, self.stop, "timed_out")
            outcome = self._outcome(await process.exited)
            if self._why is not None:
                await self._rest_of_grace(process)
            return outcome, not await self._last_output(process)
        finally:
            for timer in self._timers.values():
                timer.cancel()
            process.signal(signal.SIGKILL)
            process.close()
            self._process = None
            self._close()

    async def _rest_of_grace(self, process: Process) -> None:
        """Leave the group the grace of a stop, where its leader has ended sooner."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._kill_at - time.monotonic())):
                await process.group_ended()

    async def _last_output(self, process: Process) -> bool:
        """Wait for the end of the output, at most for the linger time; True if it came."""
        if not self._output_ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.plan.linger):
                    await self._output_ended.wait()
        # A reader held up by a slow client may only seem not to have come to its end.
        drained = [reader.drain() for reader in self._readers]
        if not all(drained):
            process.signal(signal.SIGKILL)
        return all(drained)

    def _begin_stop(self, process: Process) -> None:
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGCONT)  # a stopped process would take the TERM only once it goes on
        self._kill_in_time(process)

    def _kill_in_time(self, process: Process) -> None:
        self._at("kill", self._kill_at, process.signal, signal.SIGKILL)

    def _at(self, name: str, when: float, callback: Callable[..., object], *args: object) -> None:
        """Call back at `when` on the monotonic clock; a timer of the same name before it is dropped."""
        if name in self._timers:
            self._timers[name].cancel()
        delay = max(0.0, when - time.monotonic())
        self._timers[name] = asyncio.get_running_loop().call_later(delay, callback, *args)

    def _outcome(self, code: int) -> Outcome:
        exit_code, number = (code, None) if code >= 0 else (None, -code)
        if self._why == "timed_out":
            assert self.plan.timeout is not None
            return TimedOut(timeout=self.plan.timeout, code=exit_code, signal=number)
        if self._why is not None:
            return Killed(reason=self._why, code=exit_code, signal=number)
        return Exited(code=code) if number is None else Signaled(signal=number)

    def _one_ended(self) -> None:
        if self.stdout.ended and self.stderr.ended:
            self._output_ended.set()

    def _stdin_taken(self, count: int) -> None:
        if self._watcher is not None:
            self._watcher.stdin_taken(count)

    def _close(self) -> None:
        self._stdin.close()
        while self._outputs:
            os.close(self._outputs.pop()[0])
        for reader in self._readers:
            reader.close()
