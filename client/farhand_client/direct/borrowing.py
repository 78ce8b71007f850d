"""A connection that the helper lends in place of one made here, and the offer to keep one like that made here."""

from __future__ import annotations

import os

from farhand_client.directories import STATE_DIRECTORY, directory
from farhand_client.mux import ask
from farhand_client.mux.place import helper_place, mux_allowed
from farhand_client.mux.request import ConnectionRequest, absolute
from farhand_protocol.errors import ProtocolError
from farhand_protocol.plain.codec import decode
from farhand_protocol.records import NamedTuple

from .wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from farhand_client.mux.place import HelperPlace

    from .route import Route


class BorrowedWire(NamedTuple):
    """A connection that is logged in, with the fields of `welcome` and `accepted`."""

    wire: Wire
    welcome: dict[str, Any]
    accepted: dict[str, Any]


_last_login: tuple[bytes, bytes, dict[str, Any], dict[str, Any]] | None = None
"""The last two messages of a login, and their fields, for reading: a child of the helper gets them each time."""


def _decoded(welcome: bytes, accepted: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    global _last_login
    if _last_login is None or _last_login[:2] != (welcome, accepted):
        _last_login = welcome, accepted, decode(welcome), decode(accepted)
    return _last_login[2:]


class HelperUse:
    """What one command has to do with the helper: nothing, unless it is allowed and there is a place for one.

    A socket on this machine is connected to directly: that takes no longer than asking.
    """

    def __init__(
        self, route: Route, user: str, named: Sequence[str], config: str, home: str | None, *, wanted: bool
    ) -> None:
        self._place: HelperPlace | None = helper_place() if wanted and mux_allowed(route.mux) else None
        # The same as that of the asyncio client (`connection.helper_use`), or they would not share.
        self._request = ConnectionRequest(
            host=os.fsencode(route.host),
            port=b"%d" % route.port,
            user=os.fsencode(user),
            known_hosts=absolute(os.fsencode(f"{config}/known_hosts")),
            config=absolute(os.fsencode(config)),
            home=absolute(os.fsencode(home)) if home is not None else b"",
            agent=os.fsencode(os.environ.get("SSH_AUTH_SOCK", "") if route.agent is None else route.agent),
            state=absolute(os.fsencode(directory(STATE_DIRECTORY, home) or f"{os.devnull}/farhand")),
            identities=[absolute(os.fsencode(path)) for path in named or route.preferred],
        )

    def borrow(self) -> BorrowedWire | None:
        """Return a connection if one is ready."""
        lent = None if self._place is None else ask.connect(self._place, self._request)
        if lent is None:
            return None
        import socket

        connected = socket.socket(fileno=lent[0].detach())
        try:
            welcome, accepted = _decoded(lent[1], lent[2])
        except ProtocolError:
            connected.close()
            return None
        wire = Wire(connected)
        wire.login_done = True
        return BorrowedWire(wire, welcome, accepted)

    def offer(self, identity: bytes | None) -> None:
        """Let the helper keep a connection as that which was made with the key `identity`, unless that is None."""
        if self._place is not None and identity is not None:
            from farhand_client.mux.start import offer_or_start

            self._request.identity = identity
            offer_or_start(self._place, self._request)
