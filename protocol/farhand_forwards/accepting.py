"""What listeners have in common: what they accept, and who serves it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from .datagrams import DatagramPeer
from .relay import reset_socket
from .targets import ForwardRefused, ForwardTarget

Connected: TypeAlias = socket.socket | DatagramPeer
"""What a listener has accepted: a socket, or one that sends to a UDP listener."""

Accepted: TypeAlias = Callable[[Connected, str], Awaitable[None]]
"""Called with each connection of a listener, in a task of its own, and with where it came from, for people. It returns
when the connection is over."""


class LocalListener(Protocol):
    """Something that listens on this machine."""

    @property
    def address(self) -> ForwardTarget:
        """Where it listens really; if there are several addresses, the first."""

    def close(self) -> None:
        """Stop listening. Connections that were accepted go on."""


class Serving:
    """The tasks of a listener's connections."""

    def __init__(self, accepted: Accepted, ended: Callable[[], None] = lambda: None) -> None:
        """`ended` is called after each connection."""
        self._accepted = accepted
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, connected: Connected, origin: str) -> None:
        """Serve a connection. It is closed afterwards."""
        task = self._loop.create_task(self._serve(connected, origin))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _serve(self, connected: Connected, origin: str) -> None:
        try:
            await self._accepted(connected, origin)
        except (ForwardRefused, OSError):
            pass  # its peer has seen a reset
        except Exception as error:  # noqa: BLE001  # one connection has failed; others go on
            self._loop.call_exception_handler({"message": "serving a connection has failed", "exception": error})
        finally:
            if isinstance(connected, DatagramPeer):
                connected.close()
            else:
                reset_socket(connected)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ended()
