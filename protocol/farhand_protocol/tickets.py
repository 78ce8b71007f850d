"""Return tickets as clients show them: as one more application protocol that they offer in the TLS handshake (ALPN).

Everybody on the way sees it, so a client shows each time another proof that it has the ticket's secret, which it was
given inside TLS. A service that knows no tickets ignores a name that it does not know (RFC 7301, section 3.2) and
selects `ALPN`.

    farhand-ticket/ + base64url(ticket | nonce (8 bytes) | proof (16))
"""

from __future__ import annotations

import base64
import binascii

from .records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

MAX_TICKET: Final = 128
"""Bytes of a ticket. With nonce and proof, in base64, they need 218 of the 255 that a protocol's name may have."""

TICKET_SECRET_SIZE: Final = 16
TICKET_NONCE_SIZE: Final = 8
"""Random bytes: a client shows one ticket a few times, so that they never repeat."""

_PROOF_SIZE: Final = 16
_PREFIX: Final = b"farhand-ticket/"
_CONTEXT: Final = b"farhand return ticket proof"


class IssuedTicket(NamedTuple):
    """What a client is given: the ticket itself, and a secret that it never shows."""

    ticket: bytes
    secret: bytes

    def protocol(self, nonce: bytes) -> str:
        """Return the protocol's name that shows the ticket. `nonce` must not have been used with it before.

        Raises ValueError unless each part has its size.
        """
        sizes = (len(self.secret), len(nonce))
        if not 1 <= len(self.ticket) <= MAX_TICKET or sizes != (TICKET_SECRET_SIZE, TICKET_NONCE_SIZE):
            raise ValueError(f"a ticket of {len(self.ticket)} bytes, a secret and a nonce of {sizes} bytes")
        shown = self.ticket + nonce + _proof(self.secret, nonce)
        return (_PREFIX + base64.urlsafe_b64encode(shown).rstrip(b"=")).decode("ascii")


class ShownTicket(NamedTuple):
    """What a service sees. Nothing in it has been verified."""

    ticket: bytes
    nonce: bytes
    proof: bytes

    def proves(self, secret: bytes) -> bool:
        """Whether the client has the ticket's secret."""
        import hmac

        return hmac.compare_digest(self.proof, _proof(secret, self.nonce))


def shown_ticket(protocols: Iterable[bytes]) -> ShownTicket | None:
    """Return the first ticket among the names that a client offers; None if it shows none that can be read."""
    name = next((name for name in protocols if name.startswith(_PREFIX)), None)
    if name is None:
        return None
    text = name[len(_PREFIX) :]
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    ticket, rest = data[: -TICKET_NONCE_SIZE - _PROOF_SIZE], data[-TICKET_NONCE_SIZE - _PROOF_SIZE :]
    # Only the one way of writing it counts: b64decode accepts "+" and "/", too, and padding bits.
    if not 1 <= len(ticket) <= MAX_TICKET or base64.urlsafe_b64encode(data).rstrip(b"=") != text:
        return None
    return ShownTicket(ticket, rest[:TICKET_NONCE_SIZE], rest[TICKET_NONCE_SIZE:])


def _proof(secret: bytes, nonce: bytes) -> bytes:
    import hashlib  # these take a millisecond, which most commands need not spend
    import hmac

    return hmac.digest(secret, _CONTEXT + nonce, hashlib.sha256)[:_PROOF_SIZE]
