"""The hosts of a REPL: those that were connected to, and those that lines go to now.

One host of the REPL: its connection, what lasts there from line to line, and its jobs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, TypeAlias

from farhand_client.errors import FarhandError, RequestRefused
from farhand_client.ui.interrupts import LEAVE_TIMEOUT
from farhand_client.ui.printing import print_message
from farhand_protocol.limits import KiB

from .host_connection import HostConnection, Opening
from .jobs import Jobs
from .shell_state import BRANCH_SCRIPT, State, parse_branch

OpeningOf: TypeAlias = Callable[[str], Opening]
"""Returns what connects to the HOST of a name."""

MOST: Final = 32
"""Hosts at once: more labels than anybody can follow; for hundreds there is the Python API."""


class Hosts:
    """`active` are those that lines go to, one at the least, in the order in which they came."""

    def __init__(self, opening_of: OpeningOf, first: str) -> None:
        self._opening_of = opening_of
        self._changed: Callable[[], None] = lambda: None
        self.known: Final[dict[str, Host]] = {}
        self.active: list[Host] = [self._host(first)]

    def when_changed(self, changed: Callable[[], None]) -> None:
        """Have `changed` called when what is to be said of a host changes by itself."""
        self._changed = changed

    async def switch(self, name: str) -> None:
        """Send lines to this host only; connect to it if necessary. Raises what `HostConnection.connect` raises."""
        self.active = [await self._connected(name)]

    async def add(self, name: str) -> None:
        """Send lines to one more host.

        Raises what `HostConnection.connect` raises, and ValueError if there are too many hosts.
        """
        if len(self.active) == MOST:
            raise ValueError(f"lines go to {MOST} hosts already; :host -NAME drops one")
        host = await self._connected(name)
        if host not in self.active:
            self.active.append(host)

    async def drop(self, name: str) -> list[str]:
        """Leave a host; return the names of the jobs that go on there. Raises ValueError where it is not to be left."""
        host = self.known.get(name)
        if host is None:
            raise ValueError(f"{name} is none of the hosts here: {', '.join(self.known)}")
        if self.active == [host]:
            raise ValueError(f"{name} is the only host that lines go to; exit leaves, :host NAME switches")
        del self.known[name]
        self.active = [one for one in self.active if one is not host]
        going = [job.name for job in host.jobs.going]
        await host.close()
        return going

    async def drop_dead(self) -> None:
        """Close the connections that are gone for good: the next line makes them anew."""
        for host in self.known.values():
            await host.link.drop_dead()

    async def close(self) -> None:
        """Leave all of them; one that does not answer is not waited for."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await asyncio.gather(*(host.close() for host in self.known.values()))

    async def _connected(self, name: str) -> Host:
        host = self.known.get(name) or self._host(name)
        try:
            await host.link.connect()
        except BaseException:
            if host.link.client is None and host not in self.active:
                del self.known[name]
            raise
        return host

    def _host(self, name: str) -> Host:
        host = self.known[name] = Host(name, HostConnection(name, self._opening_of(name), print_message))
        host.link.changed = lambda: self._changed()
        return host


DEADLINE: Final = 3.0
"""Seconds after which a branch is not worth knowing any more."""

MAX_HEAD: Final = 1 * KiB
"""Bytes of a branch's name: four times what one can have (NAME_MAX is 255)."""


class Host:
    """`name` is what the user calls it."""

    def __init__(self, name: str, link: HostConnection) -> None:
        self.name: Final = name
        self.link: Final = link
        self.state: Final = State()
        self.jobs: Final = Jobs(link)
        self.terminals = True
        """Whether its programs may have a terminal, as far as is known."""
        self.branch: str | None = None
        self._branch_of: bytes | None = None
        self._asking: asyncio.Task[None] | None = None
        self._asked = False
        self._may_ask = True

    def ended(self, line: str) -> None:
        """`line` was run, which may have changed the branch: nothing asks again in vain where there is none."""
        moved = self._branch_of != self.state.directory
        if moved:
            self.branch = None
        if moved or self.branch is not None or "git" in line:
            self._asked = False

    def ask_branch(self) -> None:
        """Ask for the branch, in the background, where it is not known."""
        client = self.link.client
        if self._asked or not self._may_ask or client is None or not client.connected:
            return
        self._asked = True
        if self._asking is not None:
            self._asking.cancel()
        self._asking = asyncio.ensure_future(self._ask_branch(self.state.directory))

    async def close(self) -> None:
        """Leave it; what is kept there goes on."""
        if self._asking is not None:
            self._asking.cancel()
        await self.jobs.close()
        await self.link.drop()

    async def _ask_branch(self, directory: bytes | None) -> None:
        client = self.link.client
        if client is None:
            return
        known, self._branch_of = self.branch, directory
        argv = ["/bin/sh", "-c", BRANCH_SCRIPT]
        try:
            done = await client.run(argv, cwd=directory, timeout=DEADLINE, kill_after=0, max_output=MAX_HEAD)
            self.branch = parse_branch(done.stdout)
        except RequestRefused:
            self._may_ask = False
        except FarhandError:
            self.branch = None
        if self.branch != known:
            self.link.changed()
