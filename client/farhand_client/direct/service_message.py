"""What the service says about the connection, on channel 0."""

from __future__ import annotations

from farhand_client.handover import LostConnection
from farhand_protocol.errors import ErrorCode, RemoteProtocolError
from farhand_protocol.plain.codec import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import Wire


def service_message(wire: Wire, payload: memoryview) -> LostConnection | None:
    """Act on a message; return why the connection ends, if it does. Raises RemoteProtocolError and OSError."""
    message = decode(bytes(payload))
    match message["type"]:
        case "ping":
            wire.send(0, {"type": "pong", "id": message["id"]})
        case "pong" | "going_away":
            pass
        case "error":
            return LostConnection(ErrorCode(message["code"]), message["message"])
        case other:
            raise RemoteProtocolError(ErrorCode.NOT_LEGAL, f"{other} is not legal on channel 0 in phase ready")
    return None
