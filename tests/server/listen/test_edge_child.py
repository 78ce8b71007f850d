"""The edge beside a core is restarted however it exits, and however often that fails."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from farhand_server.listen.edge_child import EdgeChild
from farhand_server.logs import Logger, Sink
from farhand_server.runs.process.process import prepare_loop
from tests.support.client import PATIENCE

EDGE = "import os, signal; print('ready', flush=True); os.write({log}, b'edge %d\\n' % os.getpid()); signal.pause()"


@pytest.fixture
async def log() -> AsyncIterator[tuple[int, asyncio.StreamReader]]:
    """A pipe for the log, to which the edge writes its pid as well."""
    reading, writing = os.pipe()
    lines = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(reading, "rb")
    )
    yield writing, lines
    os.close(writing)
    await lines.read()
    transport.close()


async def line(lines: asyncio.StreamReader, text: str) -> str:
    """Return the next line with the text."""
    async with asyncio.timeout(PATIENCE):
        while text not in (found := (await lines.readline()).decode()):
            assert found
    return found


async def test_an_edge_that_cannot_be_started_is_retried(
    log: tuple[int, asyncio.StreamReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, lines = log
    prepare_loop()
    inherited = os.dup(writing)
    os.set_inheritable(inherited, True)
    create = asyncio.create_subprocess_exec

    async def with_log(*command: str, pass_fds: list[int], **options: Any) -> asyncio.subprocess.Process:
        return await create(*command, pass_fds=[*pass_fds, inherited], **options)

    monkeypatch.setattr("asyncio.create_subprocess_exec", with_log)
    child = EdgeChild(["-c", EDGE.format(log=inherited)], [], Logger(Sink(writing), {}))
    await child.start()
    try:
        first = int((await line(lines, "edge ")).split()[1])
        with monkeypatch.context() as broken:
            broken.setattr("farhand_server.listen.edge_child.sys.executable", "/nonexistent/python")
            os.kill(first, signal.SIGKILL)
            await line(lines, "edge exited")
            await line(lines, "edge not started")
        second = await line(lines, "edge ")
        while not second.startswith("edge "):
            second = await line(lines, "edge ")
        assert int(second.split()[1]) != first
    finally:
        await child.stop()
        os.close(inherited)
