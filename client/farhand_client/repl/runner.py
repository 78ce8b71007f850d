"""Runs one command without a terminal, writes its output as it arrives, and decides what Ctrl-C does to it."""

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

MAX_CAPTURED: Final = 8 * MiB
"""Bytes kept of a captured stdout: the report of a command contains two environments, which Linux limits to 2 MiB each
(execve(2)); as much again is left for the command's own output."""

T = TypeVar("T")


class Interrupted(Exception):
    """Ctrl-C came before the command began, or so often that its end was not awaited."""


class InterruptSource(Protocol):
    """Delivers Ctrl-C."""

    def interrupts_to(self, target: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        """Call `target` on Ctrl-C inside the block."""


class InterruptGroup:
    """Delivers Ctrl-C to everything that runs at once. Implements `InterruptSource`; call it to deliver a Ctrl-C."""

    def __init__(self) -> None:
        self._targets: list[Callable[[], None]] = []

    @contextlib.contextmanager
    def interrupts_to(self, target: Callable[[], None]) -> Iterator[None]:
        """Implements `InterruptSource`."""
        self._targets.append(target)
        try:
            yield
        finally:
            self._targets.remove(target)

    def __call__(self) -> None:
        """Deliver a Ctrl-C to all targets."""
        for target in [*self._targets]:
            target()


class InterruptLadder:
    """What each Ctrl-C does to a run: the first interrupts it, the second kills it, the third leaves it to the service.

    Until `run` is set, the first one cancels `task`, which requests it.
    """

    def __init__(self, print_message: PrintMessage) -> None:
        self.presses = 0
        self.task: asyncio.Task[Any] | None = None
        self.run: Run | None = None
        self._print_message = print_message

    @property
    def abandoned(self) -> bool:
        """Whether Ctrl-C came so often that the run was left to the service."""
        return self.presses > 2

    def interrupt(self) -> None:
        """Handle one Ctrl-C."""
        self.presses += 1
        if self.run is None:
            if self.task is not None:
                self.task.cancel()
                # The cancelled task asks the service to stop what may have begun. Do not wait long for the answer.
                asyncio.get_running_loop().call_later(LEAVE_TIMEOUT, self.task.cancel)
        elif self.presses == 1:
            self.run.send_signal(signal.SIGINT)
        elif self.presses == 2:
            self.run.kill()
            self.run.stdout.discard()
            if self.run.stderr is not None:
                self.run.stderr.discard()
        else:
            self._print_message(f"abandoned run {self.run.id}; the service stops it")
            self.run.abandon()


async def run_interruptibly(interrupts: InterruptSource, ladder: InterruptLadder, job: Coroutine[Any, Any, T]) -> T:
    """Return the result of `job`, while Ctrl-C goes to `ladder`. Raises `Interrupted`, and what `job` raises."""
    with interrupts.interrupts_to(ladder.interrupt):
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
    if ladder.abandoned and task.exception() is not None:
        raise Interrupted from task.exception()
    return task.result()


class PipeRunner:
    """Runs commands of one host without a terminal, one after another, and writes what they print to `output`."""

    def __init__(self, connection: HostConnection, output: Output, interrupts: InterruptSource) -> None:
        self._connection = connection
        self._output = output
        self._interrupts = interrupts
        self.interrupted = False
        """Whether Ctrl-C came during the last run or request."""

    async def run(self, args: Args, options: RunOptions, *, capture: bool = False) -> tuple[Result, bytes]:
        """Run a command to its end. With `capture` its stdout is returned instead of shown.

        `InterruptLadder` says what Ctrl-C does. Raises `Interrupted`, OSError if the output cannot be written, and what
        `HostConnection.start` and `Run.wait` raise.
        """
        ladder = InterruptLadder(self._output.print_message)
        return await self._interruptibly(ladder, self._run(ladder, args, options, capture))

    async def request(self, request: Coroutine[Any, Any, T]) -> T:
        """Return the result of a request to the service; Ctrl-C cancels it.

        Raises `Interrupted`, and what `request` raises.
        """
        return await self._interruptibly(InterruptLadder(self._output.print_message), request)

    async def _interruptibly(self, ladder: InterruptLadder, job: Coroutine[Any, Any, T]) -> T:
        try:
            with self._connection.reporting_outages():
                return await run_interruptibly(self._interrupts, ladder, job)
        finally:
            self.interrupted = ladder.presses > 0

    async def _run(
        self, ladder: InterruptLadder, args: Args, options: RunOptions, capture: bool
    ) -> tuple[Result, bytes]:
        async with await self._connection.start(args, options) as run:
            ladder.run = run
            captured = bytearray()
            stdout = _capture(run.stdout, captured) if capture else self._output.deliver(run.stdout, 1)
            await self.deliver(run, stdout)
            return await run.wait(), bytes(captured)

    async def deliver(self, run: Run, stdout: Coroutine[Any, Any, None]) -> None:
        """Return when all output of `run` is written; `stdout` is the coroutine that reads its stdout."""
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
        if len(into) + len(chunk) <= MAX_CAPTURED:
            into += chunk
