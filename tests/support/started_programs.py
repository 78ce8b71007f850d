"""Programs started by the test's process in the way the service starts runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from farhand_server.runs.process.cgroup import RunCgroup
from farhand_server.runs.process.process import Process, prepare_loop
from farhand_server.runs.process.usage import ResourceLimits
from farhand_server.worker.workers import current
from tests.support.processes import TIMEOUT, children, descriptors, end_of, reaped


class StartedProgram:
    """A started program and its stdout."""

    def __init__(self, process: Process, stdout: asyncio.StreamReader) -> None:
        self.process = process
        self._stdout = stdout

    async def line(self) -> str:
        """Read the next line of stdout."""
        async with asyncio.timeout(TIMEOUT):
            return (await self._stdout.readline()).decode().strip()

    async def pid(self) -> int:
        """Read the next line of stdout, which is a pid."""
        return int(await self.line())

    async def code(self) -> int:
        """Wait for the leader's exit; return its exit code or minus the signal."""
        async with asyncio.timeout(TIMEOUT):
            return await asyncio.shield(self.process.exited)

    async def killed(self) -> frozenset[int]:
        """Kill the tree and wait for its end; return the pids that could not be killed."""
        left = self.process.kill_tree()
        async with asyncio.timeout(TIMEOUT):
            await self.process.tree_ended()
        return left


@asynccontextmanager
async def started(
    *argv: str,
    run_id: str | None = None,
    env: Mapping[str, str] | None = None,
    limits: ResourceLimits | None = None,
    cgroup: RunCgroup | None = None,
) -> AsyncIterator[StartedProgram]:
    """Start a program; kill its tree at the end."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    stdout = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stdout), os.fdopen(reading, "rb", buffering=0)
    )
    try:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        variables = {"PATH": os.environ["PATH"], **({"FARHAND_RUN_ID": run_id} if run_id else {}), **(env or {})}
        try:
            process = await Process.start(
                [os.fsencode(argument) for argument in argv],
                cwd=b"/",
                env={os.fsencode(name): os.fsencode(value) for name, value in variables.items()},
                stdin=null,
                stdout=writing,
                stderr=2,
                run_id=run_id,
                limits=limits or ResourceLimits(),
                cgroup=cgroup,
            )
        finally:
            os.close(null)
            os.close(writing)
        program = StartedProgram(process, stdout)
        try:
            yield program
        finally:
            await program.killed()
            process.close()
    finally:
        transport.close()


@asynccontextmanager
async def nothing_left(*, sole_parent: bool = False) -> AsyncIterator[None]:
    """Prepare the loop for processes; at the end check that no child, zombie or descriptor is left."""
    prepare_loop(sole_parent=sole_parent)
    others = children(os.getpid())
    open_before = descriptors(os.getpid())
    yield
    await current().close()
    await reaped(others)
    assert descriptors(os.getpid()) <= open_before


async def wait_until_reaped(pid: int) -> None:
    """Wait until a child of this process has exited and been reaped."""
    await end_of(pid)
    async with asyncio.timeout(TIMEOUT):
        while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110  # it waits for iterations of the loop
            await asyncio.sleep(0)
