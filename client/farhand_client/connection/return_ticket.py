"""The ticket with which a client comes back: given by the service at each login, shown at the next connection.

It is kept in a private file of the state directory, and in memory for the next connection of this process. Whatever is
wrong with the file, the client connects without a ticket.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from farhand_client.blocking import run_blocking
from farhand_client.errors import ConnectError
from farhand_protocol import messages as m
from farhand_protocol.tickets import IssuedTicket

from .address import Address
from .ticket_file import read_ticket, ticket_file, write_ticket

TICKET_FILE_TIMEOUT: Final = 0.5
"""Seconds that the file may take. On a file system that hangs, the client goes on without it."""


class ReturnTicket:
    """The ticket of one user at one service. `directory` is the state directory."""

    def __init__(self, directory: Path, address: Address, user: str) -> None:
        self._file = ticket_file(str(directory), address.host, address.port, user)
        self._ticket: IssuedTicket | None = None

    async def load(self) -> IssuedTicket | None:
        """Return the ticket to show; None if there is none."""
        if self._ticket is None:
            with contextlib.suppress(TimeoutError, ConnectError):
                async with asyncio.timeout(TICKET_FILE_TIMEOUT):
                    self._ticket = await run_blocking(read_ticket, self._file)
        return self._ticket

    async def renew(self, accepted: m.Accepted) -> None:
        """Keep the ticket that the service has given, if it gives one."""
        if accepted.ticket is None or accepted.ticket_secret is None:
            return
        self._ticket = IssuedTicket(accepted.ticket, accepted.ticket_secret)
        with contextlib.suppress(TimeoutError, ConnectError):
            async with asyncio.timeout(TICKET_FILE_TIMEOUT):
                await run_blocking(write_ticket, self._file, self._ticket)
