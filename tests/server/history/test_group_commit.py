"""Everything recorded in one iteration of the event loop is one commit, and every caller gets its result."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from farhand_server.history import GroupCommit, HistoryError
from farhand_server.history.database import PAGE_SIZE
from tests.support.history import HistoryDirectory, record, uuid4


def commits(directory: HistoryDirectory) -> int:
    """Count the commits so far, by the frames in the write-ahead log that end one (sqlite.org/fileformat.html, 4.2)."""
    log = directory.file.with_name("history.db-wal").read_bytes()[32:]
    frames = (log[at : at + 24] for at in range(0, len(log), 24 + PAGE_SIZE))
    return sum(frame[4:8] != bytes(4) for frame in frames)


async def durable_start(group: GroupCommit, id: str) -> None:
    """Wait until the start of a run is written, as the registry does. Raises `HistoryError` if it is refused."""
    refused = await asyncio.shield(group.flush_soon())
    if id in refused:
        raise HistoryError(refused[id], frozenset({id}))


async def test_the_starts_of_one_loop_iteration_share_a_commit(directory: HistoryDirectory) -> None:
    history = directory.open()
    group = GroupCommit(history)
    before = commits(directory)

    async def start(number: int) -> None:
        history.starting(record(uuid4(number)))
        await durable_start(group, uuid4(number))

    await asyncio.gather(*(start(number) for number in range(20)))
    assert commits(directory) == before + 1
    await group.close()


async def test_only_the_starts_that_cannot_be_written_are_refused(directory: HistoryDirectory) -> None:
    history = directory.open()
    group = GroupCommit(history)
    history.starting(record(uuid4(1)))
    history.starting(record(uuid4(1)))
    history.starting(record(uuid4(2)))
    with pytest.raises(HistoryError, match="started before"):
        await durable_start(group, uuid4(1))
    await durable_start(group, uuid4(2))
    await group.close()


async def test_a_change_that_no_caller_waits_for_is_written_with_the_next_commit_or_soon_by_itself(
    directory: HistoryDirectory,
) -> None:
    history = directory.open()
    committed = asyncio.Event()
    group = GroupCommit(history, also=committed.set)
    history.starting(record(uuid4(1)))
    await durable_start(group, uuid4(1))
    before = commits(directory)
    history.started(uuid4(1), 1, 1, "boot", None)
    group.flush_later()
    history.starting(record(uuid4(2)))
    await durable_start(group, uuid4(2))
    assert commits(directory) == before + 1
    committed.clear()
    history.started(uuid4(2), 2, 2, "boot", None)
    group.flush_later()
    assert history.dirty
    await committed.wait()
    assert (history.dirty, commits(directory)) == (False, before + 2)
    await group.close()


async def test_a_cancelled_caller_does_not_cancel_the_commit_of_the_others(directory: HistoryDirectory) -> None:
    history = directory.open()
    group = GroupCommit(history)
    history.starting(record(uuid4(1)))
    tasks = [asyncio.create_task(durable_start(group, uuid4(1))) for _ in range(2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await tasks[0]
    await tasks[1]
    assert not history.dirty
    await group.close()


async def test_the_audit_log_is_flushed_once_with_each_commit(directory: HistoryDirectory) -> None:
    flushed: list[int] = []
    group = GroupCommit(directory.open(), also=lambda: flushed.append(1))
    await asyncio.gather(group.flush_soon(), group.flush_soon())
    assert flushed == [1]
    await group.close()


async def test_failed_writes_of_ends_are_retried_without_a_request(
    directory: HistoryDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_server.history.group_commit.FLUSH_RETRY_DELAY", 0.01)
    history = directory.open()
    tried: list[bool] = []
    done = asyncio.Event()

    def also() -> None:
        tried.append(history.dirty)
        if len(tried) == 1:
            directory.connection(history).execute("PRAGMA query_only = OFF")
        if not history.dirty:
            done.set()

    group = GroupCommit(history, also=also)
    directory.connection(history).execute("PRAGMA query_only = ON")
    history.orphans_ended([uuid4(1)])
    await group.flush_soon()
    async with asyncio.timeout(10):
        await done.wait()
    assert tried == [True, False]
    await group.close()


async def test_a_defect_raises_for_the_caller_instead_of_leaving_it_waiting(directory: HistoryDirectory) -> None:
    history = directory.open()
    group = GroupCommit(history)
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    history.started(uuid4(1), 1 << 70, None, None, None)
    with pytest.raises(OverflowError):
        await group.flush_soon()
    assert len(faults) == 1
    directory.crash(history)


async def test_the_write_ahead_log_is_moved_into_the_database_after_many_changes(
    directory: HistoryDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_server.history.store.CHECKPOINT_EVERY", 1)
    history = directory.open()
    group = GroupCommit(history)
    size = directory.file.stat().st_size
    for number in range(20):
        history.starting(record(uuid4(number), request=b"x" * 8000))
    await group.flush_soon()
    await group.close()
    assert not history.checkpoint_due
    assert directory.file.stat().st_size > size
