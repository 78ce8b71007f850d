"""The connection to a host: made when it is needed, mended where it is cut, made anew where that fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

from farhand_client.client import Client
from farhand_client.connection.reconnecting import Outage, OutageCallback
from farhand_client.errors import ConnectionLost, RequestRefused
from farhand_client.options import Args, RunOptions
from farhand_client.output import OnGap
from farhand_client.pending import Pending
from farhand_client.run import Run
from farhand_client.ui.outages import OutageNotice, ShowNotice
from farhand_client.ui.printing import PrintMessage
from farhand_protocol.errors import ErrorCode

Opening: TypeAlias = Callable[[OutageCallback], Pending[Client]]
"""Connects; what it is given is told when the line goes down, and with None when it is up again."""


class HostConnection:
    """Holds the client. `user` and `host` are those of the last connection, as the service calls them.

    `say` tells the user something; `changed` is called when the line goes down or comes up.
    """

    def __init__(self, name: str, opening: Opening, say: PrintMessage) -> None:
        self.name = name
        self.user = ""
        self.host = ""
        self.changed: Callable[[], None] = lambda: None
        self._opening = opening
        self._say = say
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._warned = False
        self._down: tuple[Outage, float] | None = None
        self._word: OutageNotice | None = None

    @property
    def client(self) -> Client | None:
        """The client, where there was one when last used."""
        return self._client

    @property
    def down(self) -> bool:
        """Whether the line is lost, and tried again."""
        return self._down is not None

    async def connect(self) -> Client:
        """Return the client, of a new connection where there is none, or one that is going away.

        Raises what connecting raises.
        """
        async with self._connecting:
            if self._client is not None and self._client.going_away:
                self.check()
                await self.drop()
            if self._client is None:
                self._client = await self._opening(self._watch)
                self._warned = False
                self.user, self.host = self._client.user, self._client.host
                self.changed()
            return self._client

    async def start(self, args: Args, options: RunOptions, on_gap: OnGap | None = None) -> Run:
        """Start a run as `Client.start` does, on a new connection where the old one was lost before.

        Raises what that and connecting raise. After `ConnectionLost` the next call connects again.
        """
        again = self._client is not None
        client = await self.connect()
        try:
            return await client.start(args, options, on_gap=on_gap)
        except ConnectionLost as error:
            await self.drop()
            if error.may_have_run or not again:
                raise
            self._say(f"{error}; connecting again")
        except RequestRefused as error:
            if error.code is ErrorCode.DRAINING:
                await self.drop()
            raise
        client = await self.connect()
        return await client.start(args, options, on_gap=on_gap)

    @contextlib.contextmanager
    def spoken_of(self, show: ShowNotice | None = None) -> Iterator[None]:
        """Say in the block when the line is down for long, and when it is up again: on stderr, or through `show`."""
        word = self._word = OutageNotice(self.name)
        if self._down is not None:
            down, deadline = self._down
            word(down._replace(left=max(0.0, deadline - asyncio.get_running_loop().time())))
        try:
            with word.through(show) if show is not None else contextlib.nullcontext():
                yield
        finally:
            self._word = None
            word.close()

    def check(self) -> None:
        """Say, once, that the service is going away."""
        if self._client is not None and self._client.going_away and not self._warned:
            self._warned = True
            self._say(f"{self._client.name} is going away and takes no new commands; the next line connects again")

    async def drop(self) -> None:
        """Close the connection, if there is one."""
        client, self._client = self._client, None
        self._down = None
        if client is not None:
            await client.close()

    async def drop_dead(self) -> None:
        """Close the connection where it is lost for good."""
        if self._client is None or self._client.connected:
            return
        try:
            # Nothing is waited for: a connection that is tried again keeps the question.
            async with asyncio.timeout(0):
                await self._client.ping()
        except TimeoutError:
            return
        except ConnectionLost:
            await self.drop()

    def _watch(self, down: Outage | None) -> None:
        self._down = None if down is None else (down, asyncio.get_running_loop().time() + down.left)
        if self._word is not None:
            self._word(down)
        self.changed()
