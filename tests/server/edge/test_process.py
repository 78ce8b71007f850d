"""A worker of the edge as a process: start, shortage of descriptors, reload, end."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from farhand_server import hostkey
from farhand_server.config import EdgeSettings
from farhand_server.edge.edge import within_descriptors
from farhand_server.listen.feed import FromCore
from tests.server.edge.harness import TEST_TIMEOUT, FakeCore, Peer, client_context
from tests.support.history import LogFile

PROGRAM = """
import os, pathlib, resource, socket, sys
import uvloop
from farhand_server import acceptor
from farhand_server.edge.process import FacingSetup, serve_edge
from farhand_server.edge.tls import server_context
from farhand_server.hostkey import load_host_key
from farhand_server.config import EdgeSettings
from farhand_server.logs import Logger, LogSink
from farhand_server.edge.reports import WorkerReports

acceptor.ACCEPT_RETRY_DELAY = 0.2
descriptor, supervisor, core, key, child, limit, settings = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))

def read_settings():
    return EdgeSettings.model_validate_json(pathlib.Path(settings).read_text())

def read_setup():
    return FacingSetup(read_settings(), server_context(load_host_key(pathlib.Path(key))))

uvloop.run(serve_edge(
    sockets=[socket.socket(fileno=int(descriptor))], core_socket=pathlib.Path(core), setup=read_setup(),
    log=Logger(LogSink(), {}), ready=lambda: print("ready", flush=True),
    reports=WorkerReports(socket.socket(fileno=int(supervisor))), reload=read_setup, child=child == "child",
))
"""


@dataclass
class Process:
    process: asyncio.subprocess.Process
    port: int
    core: FakeCore
    settings: Path
    supervisor: socket.socket
    peers: list[Peer] = field(default_factory=list)

    async def logs(self, text: str) -> None:
        """Return once a line with the text has been logged."""
        assert self.process.stderr is not None
        async with asyncio.timeout(TEST_TIMEOUT):
            while text not in (line := (await self.process.stderr.readline()).decode()):
                assert line, f"the edge ended without {text!r}"

    async def wait(self) -> int:
        async with asyncio.timeout(TEST_TIMEOUT):
            return await self.process.wait()

    async def connect(self) -> Peer:
        async with asyncio.timeout(TEST_TIMEOUT):
            self.peers.append(Peer(*await asyncio.open_connection("127.0.0.1", self.port, ssl=client_context())))
        return self.peers[-1]

    async def pair(self) -> tuple[Peer, Peer]:
        client = await self.connect()
        core = await self.core.client()
        await self.core.verdict(core, FromCore.LOGGED_IN)
        return client, core


@asynccontextmanager
async def process(
    tmp_path: Path, *, child: bool = False, limit: int = 0, drain: float = 30.0
) -> AsyncIterator[Process]:
    hostkey.ensure_host_key(tmp_path)
    settings = tmp_path / "settings"
    settings.write_text(f'{{"drain": {drain}}}')
    core = FakeCore(tmp_path / "edge.sock")
    await core.start()
    supervisor, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening, theirs:
        port = listening.getsockname()[1]
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, str(listening.fileno()), str(theirs.fileno()), str(core.path),
            str(tmp_path / "host_key"), "child" if child else "alone", str(limit), str(settings),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            pass_fds=[listening.fileno(), theirs.fileno()],
        )  # fmt: skip
    running = Process(started, port, core, settings, supervisor)
    try:
        async with asyncio.timeout(TEST_TIMEOUT):
            assert started.stdout is not None
            if await started.stdout.readline() != b"ready\n":
                assert started.stderr is not None
                raise AssertionError((await started.stderr.read()).decode())
            await core.feed_connected.wait()
        yield running
    finally:
        for peer in running.peers:
            peer.writer.transport.abort()
        if started.returncode is None:
            started.kill()
        await started.wait()
        supervisor.close()
        core.stop()
        await asyncio.sleep(0)


async def test_sigterm_stops_accepting_and_lets_logged_in_clients_finish(tmp_path: Path) -> None:
    async with process(tmp_path) as edge:
        client, core = await edge.pair()
        await core.send(b"x")
        await client.receive(1)
        stranger = await edge.connect()
        edge.process.send_signal(signal.SIGTERM)
        await stranger.read_to_end()
        with pytest.raises(OSError, match=r"refused|reset|Connect"):
            await edge.connect()
        await core.send(b"last")
        core.close()
        assert await client.read_to_end() == b"last"
        client.close()
        stranger.close()
        assert await edge.wait() == 0


async def test_sigterm_waits_no_longer_than_the_drain_time(tmp_path: Path) -> None:
    async with process(tmp_path, drain=0.1) as edge:
        client, core = await edge.pair()
        edge.process.send_signal(signal.SIGTERM)
        assert await edge.wait() == 0
        assert await core.read_to_end() == b""
        client.close()


async def test_a_child_serves_logged_in_clients_until_its_parent_has_drained(tmp_path: Path) -> None:
    async with process(tmp_path, child=True, drain=0.1) as edge:
        client, core = await edge.pair()
        await core.send(b"x")
        await client.receive(1)
        stranger = await edge.connect()
        edge.process.send_signal(signal.SIGTERM)
        await stranger.read_to_end()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await edge.process.wait()
        await client.send(b"still here")
        assert await core.receive(10) == b"still here"
        edge.core.feeds[0].close()
        assert await edge.wait() == 0


async def test_the_interrupt_of_a_terminal_is_left_to_the_supervisor(tmp_path: Path) -> None:
    async with process(tmp_path) as edge:
        edge.process.send_signal(signal.SIGINT)
        for _ in range(3):
            await edge.pair()


@pytest.mark.parametrize("child", [False, True])
async def test_without_its_supervisor_it_ends_at_once(tmp_path: Path, *, child: bool) -> None:
    async with process(tmp_path, child=child, drain=1000) as edge:
        client, _ = await edge.pair()
        edge.supervisor.close()
        assert await edge.wait() == 0
        await client.read_to_end()
        client.close()


async def test_a_child_ends_when_its_parent_dies(tmp_path: Path) -> None:
    async with process(tmp_path, child=True) as edge:
        client, _ = await edge.pair()
        edge.core.stop()
        assert await edge.wait() == 0
        await client.read_to_end()
        client.close()


async def test_sighup_reloads_the_settings_and_keeps_the_old_ones_if_they_are_invalid(tmp_path: Path) -> None:
    async with process(tmp_path) as edge:
        edge.settings.write_text('{"connections": 1}')
        edge.process.send_signal(signal.SIGHUP)
        await edge.logs("reloaded")
        client, _ = await edge.pair()
        edge.settings.write_text('{"connections": "many"}')
        edge.process.send_signal(signal.SIGHUP)
        await edge.logs("reload refused")
        with pytest.raises(ssl.SSLError, match="ALERT_INTERNAL_ERROR"):
            await edge.connect()
        client.close()


async def test_too_few_descriptors_for_the_settings_are_logged(tmp_path: Path) -> None:
    async with process(tmp_path, limit=80) as edge:
        await edge.logs("fewer connections than configured")


@pytest.mark.parametrize(("descriptors", "connections"), [(80, 1), (256, 64), (1024, 352), (16384, 7648)])
def test_few_descriptors_leave_room_for_clients_beside_silent_connections(
    tmp_path: Path, descriptors: int, connections: int
) -> None:
    log = LogFile(tmp_path)
    assert within_descriptors(EdgeSettings(), descriptors, log.logger).connections == connections
    assert f"connections={connections}" in str(log)


def test_enough_descriptors_leave_the_settings_as_they_are(tmp_path: Path) -> None:
    log = LogFile(tmp_path)
    assert within_descriptors(EdgeSettings(), 1 << 20, log.logger) == EdgeSettings()
    assert str(log) == ""


async def test_without_descriptors_the_edge_neither_spins_nor_floods_the_log_and_recovers(tmp_path: Path) -> None:
    async with process(tmp_path) as edge:
        used = {int(entry.name) for entry in Path(f"/proc/{edge.process.pid}/fd").iterdir()}
        # The limit is on descriptor numbers, and the lowest free one is used. Other connections wait in the kernel.
        limit = sorted(set(range(256)) - used)[3]
        resource.prlimit(edge.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        bare = [socket.create_connection(("127.0.0.1", edge.port)) for _ in range(6)]
        await edge.logs("accepting paused")
        before = _cpu_seconds(edge.process.pid)
        stderr = edge.process.stderr
        assert stderr is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.6):  # two further attempts
                await stderr.readline()
        assert _cpu_seconds(edge.process.pid) - before < 0.2
        for sock in bare:
            sock.close()
        client, core = await _pair_once_served(edge)
        await core.send(b"recovered")
        assert await client.receive(9) == b"recovered"
        client.close()


async def _pair_once_served(edge: Process) -> tuple[Peer, Peer]:
    """Try again while the edge refuses a connection because it has not yet seen that others are closed."""
    while True:
        try:
            return await edge.pair()
        except ssl.SSLError as error:
            assert error.reason == "TLSV1_ALERT_INTERNAL_ERROR"  # noqa: PT017  # any other refusal is a failure


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
