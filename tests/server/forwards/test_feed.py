"""The core reads the records of a tunnel, a bounded number at a time."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from farhand_server.forwards.feed import FLOW_RECORDS_PER_TURN, RECORD_PAUSE, FlowFeed
from farhand_server.forwards.records import FlowRecord

RECORD = FlowRecord("connect", "db:5432", cause="ended")


class Fed:
    """A feed, the worker's end, and what was read."""

    def __init__(self) -> None:
        self.records: list[FlowRecord] = []
        self.read = asyncio.Event()
        self.feed, self.worker = FlowFeed.create(self.record, 1000)

    def record(self, record: FlowRecord) -> None:
        self.records.append(record)
        self.read.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.records) < count:
                self.read.clear()
                await self.read.wait()


@pytest.fixture
async def fed() -> Fed:
    return Fed()


@pytest.fixture(autouse=True)
def _closed(fed: Fed) -> Iterator[None]:
    yield
    fed.worker.close()


async def test_every_record_is_read_and_nonsense_is_not(fed: Fed) -> None:
    for packed in (RECORD.pack(), b"nonsense", RECORD._replace(target="x:1").pack()):
        fed.worker.send(packed)
    await fed.until(2)
    assert [record.target for record in fed.records] == ["db:5432", "x:1"]
    fed.feed.close()


async def test_others_have_their_turn_between_many_records(fed: Fed) -> None:
    for _ in range(FLOW_RECORDS_PER_TURN + 1):
        fed.worker.send(RECORD.pack())
    await fed.until(1)
    assert len(fed.records) == FLOW_RECORDS_PER_TURN
    await fed.until(FLOW_RECORDS_PER_TURN + 1)
    fed.feed.close()


async def test_at_the_end_what_is_left_is_read(fed: Fed) -> None:
    for _ in range(3 * FLOW_RECORDS_PER_TURN):
        fed.worker.send(RECORD.pack())
    fed.worker.close()
    fed.feed.finish()
    assert len(fed.records) == 3 * FLOW_RECORDS_PER_TURN
    assert fed.feed.fd == -1


async def test_who_holds_the_other_end_does_not_keep_the_core_reading(fed: Fed) -> None:
    fed.worker.send(RECORD.pack())
    fed.feed.finish()
    assert len(fed.records) == 1


async def test_the_end_of_the_worker_is_noticed_without_spinning(fed: Fed) -> None:
    fed.worker.send(RECORD.pack())
    fed.worker.close()
    await fed.until(1)
    await asyncio.sleep(0)
    assert not asyncio.get_running_loop().remove_reader(fed.feed.fd)
    fed.feed.close()


async def test_a_feed_continues_in_another_program_by_its_descriptor(fed: Fed) -> None:
    fed.worker.send(RECORD.pack())
    again = FlowFeed(os.dup(fed.feed.fd), fed.record, 1000)
    fed.feed.close()
    await fed.until(1)
    again.close()


async def test_no_child_inherits_either_end_by_accident(fed: Fed) -> None:
    assert not os.get_inheritable(fed.feed.fd)
    assert not fed.worker.get_inheritable()
    assert fed.worker.type == socket.SOCK_SEQPACKET
    fed.feed.close()


async def test_the_tunnels_of_a_user_share_the_time_of_one(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []
    loop = asyncio.get_running_loop()
    others = [FlowFeed.create(lambda _: None, uid) for uid in (1000, 1000, 2000)]
    call_later = loop.call_later

    def noted(delay: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        delays.append(delay)
        return call_later(0, call)

    monkeypatch.setattr(loop, "call_later", noted)
    fed.worker.send(RECORD.pack())
    await fed.until(1)
    assert delays == [3 * RECORD_PAUSE]
    for feed, worker in others:
        feed.close()
        feed.close()
        worker.close()
    fed.worker.send(RECORD.pack())
    await fed.until(2)
    assert delays[1:] == [RECORD_PAUSE]
    fed.feed.close()
