"""`farhand rsh` with forwards: as with ssh, its end waits for the connections through them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_client import Exited
from farhand_protocol import messages as m
from farhand_protocol.features import FORWARDS
from tests.support.command import FARHAND, running
from tests.support.fake_forward_worker import FakeWorkers, target
from tests.support.fake_service import FakeRun, FakeService
from tests.support.fake_terminals import echo
from tests.support.ptys import Pty

TIMEOUT = 30


class Forwarding:
    """A command with a forward, and a connection through it that was in use when the command ended."""

    def __init__(self, service: FakeService) -> None:
        self.workers = FakeWorkers()
        self.may_end = asyncio.Event()
        self.over = asyncio.Event()
        service.behave = self.behave
        service.features = (FORWARDS, "left-processes")

    async def behave(self, run: FakeRun) -> None:
        """Be the worker, or the command, which ends with 7."""
        if run.request.forward is not None:
            await self.workers.behave(run)
            return
        run.started()
        await run.write("stdout", b"ready\n")
        await self.may_end.wait()
        run.ended(Exited(code=7))
        await run.until(m.Close)
        self.over.set()

    @contextlib.asynccontextmanager
    async def connected(
        self, service: FakeService, directory: Path, command: str
    ) -> AsyncIterator[tuple[Process, asyncio.StreamReader, asyncio.StreamWriter]]:
        """The process whose command has ended, and the connection."""
        env = {**os.environ, "FARHAND_SSH_CONFIG": "none"}
        async with target() as port, asyncio.timeout(TIMEOUT):
            words = [command, "-L", f"{directory}/x:127.0.0.1:{port}", service.host, "true"]
            async with running(*words, env=env) as process:
                assert process.stdout is not None
                assert await process.stdout.readline() == b"ready\n"
                reader, writer = await asyncio.open_unix_connection(directory / "x")
                writer.write(b"x")
                assert await reader.read(1) == b"x"
                self.may_end.set()
                await self.over.wait()
                yield process, reader, writer
                writer.close()


async def test_the_end_waits_for_connections(service: FakeService, tmp_path: Path) -> None:
    async with Forwarding(service).connected(service, tmp_path, "rsh") as (process, reader, writer):
        for _ in range(10):
            writer.write(b"y")
            assert await reader.read(1) == b"y"
        writer.write_eof()
        assert await reader.read() == b" end"
        assert await process.wait() == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_waiting(service: FakeService, tmp_path: Path, number: signal.Signals) -> None:
    async with Forwarding(service).connected(service, tmp_path, "rsh") as (process, reader, writer):
        writer.write(b"y")
        assert await reader.read(1) == b"y"
        process.send_signal(number)
        assert await process.wait() == 255
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""


async def test_forwards_of_run_end_with_the_command(service: FakeService, tmp_path: Path) -> None:
    async with Forwarding(service).connected(service, tmp_path, "run") as (process, reader, _):
        assert await process.wait() == 7
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""


async def test_at_a_terminal_it_is_said_and_ctrl_c_ends_the_waiting(
    pty: Pty, service: FakeService, env: dict[str, str], tmp_path: Path
) -> None:
    workers = FakeWorkers()

    async def behave(run: FakeRun) -> None:
        await (echo(run) if run.request.forward is None else workers.behave(run))

    service.behave = behave
    service.features = (FORWARDS, "left-processes")
    async with target() as port, asyncio.timeout(TIMEOUT):
        words = [*FARHAND, "rsh", "-L", f"{tmp_path}/x:127.0.0.1:{port}", service.host]
        async with pty.running(*words, env={**env, "FARHAND_SSH_CONFIG": "none"}) as process:
            await pty.shows(b"ready ")
            reader, writer = await asyncio.open_unix_connection(tmp_path / "x")
            writer.write(b"x")
            assert await reader.read(1) == b"x"
            pty.type(b"q")
            await pty.shows(b"waiting until connections through the forwards have ended; Ctrl-C ends them")
            assert not pty.raw
            pty.type(b"\x03")
            assert await process.wait() == 255
            writer.close()


@pytest.mark.parametrize("words", [["-N"], []], ids=["-N", "command"])
async def test_the_ports_that_were_chosen_there_are_said_as_by_ssh(service: FakeService, words: list[str]) -> None:
    workers = FakeWorkers()

    async def behave(run: FakeRun) -> None:
        if run.request.forward is not None:
            await workers.behave(run)
        else:
            run.started()
            run.ended()

    service.behave = behave
    service.features = (FORWARDS, "left-processes")
    env = {**os.environ, "FARHAND_SSH_CONFIG": "none"}
    forwards = ["-R", "127.0.0.1:0:localhost:80", "-R", "127.0.0.1:0", "-R", "127.0.0.1:0:/tmp/x"]
    command = [] if words else ["true"]
    async with running("rsh", *words, *forwards, service.host, *command, env=env) as process:
        assert process.stderr is not None
        for where in (b"localhost:80", b"socks:0", b"/tmp/x:-2"):
            said = await asyncio.wait_for(process.stderr.readline(), TIMEOUT)
            assert re.fullmatch(rb"Allocated port \d+ for remote forward to " + where + b"\n", said)
        if words:
            process.terminate()
    async with running("rsh", "-q", *forwards, service.host, "true", env=env) as process:
        assert (await process.communicate())[1] == b""
