"""Asks the helper: for a connection, or to keep one ready. Never waits long, and never fails: without an answer there
is no helper."""

from __future__ import annotations

import _socket
import os
import sys

from .place import HelperPlace
from .request import CONNECT, MAX_REQUEST, NOTED, OFFER, SERVED, ConnectionRequest, frame

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing takes 5 ms
    from typing import Final

HELPER_TIMEOUT: Final = 0.1
"""Seconds in which the helper has to answer. It needs less than one millisecond; connecting without it takes about as
long as this."""

REPORT_TIMEOUT: Final = 2.0
"""Seconds in which it has to answer somebody who asks about it."""

MAX_LOGIN_MESSAGE: Final = 16 * 1024
"""Bytes of `welcome` and of `accepted`: what the protocol allows (`Limits.login_message`)."""

_PEER_CREDENTIALS: Final = 12  # bytes of struct ucred: three integers, pid, uid and gid (unix(7))


def connect(place: HelperPlace, request: ConnectionRequest) -> tuple[_socket.socket, bytes, bytes] | None:
    """Return a connection as the request describes it, with the payloads of its `welcome` and `accepted`; None if there
    is none that is ready. The socket is in blocking mode."""
    connection = borrow(place, request)
    if connection is None:
        return None
    try:
        connection.settimeout(HELPER_TIMEOUT)
        messages = [_message(connection), _message(connection)]
        connection.settimeout(None)
    except OSError:
        connection.close()
        return None
    return connection, messages[0], messages[1]


def borrow(place: HelperPlace, request: ConnectionRequest) -> _socket.socket | None:
    """Do the same for a caller that reads `welcome` and `accepted` itself, after sending its `hello`."""
    connection = reach(place)
    if connection is None:
        return None
    try:
        connection.sendall(frame(CONNECT, request.encode()))
        if _received(connection, 8)[3] == SERVED:
            connection.settimeout(None)
            return connection
    except OSError:
        pass
    connection.close()
    return None


def offer(place: HelperPlace, request: ConnectionRequest) -> bool:
    """Suggest that the helper keep such a connection. Return whether there is a helper that answers."""
    connection = reach(place)
    if connection is None:
        return False
    try:
        connection.sendall(frame(OFFER, request.encode()))
        return _received(connection, 8)[3] == NOTED
    except OSError:
        return False
    finally:
        connection.close()


def ask_for(place: HelperPlace, kind: int) -> bytes | None:
    """Send a request without a payload. Return the payload of the answer, empty if the helper closes the connection;
    None if there is no helper that answers."""
    connection = reach(place)
    if connection is None:
        return None
    try:
        connection.settimeout(REPORT_TIMEOUT)
        connection.sendall(frame(kind))
        data = b""
        while more := connection.recv(MAX_REQUEST):
            data += more
        return data[8:]
    except OSError:
        return None
    finally:
        connection.close()


def reach(place: HelperPlace) -> _socket.socket | None:
    """Return a socket that is connected to the helper, with `HELPER_TIMEOUT`; None if there is no helper of this
    user's."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(HELPER_TIMEOUT)
        connection.connect(place.connections)
        if peer(connection)[1] == os.geteuid():
            return connection
    except OSError:
        pass
    connection.close()
    return None


def peer(connection: _socket.socket) -> tuple[int, int]:
    """Return process id and user id of the process at the other end of a Unix socket. Raises OSError."""
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER_CREDENTIALS)
    pid, uid = (int.from_bytes(credentials[at : at + 4], sys.byteorder) for at in (0, 4))
    return pid, uid


def _message(connection: _socket.socket) -> bytes:
    length = int.from_bytes(_received(connection, 8)[:3], "big")
    if length > MAX_LOGIN_MESSAGE:
        raise OSError("the helper's message is too long")
    return _received(connection, length)


def _received(connection: _socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise OSError("the helper has closed the connection")
        data += more
    return data
