"""Return tickets as clients show them: as one more application protocol that they offer in the TLS handshake (ALPN).

A service that knows no tickets ignores a name that it does not know (RFC 7301, section 3.2) and selects `ALPN`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Final

MAX_TICKET: Final = 128
"""Bytes of a ticket. In base64, with the prefix, they need 186 of the 255 that a protocol's name may have."""

_PREFIX: Final = "farhand-ticket/"


def ticket_protocol(ticket: bytes) -> str:
    """Return the protocol's name that shows a ticket. Raises ValueError unless it has 1 to `MAX_TICKET` bytes."""
    if not 1 <= len(ticket) <= MAX_TICKET:
        raise ValueError(f"a ticket has 1 to {MAX_TICKET} bytes, not {len(ticket)}")
    return _PREFIX + base64.urlsafe_b64encode(ticket).rstrip(b"=").decode("ascii")


def shown_ticket(protocols: Iterable[bytes]) -> bytes | None:
    """Return the first ticket among the names that a client offers; None if it shows none that can be read."""
    for name in protocols:
        if name.startswith(_PREFIX.encode("ascii")):
            text = name[len(_PREFIX) :]
            try:
                ticket = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            except binascii.Error:
                return None
            # Only the one way of writing it counts: b64decode accepts "+" and "/", too.
            short = 1 <= len(ticket) <= MAX_TICKET
            return ticket if short and ticket_protocol(ticket).encode("ascii") == name else None
    return None
