"""The hosts of a REPL: those that were connected to, and those that lines go to now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, TypeAlias

from farhand_client.ui.interrupts import LEAVE_TIMEOUT
from farhand_client.ui.printing import print_message

from .host import Host
from .link import Link, Opening

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
        """Have lines go to one host alone, which is connected to where it is not. Raises as `Link.connect`."""
        self.active = [await self._connected(name)]

    async def add(self, name: str) -> None:
        """Have lines go to one more host. Raises as `Link.connect`, and ValueError where there are too many."""
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
        host = self.known[name] = Host(name, Link(name, self._opening_of(name), print_message))
        host.link.changed = lambda: self._changed()
        return host
