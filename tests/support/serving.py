"""A fake service in a thread of its own, for tests that block theirs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.fake_service import Behaviour, FakeService


class ServiceThread(FakeService):
    """A fake service and the event loop of its thread."""

    def __init__(self, behave: Behaviour) -> None:
        super().__init__(behave)
        self.loop = asyncio.new_event_loop()

    def wait_until_closed(self) -> None:
        """Wait until the first client's connection is closed."""
        asyncio.run_coroutine_threadsafe(self.connections[0].closed.wait(), self.loop).result(30)


@contextmanager
def serving(directory: Path, behave: Behaviour) -> Iterator[ServiceThread]:
    """Run a fake service that listens on a socket in `directory`."""
    service = ServiceThread(behave)
    ready, finished = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with service.on_socket(directory):
            ready.set()
            await finished.wait()

    thread = threading.Thread(target=lambda: service.loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(60)
    try:
        yield service
    finally:
        service.loop.call_soon_threadsafe(finished.set)
        thread.join()
        service.loop.close()
