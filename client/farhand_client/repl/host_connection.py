"""The connection of the REPL to one host, which is made when it is needed and replaced when it is lost.

A client reconnects by itself after an outage and keeps its runs. `HostConnection` starts again with a new client where
that has failed, or where the service is shutting down.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol, TypeAlias, TypeVar

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

T = TypeVar("T")

Connect: TypeAlias = Callable[[OutageCallback], Pending[Client]]
"""Connects to one host. The callback gets the outage when the connection is lost, and None when it is back."""


class AskUser(Protocol):
    """Asks the user a question, and hides the prompt meanwhile if there is one."""

    async def __call__(self, question: Callable[[], Awaitable[T]], /) -> T:
        """Return the answer that `question` returns."""


class HostOpener(Protocol):
    """Knows how to connect to every host."""

    def __call__(self, name: str, ask_user: AskUser, /) -> Connect:
        """Return the function that connects to the host `name`; its questions to the user go through `ask_user`."""


class HostConnection:
    """Holds the client for the host `name`. `print_message` shows messages to the user.

    `user` and `host` are the account and the host name that the service reported at the last login.
    """

    def __init__(self, name: str, connect: Connect, print_message: PrintMessage) -> None:
        self.name = name
        self.user = ""
        self.host = ""
        self.on_change: Callable[[], None] = lambda: None
        """Called after a login, and when an outage begins or ends."""
        self._connect = connect
        self._print_message = print_message
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._shutdown_reported = False
        self._outage: tuple[Outage, float] | None = None
        """The outage, and the loop time until which the client tries to reconnect."""
        self._notice: OutageNotice | None = None

    @property
    def client(self) -> Client | None:
        """The current client, or None. It may have lost its connection since it was last used."""
        return self._client

    @property
    def lost(self) -> bool:
        """Whether the connection is lost and the client is trying to reconnect."""
        return self._outage is not None

    async def connect(self) -> Client:
        """Return the client; connect first if there is none, or if its service is shutting down.

        Raises what connecting raises.
        """
        async with self._connecting:
            if self._client is not None and self._client.going_away:
                self.report_shutdown()
                await self.close()
            if self._client is None:
                self._client = await self._connect(self._watch)
                self._shutdown_reported = False
                self.user, self.host = self._client.user, self._client.host
                self.on_change()
            return self._client

    async def start(self, args: Args, options: RunOptions, on_gap: OnGap | None = None) -> Run:
        """Start a run as `Client.start` does; connect again first if the connection was lost before the request.

        Raises what `Client.start` and connecting raise. After `ConnectionLost` the next call connects again.
        """
        had_client = self._client is not None
        client = await self.connect()
        try:
            return await client.start(args, options, on_gap=on_gap)
        except ConnectionLost as error:
            await self.close()
            if error.may_have_run or not had_client:
                raise
            self._print_message(f"{error}; connecting again")
        except RequestRefused as error:
            if error.code is ErrorCode.DRAINING:
                await self.close()
            raise
        client = await self.connect()
        return await client.start(args, options, on_gap=on_gap)

    async def ping(self) -> float:
        """Return the round-trip time in seconds. Raises `ConnectionLost`, also if there is no connection."""
        if self._client is None:
            raise ConnectionLost(f"not connected to {self.name}")
        return await self._client.ping()

    @contextlib.contextmanager
    def reporting_outages(self, show: ShowNotice | None = None) -> Iterator[None]:
        """Report an outage that lasts, and its end, inside the block: on stderr, or through `show`."""
        notice = self._notice = OutageNotice(self.name)
        if self._outage is not None:
            outage, deadline = self._outage
            notice(outage._replace(left=max(0.0, deadline - asyncio.get_running_loop().time())))
        try:
            with notice.through(show) if show is not None else contextlib.nullcontext():
                yield
        finally:
            self._notice = None
            notice.close()

    def report_shutdown(self) -> None:
        """Tell the user if the service is shutting down, once for each connection."""
        if self._client is not None and self._client.going_away and not self._shutdown_reported:
            self._shutdown_reported = True
            self._print_message(
                f"{self._client.name} is shutting down and accepts no new commands; the next line connects again"
            )

    async def close(self) -> None:
        """Close the connection if there is one. The next `connect` makes a new one."""
        client, self._client = self._client, None
        self._outage = None
        if client is not None:
            await client.close()

    async def close_if_lost(self) -> None:
        """Close the connection if it is lost permanently."""
        if self._client is None or self._client.connected:
            return
        try:
            # A client that is still reconnecting holds the ping back; only one that has given up fails at once.
            async with asyncio.timeout(0):
                await self._client.ping()
        except TimeoutError:
            return
        except ConnectionLost:
            await self.close()

    def _watch(self, outage: Outage | None) -> None:
        self._outage = None if outage is None else (outage, asyncio.get_running_loop().time() + outage.left)
        if self._notice is not None:
            self._notice(outage)
        self.on_change()
