"""A socket that is removed is listened on again by itself, and what prevents that is logged once."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_server.listen import keeper
from farhand_server.listen.keeper import SocketKeeper
from farhand_server.listen.unix import ListenError, SocketAccess, UnixListener, bind_unix
from tests.support.client import TIMEOUT
from tests.support.history import LogFile
from tests.support.unix_listeners import accepting

RESTORED = 'level=warning msg="socket was removed or replaced; listening again" socket='
FAILED = 'level=error msg="socket was removed or replaced; no client can connect" reason='


class Kept:
    """Two listeners in DIRECTORY/run and their keeper."""

    def __init__(self, directory: Path) -> None:
        self.run = directory / "run"
        self.log = LogFile(directory)
        self.listeners = [UnixListener(self.run / name, accepting([])) for name in ("local", "edges")]
        self._changed = asyncio.Event()
        self.keeper = SocketKeeper(self.listeners, self.log.logger, self._changed.set)

    async def logged(self, text: str, count: int) -> None:
        """Wait until the log has `count` lines with the text."""
        while (found := str(self.log).count(text)) < count:  # noqa: ASYNC110  # a growing file has no event
            await asyncio.sleep(0)
        assert found == count

    async def restored(self, count: int = 1) -> None:
        """Wait until sockets were restored `count` times, and check that clients can connect to both."""
        await self.logged(RESTORED, count)
        assert all(listener.intact for listener in self.listeners)

    async def changed(self) -> None:
        """Wait until the keeper reports that the faults are others."""
        await self._changed.wait()
        self._changed.clear()


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    one = Kept(tmp_path)
    for listener in one.listeners:
        await listener.open()
    one.keeper.start()
    async with asyncio.timeout(TIMEOUT):
        yield one
    await one.keeper.stop()
    await one.keeper.stop()
    for listener in one.listeners:
        listener.close()
    one.log.close()


async def watching(kept: Kept) -> None:
    """Wait until the keeper has checked once and watches."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_removed_sockets_are_listened_on_again(kept: Kept) -> None:
    await watching(kept)
    for number in (1, 2):
        shutil.rmtree(kept.run)
        await kept.restored(2 * number)
    for listener in kept.listeners:
        _, writer = await asyncio.open_unix_connection(listener.path)
        writer.close()


async def test_only_the_removed_socket_is_made_again(kept: Kept) -> None:
    await watching(kept)
    local, edges = kept.listeners
    descriptor = local.fileno()
    edges.path.unlink()
    await kept.restored()
    assert local.fileno() == descriptor
    assert f"{RESTORED}{edges.path}" in str(kept.log)


async def test_what_is_in_the_way_is_logged_once_and_then_awaited(kept: Kept) -> None:
    await watching(kept)
    local = kept.listeners[0]
    local.path.unlink()
    local.path.mkdir()
    await kept.changed()
    assert len(kept.keeper.faults) == 1
    assert "a file that is not a socket exists there" in kept.keeper.faults[0]
    await kept.keeper.check()
    assert str(kept.log).count(FAILED) == 1
    local.path.rmdir()
    await kept.restored()
    await kept.changed()
    assert not kept.keeper.faults


async def test_the_path_of_a_service_that_took_it_is_taken_back_when_that_removes_its_socket(kept: Kept) -> None:
    local = kept.listeners[0]
    local.path.unlink()
    with bind_unix(local.path, SocketAccess(0o600)) as other:
        await kept.changed()
        assert "a service is already listening there" in kept.keeper.faults[0]
        other.accept()[0].close()  # one attempt
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
        local.path.unlink()
    await kept.restored()
    await kept.changed()


async def test_a_fault_that_ends_without_an_event_is_tried_again(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "RESTORE_RETRY_DELAY", 0.01)
    local, restore = kept.listeners[0], UnixListener.restore
    attempts = 0

    async def fail_twice(listener: UnixListener) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ListenError("no space left on device")
        await restore(listener)

    monkeypatch.setattr(UnixListener, "restore", fail_twice)
    await watching(kept)
    local.path.unlink()
    await kept.restored()
    assert attempts == 3
    assert str(kept.log).count(FAILED) == 1


async def test_a_requested_check_reports_again_what_is_in_the_way(kept: Kept) -> None:
    local = kept.listeners[0]
    local.path.unlink()
    local.path.mkdir()
    await kept.changed()
    kept.keeper.check_soon()
    await kept.logged(FAILED, 2)
    local.path.rmdir()


async def test_a_stopped_keeper_leaves_a_removed_socket_alone(kept: Kept) -> None:
    await watching(kept)
    await kept.keeper.stop()
    kept.listeners[0].path.unlink()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not kept.listeners[0].path.exists()
