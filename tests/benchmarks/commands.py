"""The workloads of short commands: whole client processes, many on one connection, and one on each of many hosts."""

from __future__ import annotations

import shlex
from functools import partial
from typing import Final

from .clients import Clients
from .workload import (
    ASYNCSSH,
    DROPBEAR,
    FARHAND,
    FARHAND_DIRECT,
    FARHAND_HELPER,
    FARHAND_PYTHON_FRONT,
    OPENSSH,
    OPENSSH_MASTER,
    OPENSSH_NO_NAGLE,
    Goal,
    Sample,
    Sizes,
    Workload,
)

SLOW: Final = frozenset({OPENSSH, ASYNCSSH, DROPBEAR})
"""Contestants of which fewer processes are measured: they take 0.1 s and more."""


class Commands:
    """Workloads of which each command is `true` or `hostname`."""

    def __init__(self, clients: Clients, sizes: Sizes) -> None:
        self._clients = clients
        self._sizes = sizes

    def workloads(self) -> list[Workload]:
        """Return all of them, in the order of the table."""
        return [
            self._processes(),
            *(self._in_flight(level) for level in self._sizes.levels),
            self._hosts("connect and run", Goal(FARHAND, 2, ASYNCSSH)),
            self._hosts("warm", Goal(FARHAND, 3, ASYNCSSH)),
            self._connections(),
        ]

    def _processes(self) -> Workload:
        async def each(contestant: str, command: tuple[str, ...]) -> Sample:
            count = max(1, self._sizes.processes // 4 if contestant in SLOW else self._sizes.processes)
            line = shlex.join((*command, "true"))
            if contestant in (FARHAND_HELPER, FARHAND_PYTHON_FRONT):
                await self._clients.warm(command)
            seconds, cpu = await self._clients.whole("sh", "-ec", f"for i in $(seq {count}); do {line}; done")
            return Sample(1000 * seconds / count, {"client": cpu / count})

        return Workload(
            "`true` from a shell's loop, whole client process",
            "ms",
            False,
            {name: partial(each, name, command) for name, command in self._clients.commands().items()},
            [
                Goal(FARHAND_DIRECT, 2, OPENSSH),
                Goal(FARHAND_DIRECT, 1, OPENSSH_NO_NAGLE),
                Goal(FARHAND_HELPER, 1 / 0.8, OPENSSH_MASTER),
                Goal(FARHAND_PYTHON_FRONT, 1 / 1.2, OPENSSH_MASTER),
            ],
            digits=1,
        )

    def _in_flight(self, level: int) -> Workload:
        count = max(self._sizes.commands, level)

        def per_second(seconds: float) -> float:
            return count / seconds

        # A process for each command is slow, so only a tenth of the commands is run.
        few = max(count // 10, level)

        async def by_master() -> Sample:
            ssh = " ".join((*self._clients.mux, "true"))
            script = f"seq {few} | xargs -P{level} -I@ {ssh}" if level > 1 else f"for i in $(seq {few}); do {ssh}; done"
            seconds, cpu = await self._clients.whole("sh", "-ec", script)
            return Sample(few / seconds, {"client": cpu * count / few})

        return Workload(
            f"`true`, {level} in flight on one connection",
            "per second",
            True,
            {
                FARHAND: lambda: self._clients.api(per_second, "farhand", "runs", str(count), str(level)),
                ASYNCSSH: lambda: self._clients.api(per_second, "asyncssh", "runs", str(count), str(level)),
                OPENSSH_MASTER: by_master,
            },
            [Goal(FARHAND, 1.7, ASYNCSSH), Goal(FARHAND, 4, OPENSSH_MASTER)],
            count,
        )

    def _hosts(self, what: str, goal: Goal) -> Workload:
        count = self._sizes.hosts
        kind = "hosts" if what == "warm" else "cold-hosts"

        return Workload(
            f"`hostname` on {count} connections, {what}",
            "ms",
            False,
            {
                FARHAND: lambda: self._clients.api(lambda seconds: 1000 * seconds, "farhand", kind, str(count)),
                ASYNCSSH: lambda: self._clients.api(lambda seconds: 1000 * seconds, "asyncssh", kind, str(count)),
            },
            [goal],
            count,
        )

    def _connections(self) -> Workload:
        count = self._sizes.hosts * 4

        def per_second(seconds: float) -> float:
            return count / seconds

        return Workload(
            "connections with login, 16 at a time",
            "per second",
            True,
            {
                FARHAND: lambda: self._clients.api(per_second, "farhand", "connections", str(count), "16"),
                ASYNCSSH: lambda: self._clients.api(per_second, "asyncssh", "connections", str(count), "16"),
            },
            [Goal(FARHAND, 400)],
            count,
            "login",
        )
