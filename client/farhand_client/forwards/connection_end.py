"""When a client's connection is lost for good."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from farhand_client.connection.reconnecting import ReconnectingConnection
    from farhand_client.connection.session import ClientSession


class ConnectionEnd:
    """Registered with a connection, and told when there will be no further session.

    Raises `ConnectionLost` if that is so already.
    """

    def __init__(self, connection: ReconnectingConnection) -> None:
        self.ended: Final[asyncio.Future[Exception]] = asyncio.get_running_loop().create_future()
        """Resolves to the reason."""
        self._connection = connection
        connection.register(self)

    def forget(self) -> None:
        """Do not wait any longer."""
        self._connection.unregister(self)

    # Implements Resumable.

    def open(self, session: ClientSession) -> None:
        """Do nothing: a new session is no end."""

    def fail(self, error: Exception) -> None:
        """Note the reason."""
        if not self.ended.done():
            self.ended.set_result(error)

    def client_closed(self, error: Exception) -> None:
        """Note that the user has closed the client."""
        self.fail(error)
