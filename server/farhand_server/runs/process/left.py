"""Processes that a run has left behind when its program has ended on its own: who they are, and those that may live on.

`describe` says who they are. A `LeftTree` is what remains of a run whose processes were not killed: they belong to
nobody, but the service, if it is their parent, reaps them, and can list and signal them as long as it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Final, NamedTuple, Self

from farhand_protocol.left import MAX_PROCESS_NAMES, MAX_PROCESS_PIDS, LeftProcesses

from . import subreaper, tree
from .cgroup import Cgroups, RunCgroup
from .meter import MeterSnapshot
from .tracked import MAX_HUNG_UP, TrackedRun
from .usage import ResourceLimits

MAX_EXAMINED: Final = 256
"""Left processes that are examined for a listing, which takes about 0.1 ms for each while all clients wait."""


def describe(members: Iterable[tree.Member]) -> LeftProcesses | None:
    """Return a description of these processes while they run; None if there are none."""
    pids = sorted(member.pid for member in members)
    if not pids:
        return None
    names = dict.fromkeys(name for name in map(tree.name_of, pids) if name)
    return LeftProcesses(count=len(pids), names=tuple(names)[:MAX_PROCESS_NAMES], pids=tuple(pids[:MAX_PROCESS_PIDS]))


def stopped(
    left: LeftProcesses | None,
    members: Iterable[tree.Member],
    found: Set[tuple[int, int]],
    untouchable: Set[int],
    hung_up: Mapping[tuple[int, int], str],
) -> LeftProcesses | None:
    """Return the description of processes that were killed or hung up; None if there are none.

    `left` described the `members` before the kill. `found` are pid and start time of all processes that the kill has
    found: those that were started meanwhile are counted, and may not have been the only ones. Those that are
    `untouchable` live on. `hung_up` are those that the hang-up of the terminal has ended, see `TrackedRun`.
    """
    living = {(member.pid, member.started) for member in members if member.pid not in untouchable}
    ended = living | hung_up.keys()
    if not ended:
        return None
    later = {each for each in found if each[0] not in untouchable} - ended if living else set()
    names = dict.fromkeys(left.names if left is not None and living else ())
    names |= dict.fromkeys(name for name in hung_up.values() if name)
    return LeftProcesses(
        count=len(ended | later),
        names=tuple(names)[:MAX_PROCESS_NAMES],
        at_least=bool(later) or len(hung_up) == MAX_HUNG_UP,
        stopped=True,
    )


def others(run: TrackedRun, cgroup: RunCgroup | None, limit: int | None = None) -> list[tree.Member]:
    """Return the processes of a run that are alive, except its leader and those that are about to end.

    With `limit`, not more than that many are examined. Raises OSError if no descriptor is left for examining them.
    """
    found = {member.pid: member for member in run.tree.members(limit)}
    if cgroup is not None:
        for pid in cgroup.members():
            if len(found) == limit:
                break
            member = tree.look(pid) if pid and pid not in found else None  # 0: a process in another pid namespace
            if member is not None and member.alive:
                found[pid] = member
    leader = None if run.tree.reaped else run.tree.leader
    return [member for pid, member in found.items() if pid != leader and not tree.is_exiting(pid)]


class LeftTreeSnapshot(NamedTuple):
    """The state of a `LeftTree`: what identifies its processes."""

    leader: int
    mark: int
    run_id: str | None
    in_cgroup: bool


class LeftTree:
    """The processes that a run has left running. `on_end` is called when the last of them has ended."""

    def __init__(self, tracked: TrackedRun, cgroup: RunCgroup | None) -> None:
        self.on_end: Callable[[], None] | None = None
        self._tracked = tracked
        self._cgroup = cgroup
        self._subreaper = subreaper.current()
        self._stopping: asyncio.Task[None] | None = None
        self._kill_at = 0.0
        self._grace: asyncio.Timeout | None = None
        self._subreaper.release(tracked, self._ended)

    @classmethod
    def restore(cls, snapshot: LeftTreeSnapshot, cgroups: Cgroups | None) -> Self:
        """Return the processes recorded in a snapshot, in the program that replaces the one that took it."""
        tracked = subreaper.current().adopt_rest(
            snapshot.leader, snapshot.mark, snapshot.run_id, 0, MeterSnapshot(0.0, 0.0, 0, 0)
        )
        cgroup = None
        if snapshot.in_cgroup and cgroups is not None and snapshot.run_id is not None:
            cgroup = cgroups.open(snapshot.run_id, ResourceLimits())
        return cls(tracked, cgroup)

    def snapshot(self) -> LeftTreeSnapshot:
        """Return the state for `restore`."""
        tracked = self._tracked
        return LeftTreeSnapshot(tracked.tree.leader, tracked.mark, tracked.run_id, self._cgroup is not None)

    def describe(self) -> LeftProcesses | None:
        """Return a description of the processes that are alive now; None if there are none or they cannot be found.

        Where there are more than `MAX_EXAMINED`, some of them are described.
        """
        try:
            # One more tells that there are more.
            members = others(self._tracked, self._cgroup, MAX_EXAMINED + 1)
        except OSError:
            return None
        found = describe(members[:MAX_EXAMINED])
        more = len(members) > MAX_EXAMINED
        return found.model_copy(update={"at_least": True}) if found is not None and more else found

    def signal(self, number: int) -> bool:
        """Send a signal to every process. Return whether there was any that could receive it."""
        received = False
        with contextlib.suppress(OSError):
            for member in others(self._tracked, self._cgroup):
                with contextlib.suppress(PermissionError):
                    tree.send(member, number)
                    received = True
        return received

    def stop(self, number: int, kill_after: float) -> asyncio.Task[None]:
        """Send a signal to every process, and return the task, which is never cancelled, that kills those that are
        alive after `kill_after` seconds, and ends when all have ended.

        A process that may not be signalled, or waits for a device, is not waited for longer than that and a second.
        All calls share a task. The one whose time is over first counts.
        """
        self.signal(number)
        if number != signal.SIGKILL:
            self.signal(signal.SIGCONT)  # a stopped process acts on the signal only once it continues
        kill_at = asyncio.get_running_loop().time() + (0.0 if number == signal.SIGKILL else kill_after)
        if self._stopping is None or self._stopping.done():
            # Each task holds a descriptor, and a client may call again and again.
            self._kill_at = kill_at
            self._stopping = asyncio.create_task(self._stop())
        elif kill_at < self._kill_at:
            self._kill_at = kill_at
            if self._grace is not None and not self._grace.expired():
                self._grace.reschedule(kill_at)
        return self._stopping

    async def _stop(self) -> None:
        if await self._wait(self._kill_at):
            return
        if self._cgroup is not None:
            self._cgroup.kill()
        self._tracked.tree.kill()
        await self._wait(asyncio.get_running_loop().time() + 1.0)

    async def _wait(self, until: float) -> bool:
        try:
            async with asyncio.timeout_at(until) as self._grace:
                if self._cgroup is not None:
                    await self._cgroup.ended(self._subreaper.census)
                await self._tracked.tree.ended()
                self._subreaper.reap()
                return True
        except (TimeoutError, OSError):
            return False
        finally:
            self._grace = None

    def _ended(self) -> None:
        # Not before: waiting for the end of a cgroup takes two descriptors, and there may be any number of such runs.
        if self._cgroup is not None:
            self._subreaper.spawn(self._cgroup.remove_at_end(self._subreaper.census))
        if self.on_end is not None:
            self.on_end()
