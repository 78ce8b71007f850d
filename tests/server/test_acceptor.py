"""The acceptor pauses while resources are short, and skips connections that have failed."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from farhand_server.acceptor import ACCEPT_BATCH, Acceptor
from farhand_server.throttle import LogThrottle
from tests.server.edge.harness import TEST_TIMEOUT
from tests.support.history import LogFile


class FailingSocket(socket.socket):
    """A listening socket whose next calls of `accept` fail with `errors`."""

    errors: list[int]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            raise OSError(self.errors.pop(0), "simulated")
        return super().accept()


@pytest.fixture
async def listening() -> AsyncIterator[FailingSocket]:
    sock = FailingSocket(socket.AF_INET, socket.SOCK_STREAM)
    sock.errors = []
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    yield sock
    sock.close()


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    return LogFile(tmp_path)


async def accept_one(listening: FailingSocket, log: LogFile, *, paused: bool) -> None:
    """Connect, and return once the connection is accepted; if `paused`, only after `resume`."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[socket.socket] = loop.create_future()
    acceptor = Acceptor(
        loop, [listening], lambda sock, _: accepted.set_result(sock), LogThrottle(log.logger, loop.time)
    )
    acceptor.start()
    with socket.create_connection(listening.getsockname()):
        async with asyncio.timeout(TEST_TIMEOUT):
            if paused:
                while listening.errors:  # noqa: ASYNC110  # the acceptor has no event for a failed accept
                    await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert not accepted.done()
                acceptor.resume()
            sock = await accepted
    assert not sock.getblocking()
    sock.close()
    acceptor.close()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_accepting_pauses_until_resources_are_free(listening: FailingSocket, log: LogFile, code: int) -> None:
    listening.errors = [code]
    await accept_one(listening, log, paused=True)
    assert 'msg="accepting paused"' in str(log)


async def test_a_connection_that_failed_in_the_backlog_is_skipped(listening: FailingSocket, log: LogFile) -> None:
    listening.errors = [errno.ECONNABORTED, errno.EPROTO]
    await accept_one(listening, log, paused=False)
    assert str(log) == ""


async def test_a_connection_that_cannot_be_taken_over_is_closed_and_the_next_one_served(
    listening: FailingSocket, log: LogFile
) -> None:
    loop = asyncio.get_running_loop()
    accepted: list[socket.socket] = []
    taken = asyncio.Event()

    def take_over(sock: socket.socket, _: object) -> None:
        accepted.append(sock)
        if len(accepted) == 1:
            raise OSError(errno.ENOMEM, "simulated")
        taken.set()

    acceptor = Acceptor(loop, [listening], take_over, LogThrottle(log.logger, loop.time))
    acceptor.start()
    with (
        socket.create_connection(listening.getsockname()) as first,
        socket.create_connection(listening.getsockname()),
    ):
        async with asyncio.timeout(TEST_TIMEOUT):
            await taken.wait()
        assert first.recv(1) == b""
    assert accepted[0].fileno() == -1
    assert 'msg="client closed" reason="Cannot allocate memory"' in str(log)
    accepted[1].close()
    acceptor.close()


async def test_accepting_is_retried_without_an_event(
    listening: FailingSocket, log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_server.acceptor.ACCEPT_RETRY_DELAY", 0.01)
    listening.errors = [errno.EMFILE]
    await accept_one(listening, log, paused=False)


async def test_it_is_reported_whether_others_wait(listening: FailingSocket, log: LogFile) -> None:
    looks: list[bool] = []
    accepted: list[socket.socket] = []
    acceptor = Acceptor(
        asyncio.get_running_loop(), [listening], lambda sock, _: accepted.append(sock), None, looks.append
    )
    clients = [socket.create_connection(listening.getsockname()) for _ in range(ACCEPT_BATCH + 1)]
    acceptor.start()
    async with asyncio.timeout(TEST_TIMEOUT):
        while len(looks) < 2:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0)
    assert looks == [False, True]
    acceptor.close()
    for sock in (*clients, *accepted):
        sock.close()


async def test_closing_while_paused_closes_the_sockets(listening: FailingSocket, log: LogFile) -> None:
    loop = asyncio.get_running_loop()
    listening.errors = [errno.EMFILE]
    acceptor = Acceptor(loop, [listening], lambda sock, _: sock.close(), LogThrottle(log.logger, loop.time))
    acceptor.start()
    with socket.create_connection(listening.getsockname()):
        while listening.errors:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0)
    acceptor.close()
    assert listening.fileno() == -1
