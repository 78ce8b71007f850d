"""The two APIs that are measured in one process each: Farhand's and asyncssh's, behind one interface."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncssh

    from farhand_client import Client


class Connection(Protocol):
    """A connection that is logged in."""

    async def run(self, command: str) -> None:
        """Run a command of one word to its end."""

    async def stream(self, size: int, received: Callable[[int], None]) -> None:
        """Receive `size` bytes from one command; tell of each piece how large it is."""


class Side(Protocol):
    """One of the APIs, with what it needs to connect."""

    def connect(self) -> AbstractAsyncContextManager[Connection]:
        """Connect and log in."""


class FarhandConnection:
    """A `Connection` of `farhand_client`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def run(self, command: str) -> None:
        done = await self._client.run([command])
        assert done.returncode == 0

    async def stream(self, size: int, received: Callable[[int], None]) -> None:
        async with self._client.start(["head", "-c", str(size), "/dev/zero"]) as run:
            async for chunk in run.stdout:
                received(len(chunk))


class FarhandSide:
    """`farhand_client` for a host and a key file."""

    def __init__(self, host: str, key: str) -> None:
        self._host = host
        self._key = key

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        from farhand_client import connect

        async with connect(self._host, identities=[self._key]) as client:
            yield FarhandConnection(client)


class AsyncsshConnection:
    """A `Connection` of asyncssh."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection = connection

    async def run(self, command: str) -> None:
        done = await self._connection.run(command)
        assert done.returncode == 0

    async def stream(self, size: int, received: Callable[[int], None]) -> None:
        async with self._connection.create_process(f"head -c {size} /dev/zero", encoding=None) as process:
            while chunk := await process.stdout.read(1 << 18):
                received(len(chunk))


class AsyncsshSide:
    """asyncssh for a port of loopback, a user, a key file and the server's public key."""

    def __init__(self, port: str, user: str, key: str, host_key: str) -> None:
        self._port = int(port)
        self._user = user
        self._key = key
        self._known = f"[127.0.0.1]:{port} {host_key}\n"

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        import asyncssh

        async with asyncssh.connect(
            "127.0.0.1",
            self._port,
            username=self._user,
            client_keys=[self._key],
            known_hosts=asyncssh.import_known_hosts(self._known),
            config=None,
        ) as connection:
            yield AsyncsshConnection(connection)
