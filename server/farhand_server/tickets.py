"""Return tickets: what a client that has logged in shows at its next connection, so that the edge serves it first.

A ticket is a name for its user that only the service can read, sealed with AES-128-GCM by a key that the core creates
and reports to its edges. It buys a place before login and nothing else: who has one still has to log in. So an edge
that was taken over may make them. It can be seen on the network (it is in the first bytes of the TLS handshake), but is
worth nothing without its secret, which is derived from the key and given to the client with the ticket. It shows nobody
the user's name, and since each is encrypted with a nonce of its own, two tickets of one user have nothing in common.

    ticket = version (1 byte) | nonce (12) | sealed: holder (8), expiry (4, seconds since 1970) | tag (16)
"""

from __future__ import annotations

import hashlib
import hmac
import os
from functools import cached_property
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from farhand_protocol.tickets import TICKET_SECRET_SIZE, IssuedTicket, ShownTicket

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TICKET_KEY_FILE: Final = "ticket_key"
TICKET_KEY_SIZE: Final = 16
"""Bytes of a key: AES-128, which is enough for a place in a queue, and fits a record of the verdict feed."""

TICKET_SIZE: Final = 41

TICKET_LIFETIME: Final = 30 * 86400
"""Seconds for which a ticket is accepted: someone who logs in once a month is still known. It is renewed at each
login."""

_VERSION = b"\1"
_NONCE = 12
_CONTENT = Struct("!8sI")
_CONTEXT = b"farhand return ticket"
_SECRET_CONTEXT = b"farhand return ticket secret"


class Ticket(NamedTuple):
    """A ticket that is valid, shown by a client that has its secret.

    `id` is its own, 12 bytes, and `holder` stands for its user, 8 bytes. `nonce` was chosen by the client to show it
    this once: a copy of what it has sent has the same.
    """

    id: bytes
    holder: bytes
    nonce: bytes


class TicketKey:
    """Makes and reads tickets. Times are in seconds since 1970."""

    def __init__(self, key: bytes) -> None:
        """Raises ValueError unless `key` has `TICKET_KEY_SIZE` bytes."""
        if len(key) != TICKET_KEY_SIZE:
            raise ValueError(f"a ticket key has {TICKET_KEY_SIZE} bytes, not {len(key)}")
        self.key: Final = key

    @cached_property
    def _cipher(self) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self.key)

    def issue(self, user: str, now: float) -> IssuedTicket:
        """Return a new ticket for a user."""
        holder = hmac.digest(self.key, _CONTEXT + user.encode(errors="surrogateescape"), hashlib.sha256)
        nonce = os.urandom(_NONCE)
        content = _CONTENT.pack(holder[:8], int(now) + TICKET_LIFETIME)
        return IssuedTicket(_VERSION + nonce + self._cipher.encrypt(nonce, content, _CONTEXT), self._secret(nonce))

    def _secret(self, nonce: bytes) -> bytes:
        return hmac.digest(self.key, _SECRET_CONTEXT + nonce, hashlib.sha256)[:TICKET_SECRET_SIZE]

    def read(self, shown: ShownTicket, now: float) -> Ticket | None:
        """Return what a ticket says; None unless it was made with this key, has not expired, and its secret is
        proved."""
        from cryptography.exceptions import InvalidTag

        ticket = shown.ticket
        if len(ticket) != TICKET_SIZE or ticket[:1] != _VERSION:
            return None
        nonce = ticket[1 : 1 + _NONCE]
        if not shown.proves(self._secret(nonce)):
            return None
        try:
            holder, expires = _CONTENT.unpack(self._cipher.decrypt(nonce, ticket[1 + _NONCE :], _CONTEXT))
        except InvalidTag:
            return None
        # A clock that was set back must not make a ticket last longer than any that is made now.
        return Ticket(nonce, holder, shown.nonce) if now < expires <= now + TICKET_LIFETIME + 1 else None


def ticket_key(state_dir: Path) -> TicketKey:
    """Return the key of a state directory, which outlives restarts and upgrades. Create it if there is none.

    A service that can neither read nor write it uses one that ends with its process: tickets made before are then worth
    nothing, and everything else works as usual.
    """
    path = state_dir / TICKET_KEY_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError:
        return TicketKey(os.urandom(TICKET_KEY_SIZE))
    try:
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            key = file.read(TICKET_KEY_SIZE + 1) or b""
            if len(key) == TICKET_KEY_SIZE and os.fstat(file.fileno()).st_mode & 0o077 == 0:
                return TicketKey(key)
            key = os.urandom(TICKET_KEY_SIZE)
            os.fchmod(file.fileno(), 0o600)
            file.truncate(0)
            os.pwrite(file.fileno(), key, 0)
            return TicketKey(key)
    except OSError:
        return TicketKey(os.urandom(TICKET_KEY_SIZE))
