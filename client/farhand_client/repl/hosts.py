"""The hosts of a REPL: those it has connected to, and those that lines are sent to now.

A `ReplHost` holds what belongs to one host: its connection, the state that lasts from line to line, and its jobs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from farhand_client.errors import FarhandError, RequestRefused
from farhand_client.options import RunOptions
from farhand_client.ui.interrupts import LEAVE_TIMEOUT
from farhand_client.ui.printing import print_message
from farhand_protocol.limits import KiB

from .host_connection import Connect, HostConnection
from .host_shell import Carrying, HostShell
from .jobs import Jobs
from .shell_state import BRANCH_SCRIPT, ShellState, parse_branch

MAX_ACTIVE_HOSTS: Final = 32
"""Hosts at once: more labels than anybody can follow; for hundreds of hosts there is the Python API."""

BRANCH_TIMEOUT: Final = 3.0
"""Seconds after which an answer about the branch comes too late to be useful."""

MAX_HEAD: Final = 1 * KiB
"""Bytes of a branch's name that are read: four times the maximum (NAME_MAX is 255)."""


class Hosts:
    """All hosts by name in `known`; lines are sent to those in `active`, at least one, in the order they were added.

    `opener` returns the function that connects to the host of a given name.
    """

    def __init__(self, opener: Callable[[str], Connect], first: str, carrying: Carrying = "prompt") -> None:
        self._opener = opener
        self._carrying = carrying
        self._on_change: Callable[[], None] = lambda: None
        self.known: Final[dict[str, ReplHost]] = {}
        self.active: list[ReplHost] = [self._new_host(first)]

    def when_changed(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` when what the prompt shows of a host changes without a command."""
        self._on_change = on_change

    async def switch(self, name: str) -> None:
        """Send lines to this host only; connect to it if necessary. Raises what `HostConnection.connect` raises."""
        self.active = [await self._connected(name)]

    async def add(self, name: str) -> None:
        """Send lines to one more host.

        Raises what `HostConnection.connect` raises, and ValueError if there are too many hosts.
        """
        if len(self.active) == MAX_ACTIVE_HOSTS:
            raise ValueError(f"lines are sent to {MAX_ACTIVE_HOSTS} hosts already; :host -NAME removes one")
        host = await self._connected(name)
        if host not in self.active:
            self.active.append(host)

    async def remove(self, name: str) -> list[str]:
        """Close the connection to a host and forget it; return the names of its jobs, which keep running.

        Raises ValueError if the host is unknown or the only active one.
        """
        host = self.known.get(name)
        if host is None:
            raise ValueError(f"{name} is not one of the hosts here: {', '.join(self.known)}")
        if self.active == [host]:
            raise ValueError(f"{name} is the only host that lines are sent to; exit leaves, :host NAME switches")
        del self.known[name]
        self.active = [other for other in self.active if other is not host]
        running = [job.name for job in host.jobs.running]
        await host.close()
        return running

    async def close_lost_connections(self) -> None:
        """Close the connections that are lost permanently, so that the next line connects again."""
        for host in self.known.values():
            await host.connection.close_if_lost()

    async def close(self) -> None:
        """Close all connections; wait at most `LEAVE_TIMEOUT` for hosts that do not answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await asyncio.gather(*(host.close() for host in self.known.values()))

    async def _connected(self, name: str) -> ReplHost:
        host = self.known.get(name) or self._new_host(name)
        try:
            await host.connection.connect()
        except BaseException:
            if host.connection.client is None and host not in self.active:
                del self.known[name]
            raise
        host.shell.prepare()
        return host

    def _new_host(self, name: str) -> ReplHost:
        connection = HostConnection(name, self._opener(name), print_message)
        host = self.known[name] = ReplHost(name, connection, self._carrying)
        host.connection.on_change = lambda: self._on_change()
        return host


class ReplHost:
    """One host. `name` is the user's name for it. `carrying` says whether the state of its shell is carried."""

    def __init__(self, name: str, connection: HostConnection, carrying: Carrying = "no") -> None:
        self.name: Final = name
        self.connection: Final = connection
        self.state: Final = ShellState()
        self.shell: Final = HostShell(connection, self.state, carrying)
        self.jobs: Final = Jobs(connection)
        self.private = False
        """Whether its service ends with the REPL, and its runs with it; the one who ends it reports them."""
        self.gives_terminals = True
        """False once the service has refused a terminal."""
        self.branch: str | None = None
        """The git branch of the directory, or None if there is none or it is not known yet."""
        self._branch_directory: bytes | None = None
        self._branch_task: asyncio.Task[None] | None = None
        self._branch_requested = False
        self._branch_allowed = True

    def line_ended(self, line: str) -> None:
        """Note that `line` was run, which may have changed the branch.

        The branch is requested again where there may be one: after a change of directory, in a repository, and after
        a line that mentions git.
        """
        moved = self._branch_directory != self.state.directory
        if moved:
            self.branch = None
        if moved or self.branch is not None or "git" in line:
            self._branch_requested = False

    def refresh_branch(self) -> None:
        """Request the branch in the background if it may have changed."""
        client = self.connection.client
        if self._branch_requested or not self._branch_allowed or client is None or not client.connected:
            return
        self._branch_requested = True
        if self._branch_task is not None:
            self._branch_task.cancel()
        self._branch_task = asyncio.ensure_future(self._read_branch(self.state.directory))

    async def close(self) -> None:
        """Close the connection. Jobs on the host keep running."""
        if self._branch_task is not None:
            self._branch_task.cancel()
        await self.jobs.close()
        await self.shell.close()
        await self.connection.close()

    async def _read_branch(self, directory: bytes | None) -> None:
        client = self.connection.client
        if client is None:
            return
        before, self._branch_directory = self.branch, directory
        argv = ["/bin/sh", "-c", BRANCH_SCRIPT]
        try:
            options = RunOptions.of(cwd=directory, timeout=BRANCH_TIMEOUT, kill_after=0, internal=True)
            done = await client.run(argv, options, max_output=MAX_HEAD)
            self.branch = parse_branch(done.stdout)
        except RequestRefused:
            self._branch_allowed = False
        except FarhandError:
            self.branch = None
        if self.branch != before:
            self.connection.on_change()
