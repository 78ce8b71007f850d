"""How runs of a fake service behave, and `Client.run` of one."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from farhand_client import Completed, Exited, Killed
from farhand_protocol import messages as m
from farhand_protocol.outcome import Outcome
from tests.support.fake_service import Behaviour, FakeConnection, FakeRun, FakeService, accept_client, client_of

STOPPED = Killed(reason="requested", signal=signal.SIGTERM)
ID = "01890a5d-ac96-774b-bcce-b302099a8057"
OTHER = "01890a5d-ac97-774b-bcce-b302099a8057"


def printing(out: bytes = b"", err: bytes = b"", outcome: Outcome | None = None) -> Behaviour:
    """Return the behaviour of a program that prints and ends, with code 0 unless `outcome` says otherwise."""

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", out)
        await run.write("stderr", err)
        run.ended(outcome)

    return behave


async def print_in_chunks(run: FakeRun) -> None:
    """Print lines in arbitrary chunks, one of them empty and the last without a newline; end with code 2."""
    run.started()
    await run.write("stdout", b"one\ntw")
    await run.write("stderr", b"err")
    await run.write("stdout", b"o\n\nlast")
    run.ended(Exited(code=2))


async def echo(run: FakeRun) -> None:
    """Behave as cat(1)."""
    run.started()
    if run.request.stdin:
        await run.until(m.End)
    await run.write("stdout", run.stdin)
    run.ended()


async def ten_and_three(run: FakeRun) -> None:
    """Write ten bytes to stdout, one of which is not UTF-8, and three to stderr; end with code 3."""
    run.started()
    await run.write_rest("stdout", b"0123456\xff89")
    await run.write_rest("stderr", b"err")
    run.ended(Exited(code=3), stdout=10, stderr=3)


async def so_far(run: FakeRun) -> None:
    """Answer an attachment that does not follow; the run continues."""
    run.started()
    await run.write_rest("stdout", b"so far")
    for stream in run.streams:
        run.send(m.End(stream=stream))
    run.send(m.Done())


async def ready_until_stopped(run: FakeRun) -> None:
    """Print a line, then run until the client stops it."""
    run.started()
    await run.write("stdout", b"ready\n")
    await run.until(m.Stop)
    run.ended(STOPPED)


async def stoppable(run: FakeRun) -> None:
    """Run until the client stops it."""
    run.started()
    await run.until(m.Stop)
    run.ended(STOPPED)


async def run(directory: Path, behave: Behaviour, *args: Any, **options: Any) -> Completed[Any]:
    """Return what `Client.run` does, called with `args` and `options` on a service of its own."""
    async with client_of(directory, behave) as (client, _):
        completed: Completed[Any] = await client.run(*args or (["true"],), **options)
        return completed


class Cat:
    """Behave as cat(1) in one run that continues at the same offsets, whatever happens to its attachments.

    `starts` counts how often a start was asked for, `received` is the stdin received so far.
    """

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = False
        self.starts = 0
        self._feeds: tuple[FakeRun, int | None] | None = None

    async def __call__(self, run: FakeRun) -> None:
        if run.attach is None:
            self.starts += 1
        run.started(new=run.attach is None and self.starts == 1)
        self._merge()
        position = 0 if run.attach is None else run.attach.stdin
        assert position is None or position <= len(self.received), "stdin has a gap"
        self._feeds = run, position
        while not run.client.closed.is_set():
            run.changed.clear()
            self._merge()
            self.ended = self.ended or any(isinstance(message, m.End) for message in run.messages)
            await run.write_rest("stdout", bytes(self.received))
            if self.ended:
                run.ended()
                return
            await run.changed.wait()

    def _merge(self) -> None:
        run, position = self._feeds or (None, None)
        if run is not None and position is not None:
            self.received += run.stdin[len(self.received) - position :]


class Gate:
    """Delays clients that log in again until it is opened, so that a test controls the length of an outage."""

    def __init__(self, service: FakeService) -> None:
        self._service = service
        self._held: list[tuple[FakeConnection, m.AnyMessage]] = []
        self._arrived = asyncio.Event()

    async def shut(self) -> None:
        """Cut every connection; wait until the client has reconnected and waits at the gate."""
        self._service.greet = self._hold
        self._arrived.clear()
        for connection in self._service.connections:
            if connection.transport is not None:
                connection.cut()
        await self._arrived.wait()

    def open(self) -> None:
        """Admit all waiting clients."""
        self._service.greet = accept_client
        held, self._held = self._held, []
        for client, message in held:
            accept_client(client, message)

    def _hold(self, client: FakeConnection, message: m.AnyMessage) -> None:
        self._held.append((client, message))
        self._arrived.set()
