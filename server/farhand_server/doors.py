"""The core's Unix sockets: shut, they stay, and whoever comes waits in the kernel until they are open again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

from .listener import BACKLOG, bind

Factory = Callable[[], asyncio.BaseProtocol]


class Door:
    """One listening socket and who is made for each connection."""

    def __init__(self, path: Path, welcome: Factory, taken: int | None = None) -> None:
        """Listen at `path`, or go on with a socket that is `taken` over. Raises `ListenError`."""
        self._welcome = welcome
        self._socket = bind(path, 0o666) if taken is None else socket.socket(fileno=taken)
        # The configuration may name another by now, which is for the next start.
        self.path = path if taken is None else Path(self._socket.getsockname())
        self._closed = False
        self._server: asyncio.Server | None = None

    def fileno(self) -> int:
        """The listening socket."""
        return self._socket.fileno()

    async def open(self) -> None:
        """Take who comes, and who has waited."""
        if self._server is not None:
            return
        # asyncio closes with its server what it listens on; ours stays.
        copy = self._socket.dup()
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(
                self._welcome, sock=copy, backlog=BACKLOG
            )
        except BaseException:
            copy.close()
            raise

    def shut(self) -> None:
        """Take nobody; they wait."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def close(self) -> None:
        """Be gone; a second time nothing happens."""
        # The path first: once nobody listens there, another service may take it, and that one's must stay.
        if not self._closed:
            self.path.unlink(missing_ok=True)
        self._closed = True
        self.shut()
        self._socket.close()
