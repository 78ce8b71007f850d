"""The ticket with which a client comes back: given by the service at each login, shown at the next connection.

It is kept in a private file of the state directory, and in memory for the next connection of this process. Whatever is
wrong with the file, the client connects without a ticket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

from farhand_client.blocking import run_blocking
from farhand_client.errors import ConnectError
from farhand_protocol import messages as m
from farhand_protocol.tickets import MAX_TICKET, TICKET_SECRET_SIZE, IssuedTicket

from .address import Address

TICKET_FILE_TIMEOUT: Final = 0.5
"""Seconds that the file may take. On a file system that hangs, the client goes on without it."""


class ReturnTicket:
    """The ticket of one user at one service. `directory` is the state directory."""

    def __init__(self, directory: Path, address: Address, user: str) -> None:
        from hashlib import sha256

        # The name shows neither the service nor the user to who may list the directory.
        whose = f"{address.host}\0{address.port}\0{user}".encode(errors="surrogateescape")
        self._file = directory / "tickets" / sha256(whose).hexdigest()[:32]
        self._ticket: IssuedTicket | None = None

    async def load(self) -> IssuedTicket | None:
        """Return the ticket to show; None if there is none."""
        if self._ticket is None:
            with contextlib.suppress(TimeoutError, ConnectError):
                async with asyncio.timeout(TICKET_FILE_TIMEOUT):
                    self._ticket = await run_blocking(_read, self._file)
        return self._ticket

    async def renew(self, accepted: m.Accepted) -> None:
        """Keep the ticket that the service has given, if it gives one."""
        if accepted.ticket is None or accepted.ticket_secret is None:
            return
        self._ticket = IssuedTicket(accepted.ticket, accepted.ticket_secret)
        with contextlib.suppress(TimeoutError, ConnectError):
            async with asyncio.timeout(TICKET_FILE_TIMEOUT):
                await run_blocking(_write, self._file, self._ticket)


def _read(path: Path) -> IssuedTicket | None:
    from farhand_client.trust.files import read_small_file

    try:
        data = read_small_file(path, TICKET_SECRET_SIZE + MAX_TICKET, private=True) or b""
    except ValueError:
        return None
    secret, ticket = data[:TICKET_SECRET_SIZE], data[TICKET_SECRET_SIZE:]
    return IssuedTicket(ticket, secret) if ticket else None


def _write(path: Path, ticket: IssuedTicket) -> None:
    # Replaced in one step, because other processes may read it at any time.
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, ticket.secret + ticket.ticket)
            finally:
                os.close(descriptor)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
