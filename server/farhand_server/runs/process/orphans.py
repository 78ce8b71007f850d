"""What a dead service has left running: found at the start of the next one, and ended.

A number alone proves nothing, since it may have passed to a stranger. A process belongs to a lost run where it is in
that run's cgroup; where its pid and start are the recorded ones, in the same boot; where it is in the session or group
of such a process; where it has the run's id in its environment; or where it descends from one of these.
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
from .tree import SWEEPS, Member, look, open_pidfd, run_id_of, send

ORPHAN_KILL_TIMEOUT: Final = 2.0
"""Seconds for which the end of killed processes is awaited: only one that the kernel itself holds up takes longer."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A process that was ended, and its run."""

    run: str
    pid: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """What was ended, and the ids of the runs of which nothing is left: `History.orphans_ended` takes those."""

    ended: tuple[Orphan, ...]
    clean: tuple[str, ...]


@cache
def boot_id() -> str:
    """What tells this boot from all others (proc_sys_kernel(5)): a start time counts within one boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


async def end_orphans(lost: Iterable[RunRecord], log: Logger) -> Sweep:
    """Kill every process that is left of the lost runs, wait for their ends, and log them.

    KILL at once: whoever could have asked them to end is gone, and so is everybody they could have told.
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
    """Kill all that is in a run's cgroup and remove it; False where something is left."""
    assert record.cgroup is not None
    group = RunCgroup(Path(record.cgroup), frozenset())
    # What is recorded has to be a run's own: the kill takes all that is in it.
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
    """Stop all processes of the runs, and return them with their run's id; not those in `left`.

    A process that is killed can leave a child that nothing ties to its run any more, begun after the look that found
    its parent. One that is stopped starts none (fork(2) gives way to the signal), and stays as proof of those it has.
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
            with contextlib.suppress(OSError):  # it is killed all the same, or the kill says why not
                send(member, signal.SIGSTOP)
    return stopped


def _processes_of(runs: Mapping[str, RunRecord]) -> dict[Member, str]:
    """All living processes that are proved to be a run's, with its id; never this one or those it descends from."""
    everybody = {member.pid: member for member in _all()}
    ours = set(_upwards(os.getpid(), everybody))
    leaders = {record.pid: id for id, record in runs.items() if _is_leader(everybody.get(record.pid or 0), record)}
    found: dict[int, str] = {}
    for pid, member in everybody.items():
        if pid in ours or not member.alive:
            continue
        id = leaders.get(member.session) or leaders.get(member.group) or leaders.get(pid) or run_id_of(pid)
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
    for entry in os.listdir("/proc"):  # noqa: PTH208  # a Path for each would take as long again
        if entry.isdigit() and (member := look(int(entry))) is not None:
            yield member


def _is_leader(member: Member | None, record: RunRecord) -> bool:
    # A zombie is good enough: its number names nobody else.
    return member is not None and record.boot_id is not None and member.started == record.start_ticks


def _upwards(pid: int, everybody: Mapping[int, Member]) -> Iterator[int]:
    """The process and all that it descends from."""
    while (member := everybody.get(pid)) is not None:
        yield pid
        pid = member.parent


async def _kill(members: Iterable[Member]) -> dict[Member, str]:
    """Kill these very processes and wait for their ends; return who lives on, and why."""
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
