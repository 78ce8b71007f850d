"""The private file in which the ticket of one user at one service is kept."""

from __future__ import annotations

import contextlib
import os
from hashlib import sha256

from farhand_client.trust.files import read_small_file
from farhand_protocol.tickets import MAX_TICKET, TICKET_SECRET_SIZE, IssuedTicket


def ticket_file(directory: str, host: str, port: int, user: str) -> str:
    """Return the path of the file in the state directory `directory`."""
    # The name shows neither the service nor the user to who may list the directory.
    whose = f"{host}\0{port}\0{user}".encode(errors="surrogateescape")
    return f"{directory}/tickets/{sha256(whose).hexdigest()[:32]}"


def read_ticket(path: str) -> IssuedTicket | None:
    """Return the ticket in the file; None if there is none, or if the file is not private."""
    try:
        data = read_small_file(path, TICKET_SECRET_SIZE + MAX_TICKET, private=True) or b""
    except ValueError:
        return None
    secret, ticket = data[:TICKET_SECRET_SIZE], data[TICKET_SECRET_SIZE:]
    return IssuedTicket(ticket, secret) if ticket else None


def write_ticket(path: str, ticket: IssuedTicket) -> None:
    """Replace the file in one step, because other processes may read it at any time. Whatever fails is ignored."""
    temporary = f"{path}.{os.getpid()}"
    with contextlib.suppress(OSError):
        try:
            descriptor = _created(temporary)
            try:
                os.write(descriptor, ticket.secret + ticket.ticket)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def _created(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:  # the first ticket of this user
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return os.open(path, flags, 0o600)
