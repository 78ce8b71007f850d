"""What commands ask is answered, and the helper leaves when nobody asks any more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_client.helper import switchboard as switchboard_module
from farhand_client.helper.proof import ConnectionProof, UnchangedFiles
from farhand_client.helper.switchboard import HelperSwitchboard
from farhand_client.mux.request import (
    CONNECT,
    HELPER_REPORT,
    NOT_SERVED,
    NOTED,
    OFFER,
    SERVED,
    STATUS,
    STOP,
    ConnectionRequest,
    frame,
)
from farhand_protocol.features import LOST_CHANNEL
from tests.support.client import TIMEOUT
from tests.support.clock import virtual_time
from tests.support.fake_service import FakeService


class Helper:
    """A helper in this process."""

    def __init__(self, directory: Path, idle_time: float = 60.0) -> None:
        self.path = directory / "helper.sock"
        self.program = directory / "program"
        self.left: list[bool] = []
        self.has_left = asyncio.Event()
        self.switchboard = HelperSwitchboard(idle_time, UnchangedFiles([str(self.program)]), self.leave)

    def leave(self, now: bool) -> None:
        self.left.append(now)
        self.has_left.set()

    async def ask(self, data: bytes, count: int = -1) -> bytes:
        """Send `data`, and return the answer or the first `count` bytes of it."""
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(str(self.path))
            with contextlib.closing(writer):
                writer.write(data)
                try:
                    return await (reader.read() if count < 0 else reader.readexactly(count))
                except ConnectionError:
                    return b""

    async def ready(self) -> None:
        """Wait until connections have been made."""
        async with asyncio.timeout(TIMEOUT):
            while self.switchboard.pool.dialling:  # noqa: ASYNC110  # for the test alone there is no event
                await asyncio.sleep(0.001)


@pytest.fixture
async def helper(tmp_path: Path) -> AsyncIterator[Helper]:
    made = Helper(tmp_path)
    server = await asyncio.get_running_loop().create_unix_server(made.switchboard.make_caller, made.path)
    yield made
    server.close()
    made.switchboard.stop()
    for caller in list(made.switchboard.callers):
        caller.abort()
    await asyncio.sleep(0)


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeService]:
    service = FakeService()
    service.features = (LOST_CHANNEL,)
    async with service.on_socket(tmp_path) as serving:
        yield serving


def request(fake: FakeService) -> ConnectionRequest:
    return ConnectionRequest(socket=fake.host.removeprefix("unix:").encode())


async def test_a_connection_is_lent_after_it_was_offered(helper: Helper, fake: FakeService) -> None:
    asked = request(fake).encode()
    assert await helper.ask(frame(CONNECT, asked)) == frame(NOT_SERVED)
    assert await helper.ask(frame(OFFER, asked)) == frame(NOTED)
    await helper.ready()
    served = await helper.ask(frame(CONNECT, asked), 100)
    assert served.startswith(frame(SERVED))
    assert b'"welcome"' in served
    report = await helper.ask(frame(STATUS))
    assert report[3] == HELPER_REPORT
    shown = json.loads(report[8:])
    assert (shown["pid"], shown["served"]) == (os.getpid(), 1)
    assert shown["connections"][0]["target"] == fake.host


@pytest.mark.parametrize("holds", [True, False])
async def test_the_agent_is_asked_each_time(
    helper: Helper, fake: FakeService, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_agent(proof: ConnectionProof) -> bool:
        return holds

    await helper.ask(frame(OFFER, request(fake).encode()))
    await helper.ready()
    (kept,) = helper.switchboard.pool
    monkeypatch.setattr(kept.proof, "agent", object())
    monkeypatch.setattr(ConnectionProof, "in_agent", in_agent)
    answer = await helper.ask(frame(CONNECT, request(fake).encode()), 8)
    assert answer == frame(SERVED if holds else NOT_SERVED)
    assert bool(list(helper.switchboard.pool)) is holds


@pytest.mark.parametrize("data", [frame(CONNECT, b"x"), frame(0x99), frame(CONNECT, b"x" * 70_000)])
async def test_who_asks_for_something_else_is_cut_off(helper: Helper, data: bytes) -> None:
    assert await helper.ask(data) == b""
    assert helper.left == []


async def test_somebody_may_stop_the_helper(helper: Helper) -> None:
    asking = asyncio.ensure_future(helper.ask(frame(STOP)))
    await helper.has_left.wait()
    assert helper.left == [True]
    asking.cancel()


async def test_a_helper_whose_program_has_changed_serves_nobody(helper: Helper, fake: FakeService) -> None:
    asked = request(fake).encode()
    await helper.ask(frame(OFFER, asked))
    await helper.ready()
    helper.program.touch()
    assert await helper.ask(frame(CONNECT, asked)) == frame(NOT_SERVED)
    assert helper.left == [False]


async def test_a_helper_that_nobody_needs_leaves(tmp_path: Path) -> None:
    helper = Helper(tmp_path, idle_time=0.01)
    async with asyncio.timeout(TIMEOUT):
        await helper.has_left.wait()
    assert helper.left == [False]
    helper.switchboard.stop()


@virtual_time
async def test_commands_that_ask_for_no_connection_keep_the_helper(tmp_path: Path) -> None:
    helper = Helper(tmp_path, idle_time=60.0)
    for _ in range(3):
        await asyncio.sleep(50)
        helper.switchboard.command_begun()
    assert helper.left == []
    await asyncio.sleep(61)
    assert helper.left == [False]
    helper.program.touch()
    helper.switchboard.command_begun()
    assert helper.left == [False, False]
    helper.switchboard.stop()


async def test_there_is_a_bound_on_callers(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switchboard_module, "MAX_IN_ALL", 1)
    _, writer = await asyncio.open_unix_connection(str(helper.path))
    assert await helper.ask(frame(STATUS)) == b""
    writer.close()


async def test_the_caller_for_whom_most_is_queued_is_cut_off_first(
    helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reader:
        def __init__(self, queued: int) -> None:
            self.queued = queued
            self.aborted = False

        def abort(self) -> None:
            self.aborted = True

    readers = [Reader(1), Reader(3), Reader(2)]
    monkeypatch.setattr(switchboard_module, "MAX_QUEUED_IN_ALL", 6)
    monkeypatch.setattr(helper.switchboard, "callers", set(readers))
    helper.switchboard.much_queued()
    assert not any(reader.aborted for reader in readers)
    readers[0].queued = 2
    helper.switchboard.much_queued()
    assert [reader.aborted for reader in readers] == [False, True, False]
    monkeypatch.setattr(helper.switchboard, "callers", set())
