"""The end of a process group whose leader is gone already: the kernel tells of processes only, not of groups."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path


async def ended(group: int) -> None:
    """Wait until nobody is left in the process group; zombies are gone. The leader has been reaped before."""
    while _someone_in(group):
        found = False
        for pid in _members(group):
            found = True
            await _process_ended(pid, group)
        if not found:
            return


def _someone_in(group: int) -> bool:
    if Path(f"/proc/{group}").exists():
        return False  # a stranger has the number: that it is free shows that the group has ended
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # someone is there, who has become another user
    return True


def _members(group: int) -> Iterator[int]:
    # A look at all processes: some 10 µs each, and only where a stop has to wait for more than the leader.
    for entry in os.listdir("/proc"):  # noqa: PTH208  # a Path for each of them would take as long again
        if entry.isdigit() and _group_of(int(entry)) == group:
            yield int(entry)


def _group_of(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # proc_pid_stat(5): "pid (comm) state ppid pgrp …", where comm may hold anything.
    state, _, group = stat[stat.rindex(b")") + 2 :].split(maxsplit=3)[:3]
    return 0 if state in (b"Z", b"X") else int(group)


async def _process_ended(pid: int, group: int) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        # Its number may have passed to another process before the pidfd was open.
        if _group_of(pid) == group:
            loop.add_reader(fd, ended.set)
            await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
