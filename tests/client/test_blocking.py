"""Calls that block hold up neither the event loop nor the end of the process, and their number is bounded."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from farhand_client import ConnectError, blocking
from farhand_client.blocking import run_blocking

TIMEOUT = 20.0


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Ends the calls that wait for it."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_call_returns_or_raises_what_its_function_does() -> None:
    assert await run_blocking(int, "12", base=8) == 10
    with pytest.raises(ValueError, match="invalid literal"):
        await run_blocking(int, "x")


async def test_the_loop_runs_while_a_call_blocks(release: threading.Event) -> None:
    waiting = asyncio.create_task(run_blocking(release.wait, TIMEOUT))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    release.set()
    assert await waiting


async def test_a_call_that_was_given_up_does_not_disturb_when_it_returns(release: threading.Event) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await run_blocking(release.wait, TIMEOUT)
    release.set()
    assert await run_blocking(int, "1") == 1


async def test_too_many_calls_that_hang_are_an_error(release: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "_blocked", threading.BoundedSemaphore(1))
    waiting = asyncio.create_task(run_blocking(release.wait, TIMEOUT))
    await asyncio.sleep(0)
    with pytest.raises(ConnectError, match="earlier name look-ups and file accesses of this process still hang"):
        await run_blocking(int, "1")
    release.set()
    assert await waiting
    assert await run_blocking(int, "1") == 1


async def test_without_threads_the_call_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert await run_blocking(int, "1") == 1


PROGRAM = """
import asyncio, threading
from farhand_client.blocking import run_blocking

async def main():
    async with asyncio.timeout(0.01):
        await run_blocking(threading.Event().wait)

try:
    asyncio.run(main())
except TimeoutError:
    print("given up")
"""


def test_the_end_of_the_process_does_not_wait_for_a_call_that_hangs() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "given up\n", "")
