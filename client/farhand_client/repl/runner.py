"""One run for one line: its output as it comes, and what Ctrl-C does to it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final

from farhand_client.cli.interrupts import Interrupts
from farhand_client.completed import Result
from farhand_client.output import OutputStream
from farhand_client.request import Args
from farhand_client.run import Run
from farhand_protocol.limits import MiB

from .link import Link
from .output import Output, say

CAPTURED: Final = 8 * MiB
"""Bytes of a command's report and output that are kept: two environments, which Linux bounds to 2 MiB (execve(2)),
and as much again."""


INTERRUPT: Final = 1
KILL: Final = 2


class Interrupted(Exception):
    """Ctrl-C came before the command began, or so often that its end was not waited for."""


class Runner:
    """Runs commands one after another."""

    def __init__(self, link: Link, output: Output, interrupts: Interrupts) -> None:
        self._link = link
        self._output = output
        self._interrupts = interrupts
        self.interrupted = False
        """Whether Ctrl-C came during the last run."""

    async def run(self, args: Args, *, capture: bool = False, **options: Any) -> tuple[Result, bytes]:
        """Run a command to its end. With `capture` its stdout is returned instead of shown.

        The first Ctrl-C sends SIGINT to the run, the second kills it, the third leaves it to the service; before the
        run has begun, the first takes back the request. Raises `Interrupted`, what `Link.start` and `Run.wait` raise,
        and OSError where the output cannot be written.
        """
        ladder = _Ladder()
        with self._interrupts.to(ladder.climb):
            task = asyncio.ensure_future(self._run(ladder, args, capture, options))
            ladder.task = task
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                task.cancel()
                await asyncio.wait([task])
                raise
            finally:
                self.interrupted = ladder.step > 0
        if task.cancelled() or ladder.step > KILL:
            raise Interrupted
        return task.result()

    async def _run(self, ladder: _Ladder, args: Args, capture: bool, options: dict[str, Any]) -> tuple[Result, bytes]:
        async with await self._link.start(args, **options) as run:
            ladder.run = run
            assert run.stderr is not None
            captured = bytearray()
            stdout = _capture(run.stdout, captured) if capture else self._output.deliver(run.stdout, 1)
            await _both(stdout, self._output.deliver(run.stderr, 2))
            return await run.wait(), bytes(captured)


class _Ladder:
    def __init__(self) -> None:
        self.step = 0
        self.task: asyncio.Task[Any] | None = None
        self.run: Run | None = None

    def climb(self) -> None:
        self.step += 1
        if self.run is None:
            if self.task is not None:
                self.task.cancel()
        elif self.step == INTERRUPT:
            self.run.send_signal(signal.SIGINT)
        elif self.step == KILL:
            self.run.kill()
            self.run.stdout.discard()
            if self.run.stderr is not None:
                self.run.stderr.discard()
        else:
            say(f"abandoned run {self.run.id}; the service stops it")
            self.run.abandon()


async def _capture(stream: OutputStream, into: bytearray) -> None:
    async for chunk in stream:
        if len(into) + len(chunk) <= CAPTURED:
            into += chunk


async def _both(*jobs: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
