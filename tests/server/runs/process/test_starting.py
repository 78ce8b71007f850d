"""Leaders are started by asyncio and taken over from it, each with a mark of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import resource
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from farhand_server.runs.process import starting, tree
from farhand_server.runs.process.process import Process
from tests.support.processes import TIMEOUT
from tests.support.started_programs import nothing_left, started


@pytest.fixture
async def ready() -> AsyncIterator[None]:
    """Prepare the loop for processes; check that nothing is left at the end."""
    async with nothing_left():
        yield


@pytest.mark.usefixtures("ready")
async def test_the_service_itself_keeps_no_mark_of_a_run() -> None:
    before = resource.getrlimit(10)
    async with started("sh", "-c", "grep locks /proc/self/limits") as run:
        line = await run.line()
    assert resource.getrlimit(10) == before
    assert line.split()[3].isdigit()


@pytest.mark.usefixtures("ready")
async def test_concurrent_starts_each_have_a_mark_of_their_own() -> None:
    before = resource.getrlimit(10)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    async def start() -> Process:
        return await Process.start([b"/bin/sleep", b"999"], cwd=b"/", env={}, stdin=null, stdout=null, stderr=null)

    starts = [asyncio.create_task(start()) for _ in range(8)]
    while not all(task.done() for task in starts):
        await asyncio.sleep(0)
        assert resource.getrlimit(10) == before
    processes = [task.result() for task in starts]
    os.close(null)
    assert len({process.mark for process in processes}) == 8
    for process in processes:
        assert tree.mark_of(process.pid) == process.mark
        process.close()


@pytest.mark.usefixtures("ready")
async def test_a_child_started_by_asyncio_is_left_to_it_and_needs_no_thread() -> None:
    threads = threading.active_count()
    child = await asyncio.create_subprocess_exec("sh", "-c", "read line; exit 7", stdin=subprocess.PIPE)
    assert threading.active_count() <= threads  # those of other tests may end
    async with started("true") as run:
        await run.code()
    async with asyncio.timeout(TIMEOUT):
        await child.communicate(b"\n")
    assert child.returncode == 7


@pytest.mark.usefixtures("ready")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="a loop's child watcher is its own there")
async def test_a_start_fails_and_leaves_nothing_if_another_child_watcher_was_set() -> None:
    another = asyncio.PidfdChildWatcher()
    another.attach_loop(asyncio.get_running_loop())
    asyncio.set_child_watcher(another)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    with pytest.raises(RuntimeError, match="another child watcher"):
        await Process.start([b"/bin/sleep", b"999"], cwd=b"/", env={}, stdin=null, stdout=null, stderr=null)
    os.close(null)


@pytest.mark.usefixtures("ready")
async def test_the_start_time_of_a_program_is_known_with_and_without_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    look = tree.look

    def noting(pid: int) -> tree.Member | None:
        looked_at.append(pid)
        return look(pid)

    monkeypatch.setattr(tree, "look", noting)
    known_without = False
    while not known_without:  # on a busy machine, most starts take longer than a tick
        looked_at.clear()
        async with started("sleep", "999") as run:
            known_without = run.process.pid not in looked_at
            assert (member := look(run.process.pid)) is not None
            assert run.process.start_ticks == member.started
            await run.killed()


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("clock", [lambda: 7, itertools.count().__next__], ids=["wrong", "a tick later each time"])
async def test_a_start_time_that_the_clock_does_not_tell_is_looked_up(
    clock: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "ticks_now", clock)
    for _ in range(3):
        async with started("sleep", "999") as run:
            assert (member := tree.look(run.process.pid)) is not None
            assert run.process.start_ticks == member.started
            await run.killed()


@pytest.mark.usefixtures("ready")
async def test_a_program_is_started_even_if_no_descriptor_is_left_to_learn_when(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_descriptor(pid: int) -> tree.Member | None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with contextlib.AsyncExitStack() as stack:
        with monkeypatch.context() as patched:
            patched.setattr(starting, "ticks_now", itertools.count().__next__)
            patched.setattr(tree, "look", no_descriptor)
            run = await stack.enter_async_context(started("sleep", "999"))
        assert run.process.start_ticks is None
        await run.killed()
