"""Asks a kept process over its socket, and waits for the answer."""

from __future__ import annotations

import os
import socket
from typing import Any, Final

from farhand_client.mux.ask import peer

from .place import KeptError, KeptPlace
from .requests import MAX_CONTROL_LINE, ControlRequest, decode_line

REPORT_ANSWER_TIMEOUT: Final = 5.0
"""Seconds for a kept process to report or end: it needs milliseconds."""


def ask(place: KeptPlace, request: ControlRequest, timeout: float = REPORT_ANSWER_TIMEOUT) -> dict[str, Any]:
    """Return the report that a kept process answers. Raises `KeptError`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(os.fsencode(place.socket))
            if peer(connection)[1] != os.geteuid():
                raise KeptError(f"{place.socket} belongs to another user")
            connection.sendall(request.encode())
            answer = decode_line(_line(connection))
    except TimeoutError:
        raise KeptError(f"the process of the kept forwards did not answer within {timeout:g} seconds") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else f"it answered with {error}"
        raise KeptError(f"cannot ask the process of the kept forwards: {reason}") from None
    match answer:
        case {"ok": dict(report)}:
            return report
        case {"error": str(sentence)}:
            raise KeptError(sentence)
    raise KeptError("the process of the kept forwards answered neither a report nor an error")


def _line(connection: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        more = connection.recv(65536)
        if not more:
            raise OSError("it has ended")
        data += more
        if len(data) > MAX_CONTROL_LINE:
            raise ValueError("a line that is too long")
    return bytes(data)
