"""The edge beside a core is restarted however it exits, and however often that fails."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from farhand_server.config import ListenAddress
from farhand_server.listen import edge_child
from farhand_server.listen.edge_child import (
    EdgeChild,
    EdgeFailed,
    LaunchedEdge,
    bind_tcp,
    receive_sockets,
    send_sockets,
)
from farhand_server.listen.unix import ListenError
from farhand_server.logs import Logger, LogSink
from farhand_server.runs.process.process import prepare_loop
from tests.support.client import TIMEOUT

EDGE = "import os, signal; print('ready', flush=True); os.write({log}, b'edge %d\\n' % os.getpid()); signal.pause()"


@pytest.fixture
async def log() -> AsyncIterator[tuple[int, asyncio.StreamReader]]:
    """A pipe for the log, to which the edge also writes its pid."""
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
    async with asyncio.timeout(TIMEOUT):
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

    async def with_log(*command: str, **options: Any) -> asyncio.subprocess.Process:
        return await create(*command, pass_fds=[inherited], **options)

    monkeypatch.setattr("asyncio.create_subprocess_exec", with_log)
    child = EdgeChild(["-c", EDGE.format(log=inherited)], [], Logger(LogSink(writing), {}))
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


READY = "print('ready', flush=True); import signal; signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY


def child(code: str, *sockets: socket.socket, before: int | None = None) -> EdgeChild:
    prepare_loop()
    return EdgeChild(["-c", code], sockets, Logger(LogSink(), {}), before=before)


async def test_an_edge_that_exits_before_it_is_ready_has_failed() -> None:
    edge = child("raise SystemExit(3)")
    with pytest.raises(EdgeFailed):
        await edge.start()
    assert edge.pid is None
    await edge.stop()


async def test_an_edge_that_is_never_ready_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_child, "EDGE_START_TIMEOUT", 0.05)
    edge = child("import signal; signal.pause()")
    with pytest.raises(EdgeFailed):
        await edge.start()
    assert edge.pid is None
    await edge.stop()


async def test_an_edge_inherits_the_sockets_and_a_stop_ends_it_and_closes_them() -> None:
    (listening,) = bind_tcp([ListenAddress("127.0.0.1", 0)])
    edge = child(
        "import socket; from farhand_server.listen.edge_child import receive_sockets as receive; "
        "[mine] = receive(socket.socket(fileno=0)); assert mine.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN); "
        + READY,
        listening,
    )
    await edge.start()
    pid = edge.pid
    assert pid is not None
    assert edge.sockets == (listening.fileno(),)
    await edge.stop()
    assert edge.pid is None
    assert listening.fileno() == -1
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_an_edge_that_was_launched_early_is_the_one_that_is_started() -> None:
    prepare_loop()
    launched = await LaunchedEdge.launch(["-c", "import os; os.read(0, 1); " + READY])
    edge = EdgeChild(["-c", "raise SystemExit(3)"], [], Logger(LogSink(), {}), launched=launched)
    await edge.start()
    assert edge.pid == launched.process.pid
    await edge.stop()


async def test_an_edge_that_was_launched_in_vain_is_killed() -> None:
    prepare_loop()
    launched = await LaunchedEdge.launch(["-c", STUBBORN])
    edge = EdgeChild(["-c", READY], [], Logger(LogSink(), {}), launched=launched)
    await edge.stop()
    assert launched.process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("count", [1, 150])
def test_an_edge_receives_all_sockets_of_its_core(count: int) -> None:
    control, stdin = socket.socketpair()
    sockets = [socket.socket() for _ in range(count)]
    with control, stdin:
        send_sockets(control, sockets)
        received = receive_sockets(stdin)
        assert received is not None
        assert [os.fstat(each.fileno()).st_ino for each in received] == [
            os.fstat(each.fileno()).st_ino for each in sockets
        ]
        assert not any(each.get_inheritable() for each in received)
        for each in (*sockets, *received):
            each.close()
        control.close()
        assert receive_sockets(stdin) is None


async def test_an_edge_that_ignores_a_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_child, "EDGE_STOP_TIMEOUT", 0.05)
    edge = child(STUBBORN)
    await edge.start()
    await edge.stop()
    assert edge.pid is None


@pytest.mark.parametrize("stubborn", [False, True])
async def test_the_edge_of_the_previous_program_is_given_time_to_exit_and_then_killed(
    stubborn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_child, "EDGE_STOP_TIMEOUT", 0.05 if stubborn else TIMEOUT)
    previous = os.posix_spawn("/bin/sleep", ["sleep", "60" if stubborn else "0"], {})
    edge = child(READY, before=previous)
    await edge.start_again()
    assert edge.pid not in (None, previous)
    await edge.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(previous, 0)


async def test_after_an_upgrade_an_edge_that_cannot_be_started_is_retried_later() -> None:
    edge = child("raise SystemExit(3)", before=1 << 22)  # beyond the largest pid: it has been reaped already
    await edge.start_again()
    assert edge.pid is None
    await edge.stop()


def test_tcp_sockets_listen_on_every_address_or_on_none() -> None:
    first, second = bind_tcp([ListenAddress("127.0.0.1", 0), ListenAddress("localhost", 0)])[:2]
    port = first.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        pass
    taken = ListenAddress("127.0.0.1", port)
    with pytest.raises(ListenError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use"):
        bind_tcp([ListenAddress("127.0.0.1", 0), taken])
    first.close()
    second.close()
