"""All that is written down in one turn of the loop is one commit, and everybody hears how it went."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from farhand_server.history import GroupCommit, HistoryError
from tests.support.history import Shelf, record, uuid4


def commits(shelf: Shelf) -> int:
    """The commits so far, by the frames in the write-ahead log that end one (sqlite.org/fileformat.html, 4.2)."""
    log = shelf.file.with_name("history.db-wal").read_bytes()[32:]
    frames = (log[at : at + 24] for at in range(0, len(log), 24 + 4096))
    return sum(frame[4:8] != bytes(4) for frame in frames)


async def test_the_starts_of_one_turn_share_a_commit(shelf: Shelf) -> None:
    history = shelf.open()
    group = GroupCommit(history)
    before = commits(shelf)

    async def start(number: int) -> None:
        history.starting(record(uuid4(number)))
        await group.start_is_durable(uuid4(number))

    await asyncio.gather(*(start(number) for number in range(20)))
    assert commits(shelf) == before + 1
    await group.close()


async def test_only_the_starts_that_cannot_be_written_are_refused(shelf: Shelf) -> None:
    history = shelf.open()
    group = GroupCommit(history)
    history.starting(record(uuid4(1)))
    history.starting(record(uuid4(1)))
    history.starting(record(uuid4(2)))
    with pytest.raises(HistoryError, match="started before"):
        await group.start_is_durable(uuid4(1))
    await group.start_is_durable(uuid4(2))
    await group.close()


async def test_what_nobody_waits_for_goes_with_the_next_commit_or_by_itself_before_long(shelf: Shelf) -> None:
    history = shelf.open()
    committed = asyncio.Event()
    group = GroupCommit(history, also=committed.set)
    history.starting(record(uuid4(1)))
    await group.start_is_durable(uuid4(1))
    before = commits(shelf)
    history.started(uuid4(1), 1, 1, "boot", None)
    group.later()
    history.starting(record(uuid4(2)))
    await group.start_is_durable(uuid4(2))
    assert commits(shelf) == before + 1
    committed.clear()
    history.started(uuid4(2), 2, 2, "boot", None)
    group.later()
    assert history.dirty
    await committed.wait()
    assert (history.dirty, commits(shelf)) == (False, before + 2)
    await group.close()


async def test_whoever_gives_up_waiting_leaves_the_others_their_commit(shelf: Shelf) -> None:
    history = shelf.open()
    group = GroupCommit(history)
    history.starting(record(uuid4(1)))
    tasks = [asyncio.create_task(group.start_is_durable(uuid4(1))) for _ in range(2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await tasks[0]
    await tasks[1]
    assert not history.dirty
    await group.close()


async def test_the_other_log_is_flushed_with_it(shelf: Shelf) -> None:
    flushed: list[int] = []
    group = GroupCommit(shelf.open(), also=lambda: flushed.append(1))
    await asyncio.gather(group.is_durable(), group.is_durable())
    assert flushed == [1]
    await group.close()


async def test_ends_that_could_not_be_written_are_tried_again_without_anybody_asking(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_server.history.group.RETRY", 0.01)
    history = shelf.open()
    tried: list[bool] = []
    done = asyncio.Event()

    def also() -> None:
        tried.append(history.dirty)
        if len(tried) == 1:
            history._writer.db.execute("PRAGMA query_only = OFF")
        if not history.dirty:
            done.set()

    group = GroupCommit(history, also=also)
    history._writer.db.execute("PRAGMA query_only = ON")
    history.orphans_ended([uuid4(1)])
    await group.is_durable()
    async with asyncio.timeout(10):
        await done.wait()
    assert tried == [True, False]
    await group.close()


async def test_a_fault_of_the_service_leaves_nobody_waiting(shelf: Shelf) -> None:
    history = shelf.open()
    group = GroupCommit(history)
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    history.started(uuid4(1), 1 << 70, None, None, None)
    with pytest.raises(OverflowError):
        await group.is_durable()
    assert len(faults) == 1
    history._writer.waiting.clear()
