"""Ends processes that a dead service has left running, when the next service starts.

A pid alone proves nothing, because it may have been reused. A process belongs to a lost run if it is in that run's
cgroup; if its pid and start time are the recorded ones, in the same boot; if it is in the session or process group of
such a process; if it has the run's id in its environment, or its mark (see `subreaper`), in the same boot; or if it
descends from one of these. A mark alone is trusted although anybody may set it, because only a process that has copied
the number from one of the run's processes can have it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from farhand_server.history.records import RunRecord
from farhand_server.logs import Logger

from .cgroup import RunCgroup
from .tree import SWEEPS, Member, look, mark_of, open_pidfd, run_id_of, send

ORPHAN_KILL_TIMEOUT: Final = 2.0
"""Seconds to wait for killed processes to end. Only a process that the kernel itself delays takes longer."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A process that was killed, and the run to which it belonged."""

    run: str
    pid: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """The processes that were killed, and the ids of the runs that have no process left."""

    ended: tuple[Orphan, ...]
    clean: tuple[str, ...]


@cache
def boot_id() -> str:
    """Return the id of this boot (proc_sys_kernel(5)). Start times in ticks can only be compared within one boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


async def end_orphans(lost: Iterable[RunRecord], log: Logger) -> Sweep:
    """Kill every process that is left of the lost runs, wait until they have ended, and log them.

    They receive KILL at once, because the service that could have granted a grace period is gone, and so are its
    clients.
    """
    runs = {record.id: record for record in lost}
    here = {id: record for id, record in runs.items() if record.boot_id in (None, boot_id())}
    ended: list[Orphan] = []
    left: dict[tuple[int, int], str] = {}
    for record in here.values():
        if record.cgroup is not None and not await _end_cgroup(record, ended):
            left[0, len(left)] = record.id
            log.error("cgroup of a lost run could not be emptied", run=record.id, cgroup=record.cgroup)
    for _ in range(SWEEPS if here else 0):
        found = _stop_processes(here, left)
        if not found:
            break
        alive = await _kill(found)
        ended += [Orphan(id, member.pid) for member, id in found.items() if member not in alive]
        for member, reason in alive.items():
            left[member.pid, member.started] = found[member]
            log.error("process of a lost run could not be ended", run=found[member], pid=member.pid, reason=reason)
    for id in here:
        pids = [orphan.pid for orphan in ended if orphan.run == id]
        if pids:
            log.warning("processes of a lost run ended", run=id, count=len(pids), pids=" ".join(map(str, pids)))
    return Sweep(tuple(ended), tuple(id for id in runs if id not in left.values()))


async def _end_cgroup(record: RunRecord, ended: list[Orphan]) -> bool:
    """Kill all processes in a run's cgroup and remove it. Return False if a process is left."""
    assert record.cgroup is not None
    group = RunCgroup(Path(record.cgroup), frozenset())
    # Make sure that the recorded cgroup is that of the run, because everything in it is killed.
    if group.run_id != record.id or not group.path.is_dir():
        return True
    try:
        pids = [pid for pid in group.members() if pid != 0]
        group.kill()
        async with asyncio.timeout(ORPHAN_KILL_TIMEOUT):
            await group.ended()
    except (OSError, TimeoutError):
        return False
    ended += [Orphan(record.id, pid) for pid in pids]
    return group.remove()


def _stop_processes(runs: Mapping[str, RunRecord], left: Container[tuple[int, int]]) -> dict[Member, str]:
    """Send STOP to all processes of the runs except those in `left`, and return them with the ids of their runs.

    A killed process can leave a child that nothing connects with the run any more, if it started the child after the
    pass that found the parent. A stopped process starts no children (fork(2) is interrupted by the signal), and still
    shows to whom its children belong.
    """
    stopped: dict[Member, str] = {}
    seen: set[tuple[int, int]] = set()
    for _ in range(SWEEPS):
        found = {
            member: id
            for member, id in _processes_of(runs).items()
            if (member.pid, member.started) not in seen and (member.pid, member.started) not in left
        }
        if not found:
            break
        for member, id in found.items():
            seen.add((member.pid, member.started))
            stopped[member] = id
            with contextlib.suppress(OSError):  # the process is killed anyway, or the kill reports why it cannot be
                send(member, signal.SIGSTOP)
    return stopped


def _processes_of(runs: Mapping[str, RunRecord]) -> dict[Member, str]:
    """Return all living processes that belong to a run, with its id, except this one and its ancestors."""
    everybody = {member.pid: member for member in _all()}
    ours = set(_upwards(os.getpid(), everybody))
    leaders = {record.pid: id for id, record in runs.items() if _is_leader(everybody.get(record.pid or 0), record)}
    marks = {record.mark: id for id, record in runs.items() if record.mark and record.boot_id is not None}
    found: dict[int, str] = {}
    for pid, member in everybody.items():
        if pid in ours or not member.alive:
            continue
        id = leaders.get(member.session) or leaders.get(member.group) or leaders.get(pid) or run_id_of(pid)
        if id is None and marks:
            id = marks.get(mark_of(pid))
        if id is not None and id in runs:
            found[pid] = id
    for pid, member in everybody.items():
        if member.alive and pid not in ours:
            for ancestor in _upwards(pid, everybody):
                if ancestor in found:
                    found.setdefault(pid, found[ancestor])
                    break
    return {everybody[pid]: id for pid, id in found.items()}


def _all() -> Iterator[Member]:
    for entry in os.listdir("/proc"):  # noqa: PTH208  # a Path for each entry would double the time
        if entry.isdigit() and (member := look(int(entry))) is not None:
            yield member


def _is_leader(member: Member | None, record: RunRecord) -> bool:
    # A zombie counts, too: its pid has not been reused.
    return member is not None and record.boot_id is not None and member.started == record.start_ticks


def _upwards(pid: int, everybody: Mapping[int, Member]) -> Iterator[int]:
    """Yield the pids of the process and of all its ancestors."""
    while (member := everybody.get(pid)) is not None:
        yield pid
        pid = member.parent


async def _kill(members: Iterable[Member]) -> dict[Member, str]:
    """Kill exactly these processes and wait until they have ended. Return those that still live, and why."""
    alive: dict[Member, str] = {}
    waiting: dict[int, Member] = {}
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def gone(fd: int) -> None:
        loop.remove_reader(fd)
        os.close(fd)
        del waiting[fd]
        if not waiting:
            done.set()

    for member in members:
        try:
            fd = open_pidfd(member)
        except OSError as error:
            alive[member] = str(error.strerror)
            continue
        if fd is None:
            continue
        try:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        except ProcessLookupError:
            os.close(fd)
        except PermissionError as error:
            os.close(fd)
            alive[member] = str(error.strerror)
        else:
            waiting[fd] = member
            loop.add_reader(fd, gone, fd)
    try:
        async with asyncio.timeout(ORPHAN_KILL_TIMEOUT):
            if waiting:
                await done.wait()
    except TimeoutError:
        alive.update(dict.fromkeys(waiting.values(), "it has not ended"))
    finally:
        for fd in list(waiting):
            gone(fd)
    return alive
