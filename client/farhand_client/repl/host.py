"""One host of the REPL: its connection, what lasts there from line to line, and its jobs."""

from __future__ import annotations

import asyncio
from typing import Final

from farhand_client.errors import FarhandError, RequestRefused
from farhand_protocol.limits import KiB

from . import branch
from .jobs import Jobs
from .link import Link
from .state import State

DEADLINE: Final = 3.0
"""Seconds after which a branch is not worth knowing any more."""

MAX_HEAD: Final = 1 * KiB
"""Bytes of a branch's name: four times what one can have (NAME_MAX is 255)."""


class Host:
    """`name` is what the user calls it."""

    def __init__(self, name: str, link: Link) -> None:
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
        argv = ["/bin/sh", "-c", branch.SCRIPT]
        try:
            done = await client.run(argv, cwd=directory, timeout=DEADLINE, kill_after=0, max_output=MAX_HEAD)
            self.branch = branch.parse(done.stdout)
        except RequestRefused:
            self._may_ask = False
        except FarhandError:
            self.branch = None
        if self.branch != known:
            self.link.changed()
