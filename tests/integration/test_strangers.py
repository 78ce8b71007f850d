"""Unfriendly clients: other accounts, silent ones, ones that send garbage, and very many at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.frames import Kind, encode_frame, encode_header
from farhand_protocol.outcome import Exited
from tests.support.client import TIMEOUT, RawClient
from tests.support.processes import descriptors, resident, status
from tests.support.service import Service, running_service


@pytest.fixture
async def impatient(tmp_path: Path) -> AsyncIterator[Service]:
    """A service with a login timeout of half a second."""
    async with running_service(tmp_path, config="[login]\ndeadline = 0.5\n") as service:
        yield service


async def speak(service: Service, *output: bytes) -> bytes:
    """Send data on a bare socket and return everything received until the service closes it."""
    reader, writer = await asyncio.open_unix_connection(service.socket)
    try:
        for data in output:
            writer.write(data)
        try:
            return await asyncio.wait_for(reader.read(), TIMEOUT)
        except ConnectionResetError:
            return b""
    finally:
        writer.close()


HELLO = m.Hello(
    versions=(1,),
    software="test",
    limits=m.AnnouncedLimits(message=1 << 20, data=1 << 16, window=1 << 20, channels=16),
    nonce=bytes(32),
)


def frame(message: m.Message, channel: int = 0) -> bytes:
    """Return the bytes of a message."""
    return encode_frame(Kind.MESSAGE, channel, m.encode(message))


CONNECT_AS_SOMEONE_ELSE = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.settimeout(20)
while data := s.recv(4096): sys.stdout.buffer.write(data)
"""


@pytest.mark.needs("root")
async def test_another_account_is_denied_with_the_reason(core: Service) -> None:
    # All accounts may use the socket, but not enter the directories of a test.
    for directory in core.socket.parents:
        if directory.stat().st_uid == os.geteuid() and not directory.stat().st_mode & stat.S_IXOTH:
            directory.chmod(0o711)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", "-c", CONNECT_AS_SOMEONE_ELSE, str(core.socket)],
        capture_output=True,
        timeout=TIMEOUT,
    )
    assert done.stderr == b""
    assert b'"code":"denied"' in done.stdout
    assert b"this service is for the account root, and you are nobody" in done.stdout


async def test_another_user_cannot_be_requested_over_the_local_socket(core: Service) -> None:
    async with RawClient.connect(core.socket, user="someone-else") as client:
        reported = await client.wait_for_message(m.Error)
        assert isinstance(reported, m.Error)
        assert reported.code == "denied"
        await client.closed()


async def test_a_client_that_sends_nothing_gets_an_error_and_is_closed(impatient: Service) -> None:
    output = await speak(impatient)
    assert b'"code":"login_timeout"' in output


async def test_a_client_that_sends_half_a_hello_gets_an_error_and_is_closed(impatient: Service) -> None:
    output = await speak(impatient, frame(HELLO)[:-1])
    assert b'"code":"login_timeout"' in output


async def test_the_login_timeout_does_not_apply_after_login(tmp_path: Path) -> None:
    async with (
        running_service(tmp_path, config="[login]\ndeadline = 3\n") as service,  # enough for a busy machine
        RawClient.connect(service.socket) as client,
    ):
        assert b'"code":"login_timeout"' in await speak(service)  # the timeout of a later connection has expired
        assert (await client.run("true"))[0].outcome == Exited(code=0)


async def test_nothing_but_a_hello_is_served_before_login(core: Service) -> None:
    run = m.RunRequest(id="0192f0c1-2b3d-7c4e-8f50-617283940a1b", argv=(b"true",))
    assert b'"code":"not_legal"' in await speak(core, frame(run, 1))
    assert b'"code":"not_legal"' in await speak(core, frame(m.Ping(id=1)))
    assert b'"code":"not_legal"' in await speak(core, encode_frame(Kind.STDIN, 1, b"x"))
    assert b'"code":"unsupported_version"' in await speak(core, frame(HELLO.model_copy(update={"versions": (9,)})))


async def test_a_frame_that_announces_too_much_is_refused_at_its_header(core: Service) -> None:
    output = await speak(core, encode_header(Kind.MESSAGE, 0, (1 << 24) - 1))
    assert b'"code":"frame_too_large"' in output


async def test_garbage_never_ends_the_service(core: Service) -> None:
    rng = random.Random(20)
    before = descriptors(core.process.pid)
    hello = frame(HELLO)
    run = frame(m.RunRequest(id="0192f0c1-2b3d-7c4e-8f50-617283940a1c", argv=(b"true",), stdin=True), 1)
    for number in range(200):
        if number % 2:
            rubbish = rng.randbytes(rng.randrange(1, 2000))
        else:
            spoiled = bytearray(run + frame(m.End(stream="stdin"), 1) + frame(m.Stop(), 1) + frame(m.Close(), 1))
            for _ in range(rng.randrange(1, 5)):
                spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
            rubbish = hello + bytes(spoiled)
        reader, writer = await asyncio.open_unix_connection(core.socket)
        writer.write(rubbish)
        writer.write_eof()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            await asyncio.wait_for(reader.read(), TIMEOUT)
        writer.close()
    async with RawClient.connect(core.socket) as client:
        assert (await client.run("true"))[0].outcome == Exited(code=0)
        async with asyncio.timeout(TIMEOUT):
            while descriptors(core.process.pid) > before + 1:
                await client.round_trip()
    assert "Traceback" not in core.log


async def test_a_burst_of_connections_is_served(core: Service) -> None:
    """Connections wait in the kernel's queue while the service is busy; an edge may open 200 at once."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) for _ in range(200)]
        core.process.send_signal(signal.SIGSTOP)
        stack.callback(core.process.send_signal, signal.SIGCONT)
        for one in sockets:
            one.setblocking(False)
            one.connect(os.fspath(core.socket))
            one.send(frame(HELLO))
        core.process.send_signal(signal.SIGCONT)
        for one in sockets:
            one.settimeout(TIMEOUT)
            assert b'"welcome"' in await asyncio.to_thread(one.recv, 4096)
    async with RawClient.connect(core.socket) as client:
        assert (await client.run("true"))[0].outcome == Exited(code=0)


async def test_closed_connections_leave_nothing_behind(core: Service) -> None:
    async with RawClient.connect(core.socket) as client:

        async def connect_and_disconnect() -> None:
            for _ in range(100):
                _, writer = await asyncio.open_unix_connection(core.socket)
                writer.close()
            await asyncio.gather(*(visit() for _ in range(100)))
            await client.round_trip()

        async def visit() -> None:
            async with RawClient.connect(core.socket) as one:
                one.start("true")

        for _ in range(2):
            await connect_and_disconnect()
        settled, files = resident(core.process.pid), descriptors(core.process.pid)
        for _ in range(5):
            await connect_and_disconnect()
        # Each leaked session would be 20 KiB, and there were 1,000.
        assert resident(core.process.pid) - settled < 10 << 20
        while descriptors(core.process.pid) > files:  # the last runs may still be ending
            await client.round_trip()


async def test_the_service_has_no_thread_for_each_run(core: Service) -> None:
    async with RawClient.connect(core.socket) as client:
        before = status(core.process.pid)["Threads"]
        runs = [client.start("cat", stdin=True) for _ in range(20)]
        for run in runs:
            await run.started()
        assert status(core.process.pid)["Threads"] == before
