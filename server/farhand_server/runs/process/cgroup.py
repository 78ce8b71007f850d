"""A cgroup for each run, if the system has delegated cgroups v2 to the service (cgroups(7), "Delegation").

systemd delegates with `Delegate=yes` and marks the cgroup with an extended attribute. Without systemd, a cgroup belongs
to whoever may write to it. Below the service's own cgroup, `farhand-PID-START/core` contains the service itself,
because a cgroup with controllers must not contain processes, and `farhand-PID-START/run-ID` contains one run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from farhand_server.descriptors import EXHAUSTED, reserve

from . import tree
from .usage import ResourceLimits, ResourceUsage

CONTROLLERS: Final = ("memory", "pids", "cpu")
"""The controllers used: limit and peak of memory, number of processes, fair shares of processor time."""

_DELEGATED: Final = ("user.delegate", "trusted.delegate")
"""Attributes that systemd sets to 1: the first exists since version 251; only root can read the second."""


MAX_DEAD_HOMES: Final = 32
"""Parts of dead services that one start removes. The kernel takes up to 3 ms for each; the next start continues."""

_HOME: Final = re.compile(r"farhand-([0-9]+)-([0-9]+)")


class Cgroups:
    """The service's part of the cgroup tree."""

    def __init__(self, home: Path, controllers: frozenset[str]) -> None:
        self.home = home
        self.controllers = controllers
        """The subset of `CONTROLLERS` that is enabled for runs."""

    @classmethod
    def find(cls) -> Cgroups | None:
        """Set up our part of the tree and move this process there; return None if no cgroup is delegated to us.

        After an execve of the service, it finds the same part again.
        """
        own = own_cgroup(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
        myself = tree.look(os.getpid())
        if own is None or myself is None:
            return None
        name = f"farhand-{myself.pid}-{myself.started}"  # as in _HOME
        if own.name == "core" and own.parent.name == name:
            return cls(own.parent, _enabled(own.parent))
        if not delegated(own):
            return None
        home = own / name
        remove_dead_homes(own)
        try:
            (home / "core").mkdir(parents=True, exist_ok=True)
            (home / "core" / "cgroup.procs").write_text("0")
        except OSError:
            _remove_all(home)
            return None
        for directory in (own, home):
            _enable(directory)
        return cls(home, _enabled(home))

    def create(self, run_id: str, limits: ResourceLimits) -> RunCgroup | None:
        """Create the cgroup of a run with its limits. Return None if the kernel refuses; the run then has no cgroup."""
        path = self.home / f"run-{run_id}"
        enforces = set()
        try:
            path.mkdir()
            if limits.memory is not None and "memory" in self.controllers:
                (path / "memory.max").write_text(str(limits.memory))
                # The first file exists only with swap accounting. The second makes the kernel kill a run as a whole
                # when it runs out of memory.
                for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
                    if (path / name).exists():
                        (path / name).write_text(value)
                enforces.add("memory")
            if limits.processes is not None and "pids" in self.controllers:
                (path / "pids.max").write_text(str(limits.processes))
                enforces.add("processes")
        except OSError:
            with contextlib.suppress(OSError):
                path.rmdir()
            return None
        return RunCgroup(path, frozenset(enforces))

    def open(self, run_id: str, limits: ResourceLimits) -> RunCgroup | None:
        """Return the cgroup of a run that was started before an execve of the service; None if it has none."""
        path = self.home / f"run-{run_id}"
        if not path.is_dir():
            return None
        bounds = {"memory": (limits.memory, "memory"), "processes": (limits.processes, "pids")}
        enforced = (name for name, (bound, by) in bounds.items() if bound is not None and by in self.controllers)
        return RunCgroup(path, frozenset(enforced))

    def close(self) -> None:
        """Leave our part of the tree and remove it, except for cgroups that still contain a process.

        Where controllers are enabled next to us, we cannot leave it (cgroups(7), "no internal processes"). Then the
        next service removes it, or systemd.
        """
        own = self.home.parent
        if [entry.name for entry in os.scandir(own) if entry.is_dir()] == [self.home.name]:
            for directory in (self.home, own):
                for name in self.controllers:
                    with contextlib.suppress(OSError):
                        (directory / "cgroup.subtree_control").write_text(f"-{name}")
        with contextlib.suppress(OSError):
            (own / "cgroup.procs").write_text("0")
        _remove_all(self.home)


@dataclass(frozen=True, slots=True)
class RunCgroup:
    """The cgroup of one run. `enforces` names the fields of `ResourceLimits` that it enforces for the whole tree."""

    path: Path
    enforces: frozenset[str]

    @property
    def run_id(self) -> str:
        """The run's id, from its name."""
        return self.path.name.removeprefix("run-")

    def others(self, limits: ResourceLimits) -> ResourceLimits:
        """Return the subset of `limits` that rlimits must enforce."""
        return replace(limits, **dict.fromkeys(self.enforces))

    def members(self) -> list[int]:
        """Return the pids in this cgroup and below it, where a program may create its own cgroups."""
        found = []
        for directory in _directories(self.path):
            found += [int(pid) for pid in tree.read(f"{directory}/cgroup.procs").split()]
        return found

    def terminate(self, of: tree.Tree) -> None:
        """Send TERM, then CONT, to members outside of the tree `of` the run, such as another subreaper's children."""
        told = {member.pid for member in of.members()}
        for pid in self.members():
            member = tree.look(pid) if pid and pid not in told else None  # 0: a process in another pid namespace
            if member is not None:
                with contextlib.suppress(PermissionError):
                    tree.send(member, signal.SIGTERM)
                    tree.send(member, signal.SIGCONT)

    def kill(self) -> None:
        """Kill all members at once, whichever user they run as (cgroup.kill, Linux 5.14), or one by one on older
        kernels."""
        try:
            reserve.spend((self.path / "cgroup.kill").write_text, "1")
        except FileNotFoundError:
            for pid in self.members():
                if (member := tree.look(pid)) is not None:
                    with contextlib.suppress(PermissionError):
                        tree.send(member, signal.SIGKILL)

    async def ended(self, census: tree.Census | None = None) -> None:
        """Wait until no process is left in or below this cgroup. Zombies do not count.

        If no descriptors are left to wait with, wait for the children in `census` to end. Raises OSError without one.
        """
        with contextlib.ExitStack() as opened:
            try:
                fd = os.open(self.path / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
                opened.callback(os.close, fd)
                epoll = opened.enter_context(select.epoll())
            except FileNotFoundError:
                return
            except OSError as error:
                opened.close()
                if error.errno not in EXHAUSTED or census is None:
                    raise
                await self._ended_without_descriptors(census)
                return
            loop = asyncio.get_running_loop()
            changed = asyncio.Event()
            # A change is reported by POLLPRI, for which asyncio does not poll. An epoll descriptor that does so becomes
            # readable.
            epoll.register(fd, select.EPOLLPRI)
            loop.add_reader(epoll.fileno(), changed.set)
            opened.callback(loop.remove_reader, epoll.fileno())
            # Reading acknowledges a change, so no change between two reads is lost.
            while b"populated 1" in os.pread(fd, 4096, 0):
                await changed.wait()
                changed.clear()

    async def _ended_without_descriptors(self, census: tree.Census) -> None:
        while True:
            next_end = census.next_end()
            if b"populated 1" not in tree.read(f"{self.path}/cgroup.events"):
                return
            await next_end

    def usage(self, counted: ResourceUsage) -> ResourceUsage:
        """Return what all processes that were ever in this cgroup have used. Values that it does not know come from
        `counted`."""
        cpu = self._numbers("cpu.stat")
        peak = tree.read(f"{self.path}/memory.peak").strip()  # since Linux 5.19
        if "user_usec" not in cpu:
            return counted
        return ResourceUsage(
            cpu["user_usec"] / 1e6, cpu["system_usec"] / 1e6, int(peak) if peak.isdigit() else counted.peak_memory
        )

    def oom_killed(self) -> bool:
        """Return whether the kernel has killed a process of this cgroup for lack of memory."""
        return self._numbers("memory.events").get("oom_kill", 0) > 0

    def remove(self) -> bool:
        """Remove this cgroup. Return False if a process is left in it."""
        return _remove_all(self.path)

    async def remove_at_end(self, census: tree.Census) -> None:
        """Remove this cgroup as soon as no process is left in it. `census` is that of `ended`."""
        await self.ended(census)
        self.remove()

    def _numbers(self, name: str) -> dict[str, int]:
        lines = tree.read(f"{self.path}/{name}").decode().splitlines()
        return {key: int(value) for key, _, value in (line.partition(" ") for line in lines)}


def own_cgroup(cgroup: str, mountinfo: str) -> Path | None:
    """Return the directory of our cgroup v2, from /proc/self/cgroup (cgroups(7)) and /proc/self/mountinfo (proc(5)).

    Return None if there is no v2 hierarchy, or if our cgroup is outside of the part that is mounted here.
    """
    mine = next((line[3:] for line in cgroup.splitlines() if line.startswith("0::")), None)
    if mine is None or mine.startswith("/.."):
        return None
    for line in mountinfo.splitlines():
        mount, _, rest = line.partition(" - ")
        if rest.split(" ")[0] != "cgroup2":
            continue
        root, point = (_unescape(field) for field in mount.split(" ")[3:5])
        below = os.path.relpath(mine, root)
        if not below.startswith(".."):
            return Path(point) / below
    return None


def delegated(directory: Path) -> bool:
    """Return whether we may create cgroups in this one: we can write there and, if systemd runs, systemd has delegated
    it."""
    needed = (directory, directory / "cgroup.procs", directory / "cgroup.subtree_control")
    if not all(os.access(path, os.W_OK) for path in needed):
        return False
    if not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        return True
    for name in _DELEGATED:
        with contextlib.suppress(OSError):
            if os.getxattr(directory, name) == b"1":
                return True
    return False


def remove_dead_homes(own: Path) -> None:
    """Remove what dead services have left in this cgroup, except for cgroups that contain a process: a program may have
    left it behind."""
    homes = [entry for entry in os.scandir(own) if _HOME.fullmatch(entry.name)]
    for home in homes[:MAX_DEAD_HOMES]:
        found = _HOME.fullmatch(home.name)
        assert found is not None
        service = tree.look(int(found[1]))
        # A service in another pid namespace is not seen, but is in its cgroup.
        if (service is None or service.started != int(found[2])) and not tree.read(f"{home.path}/core/cgroup.procs"):
            _remove_all(Path(home.path))


def _enable(directory: Path) -> None:
    available = tree.read(f"{directory}/cgroup.controllers").decode().split()
    for name in CONTROLLERS:
        if name in available:
            # EBUSY if it contains processes of others: we do without the controller.
            with contextlib.suppress(OSError):
                (directory / "cgroup.subtree_control").write_text(f"+{name}")


def _enabled(directory: Path) -> frozenset[str]:
    return frozenset(tree.read(f"{directory}/cgroup.subtree_control").decode().split()) & frozenset(CONTROLLERS)


def _remove_all(directory: Path) -> bool:
    """Remove a cgroup and all cgroups below it, except those that contain a process. Return whether that is all."""
    empty = True
    try:
        directories = _directories(directory)
    except OSError:
        return False  # no descriptor is left to look into them
    for path in reversed(directories):
        try:
            os.rmdir(path)  # noqa: PTH106  # os.walk yields strings
        except FileNotFoundError:
            pass
        except OSError:
            empty = False
    return empty


def _directories(top: Path) -> list[str]:
    """Return a cgroup and all cgroups below it, each before those in it. Raises OSError if no descriptor is left."""
    return reserve.spend(lambda: [path for path, _, _ in os.walk(top, onerror=_raise_if_exhausted)])


def _raise_if_exhausted(error: OSError) -> None:
    if error.errno in EXHAUSTED:
        raise error


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
