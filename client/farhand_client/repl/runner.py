"""One run for one line, without a terminal: its output as it comes, and what Ctrl-C does to it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, Protocol, TypeVar

from farhand_client.options import Args, RunOptions
from farhand_client.output import OutputStream
from farhand_client.results import Result
from farhand_client.run import Run
from farhand_client.ui.interrupts import LEAVE_TIMEOUT
from farhand_client.ui.printing import PrintMessage
from farhand_protocol.limits import MiB

from .host_connection import HostConnection
from .output import Output

CAPTURED: Final = 8 * MiB
"""Bytes of a command's report and output that are kept: two environments, which Linux bounds to 2 MiB (execve(2)),
and as much again."""


INTERRUPT: Final = 1
KILL: Final = 2

T = TypeVar("T")


class Interrupted(Exception):
    """Ctrl-C came before the command began, or so often that its end was not waited for."""


class Interruptible(Protocol):
    """Where Ctrl-C comes from."""

    def interrupts_to(self, target: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        """Give Ctrl-C to `target` in the block."""


class Everyone:
    """Ctrl-C for all that goes on at once; itself the target of one."""

    def __init__(self) -> None:
        self._targets: list[Callable[[], None]] = []

    @contextlib.contextmanager
    def interrupts_to(self, target: Callable[[], None]) -> Iterator[None]:
        """Interruptible."""
        self._targets.append(target)
        try:
            yield
        finally:
            self._targets.remove(target)

    def __call__(self) -> None:
        """Ctrl-C was pressed."""
        for target in [*self._targets]:
            target()


class Ladder:
    """What each Ctrl-C does to a run: the first interrupts it, the second kills it, the third leaves it to the service.

    Before there is a `run`, the first one cancels the `task` that asks for it.
    """

    def __init__(self, say: PrintMessage) -> None:
        self.step = 0
        self.task: asyncio.Task[Any] | None = None
        self.run: Run | None = None
        self._say = say

    def climb(self) -> None:
        """Ctrl-C was pressed."""
        self.step += 1
        if self.run is None:
            if self.task is not None:
                self.task.cancel()
                # The service is told to stop what may have begun; where it says nothing to that, nobody waits.
                asyncio.get_running_loop().call_later(LEAVE_TIMEOUT, self.task.cancel)
        elif self.step == INTERRUPT:
            self.run.send_signal(signal.SIGINT)
        elif self.step == KILL:
            self.run.kill()
            self.run.stdout.discard()
            if self.run.stderr is not None:
                self.run.stderr.discard()
        else:
            self._say(f"abandoned run {self.run.id}; the service stops it")
            self.run.abandon()


async def laddered(interrupts: Interruptible, ladder: Ladder, job: Coroutine[Any, Any, T]) -> T:
    """Return what `job` does, while Ctrl-C climbs the ladder. Raises `Interrupted`, and what it raises."""
    with interrupts.interrupts_to(ladder.climb):
        task: asyncio.Task[T] = asyncio.ensure_future(job)
        ladder.task = task
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
    if task.cancelled():
        raise Interrupted
    if ladder.step > KILL and task.exception() is not None:
        raise Interrupted from task.exception()
    return task.result()


class Runner:
    """Runs commands one after another."""

    def __init__(self, link: HostConnection, output: Output, interrupts: Interruptible) -> None:
        self._link = link
        self._output = output
        self._interrupts = interrupts
        self.interrupted = False
        """Whether Ctrl-C came during the last run."""

    async def run(self, args: Args, options: RunOptions, *, capture: bool = False) -> tuple[Result, bytes]:
        """Run a command to its end. With `capture` its stdout is returned instead of shown.

        Ctrl-C does what `Ladder` says. Raises `Interrupted`, OSError if the output cannot
        be written, and what `HostConnection.start` and `Run.wait` raise.
        """
        ladder = Ladder(self._output.say)
        try:
            with self._link.spoken_of():
                return await laddered(self._interrupts, ladder, self._run(ladder, args, options, capture))
        finally:
            self.interrupted = ladder.step > 0

    async def asked(self, job: Coroutine[Any, Any, T]) -> T:
        """Return what `job`, which asks the service for something, comes to; Ctrl-C gives it up.

        Raises `Interrupted`, and what `job` raises.
        """
        ladder = Ladder(self._output.say)
        try:
            with self._link.spoken_of():
                return await laddered(self._interrupts, ladder, job)
        finally:
            self.interrupted = ladder.step > 0

    async def _run(self, ladder: Ladder, args: Args, options: RunOptions, capture: bool) -> tuple[Result, bytes]:
        async with await self._link.start(args, options) as run:
            ladder.run = run
            captured = bytearray()
            stdout = _capture(run.stdout, captured) if capture else self._output.deliver(run.stdout, 1)
            await self.delivered(run, stdout)
            return await run.wait(), bytes(captured)

    async def delivered(self, run: Run, stdout: Coroutine[Any, Any, None]) -> None:
        """Return once all output of `run` is written, of which `stdout` takes one stream."""
        jobs = [stdout] if run.stderr is None else [stdout, self._output.deliver(run.stderr, 2)]
        tasks = [asyncio.ensure_future(job) for job in jobs]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            raise


async def _capture(stream: OutputStream, into: bytearray) -> None:
    async for chunk in stream:
        if len(into) + len(chunk) <= CAPTURED:
            into += chunk
