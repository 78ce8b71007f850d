"""The connection of a REPL: kept while it lives, made again where it is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from farhand_client.client import Client
from farhand_client.errors import ConnectionLost, RequestRefused
from farhand_client.pending import Pending
from farhand_client.request import Args
from farhand_client.run import Run
from farhand_protocol.errors import ErrorCode

from .output import say

Opening: TypeAlias = Callable[[], Pending[Client]]


class Link:
    """Holds the client. `user` and `host` are those of the last connection, as the service calls them."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._client: Client | None = None
        self._warned = False
        self.user = ""
        self.host = ""

    @property
    def client(self) -> Client | None:
        """The client, where there was one when last used."""
        return self._client

    async def connect(self) -> Client:
        """Return the client, of a new connection where there is none, or one that is going away.

        Raises what connecting raises.
        """
        if self._client is not None and self._client.going_away:
            self.check()
            await self.drop()
        if self._client is None:
            self._client = await self._opening()
            self._warned = False
            self.user, self.host = self._client.user, self._client.host
        return self._client

    async def start(self, args: Args, **options: Any) -> Run:
        """Start a run as `Client.start` does, on a new connection where the old one was lost before.

        Raises what that and connecting raise. After `ConnectionLost` the next call connects again.
        """
        again = self._client is not None
        client = await self.connect()
        try:
            return await client.start(args, **options)
        except ConnectionLost as error:
            await self.drop()
            if error.may_have_run or not again:
                raise
            say(f"{error}; connecting again")
        except RequestRefused as error:
            if error.code is ErrorCode.DRAINING:
                await self.drop()
            raise
        client = await self.connect()
        return await client.start(args, **options)

    def check(self) -> None:
        """Say, once, that the service is going away."""
        if self._client is not None and self._client.going_away and not self._warned:
            self._warned = True
            say(f"{self._client.name} is going away and takes no new commands; the next line connects again")

    async def drop(self) -> None:
        """Close the connection, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
