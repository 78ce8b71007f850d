"""What /proc says about other processes (proc(5)), and their ends without polling (pidfd_open(2))."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path

PATIENCE = 20.0
"""Seconds after which a process that should end counts as one that does not."""


def status(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def resident(pid: int) -> int:
    """Memory that a process has for itself, in bytes: without what it maps of files, such as libraries."""
    return int(status(pid)["RssAnon"].split()[0]) * 1024


def descriptors(pid: int) -> int:
    """How many descriptors a process has open, without those of its history, which SQLite opens as it likes."""
    count = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += "/history.db" not in str(fd.readlink())
    return count


def children(pid: int) -> list[int]:
    """The children of a process with one thread that starts them, zombies among them."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def reaped(others: list[int]) -> None:
    """Wait until the running loop has heard of the exit of all children of this process but `others`.

    asyncio hears of it a few turns after its pidfd is readable.
    """
    async with asyncio.timeout(PATIENCE):
        while set(children(os.getpid())) - set(others):  # noqa: ASYNC110  # turns of the loop are what is waited for
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)


def session_members(session: int) -> list[int]:
    """The pids of all living processes of a session (zombies have ended)."""
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
    """Wait until a process, which need not be a child, has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


async def stopped(pid: int) -> None:
    """Wait until a process is stopped."""
    async with asyncio.timeout(PATIENCE):
        while not status(pid)["State"].startswith("T"):  # noqa: ASYNC110  # the kernel tells only its parent
            await asyncio.sleep(0.001)


async def session_is_gone(session: int) -> None:
    """Wait until nothing of a session is left: what was killed may take a moment to end."""
    async with asyncio.timeout(PATIENCE):
        while members := session_members(session):
            for pid in members:
                await end_of(pid)


def signal_set(pid_status: dict[str, str], field: str) -> set[int]:
    """The signals in a mask such as SigIgn; 32 and 33 are the C library's own (nptl(7)) and nobody's business."""
    mask = int(pid_status[field], 16)
    return {number for number in {*range(1, 65)} - {32, 33} if mask >> (number - 1) & 1}


def fields(text: str) -> dict[str, str]:
    """The `Name: value` lines in what a program has printed of a status file."""
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.M))
