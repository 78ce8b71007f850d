"""Information about other processes from /proc (proc(5)), and waiting for their exit with pidfd_open(2)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import resource
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

TIMEOUT = 45.0
"""Timeout, in seconds, for the exit of a process."""


def status(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def resident(pid: int) -> int:
    """Return the anonymous memory of a process in bytes: without mapped files such as libraries."""
    return int(status(pid)["RssAnon"].split()[0]) * 1024


def descriptors(pid: int) -> int:
    """Return the number of open descriptors of a process, except those that SQLite opens for the history."""
    count = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += "/history.db" not in str(fd.readlink())
    return count


def children(pid: int) -> list[int]:
    """Return the children that the main thread of a process has started, including zombies."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_line(pid: int) -> bytes:
    """Return the words of a process's command, each with a NUL at its end; empty if it has exited."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def until(condition: Callable[[], object]) -> None:
    """Wait until something is so in another process, which has no event for it."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


async def reaped(others: list[int]) -> None:
    """Wait until the running loop has handled the exit of all children of this process except `others`.

    asyncio handles it a few iterations after the pidfd becomes readable.
    """
    async with asyncio.timeout(TIMEOUT):
        while set(children(os.getpid())) - set(others):  # noqa: ASYNC110  # it waits for iterations of the loop
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)


def session_members(session: int) -> list[int]:
    """Return the pids of all processes of a session, without zombies."""
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, _, _, sid = text[text.rindex(")") + 2 :].split()[:4]
        if int(sid) == session and state not in "ZX":
            members.append(int(entry.name))
    return members


async def end_of(pid: int) -> None:
    """Wait until a process has exited; it need not be a child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        async with asyncio.timeout(TIMEOUT):
            await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def wait_for_end(pid: int) -> None:
    """Wait until a process has exited that has been killed; reap it if this process has adopted it."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ending = select.poll()
        ending.register(fd, select.POLLIN)
        assert ending.poll(TIMEOUT * 1000), f"the process {pid} lives"
    finally:
        os.close(fd)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


async def stopped(pid: int) -> None:
    """Wait until a process is stopped."""
    async with asyncio.timeout(TIMEOUT):
        while not status(pid)["State"].startswith("T"):  # noqa: ASYNC110  # only its parent is notified
            await asyncio.sleep(0.001)


async def session_is_gone(session: int) -> None:
    """Wait until all processes of a session have exited; killed processes may take a moment."""
    async with asyncio.timeout(TIMEOUT):
        while members := session_members(session):
            for pid in members:
                await end_of(pid)


def signal_set(pid_status: dict[str, str], field: str) -> set[int]:
    """Return the signals in a mask such as SigIgn, without 32 and 33, which the C library uses itself (nptl(7))."""
    mask = int(pid_status[field], 16)
    return {number for number in {*range(1, 65)} - {32, 33} if mask >> (number - 1) & 1}


def fields(text: str) -> dict[str, str]:
    """Parse the `Name: value` lines of a printed status file."""
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.M))


def own_descriptors() -> set[str]:
    """Return the open descriptors of this process, without those that garbage of earlier tests still held."""
    gc.collect()
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names are enough


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process have no free descriptor inside the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)]
    highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
