"""What is said on the helper's socket, besides the Farhand protocol: frames with the header of that protocol.

A command sends one `CONNECT`, `OFFER`, `STATUS` or `STOP`. The helper answers a `CONNECT` with `SERVED`, after which
both speak the Farhand protocol as on a Unix socket, beginning with `welcome`; or with `NOT_SERVED`, and closes.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing takes 5 ms
    from collections.abc import Sequence
    from typing import Final

CONNECT: Final = 0x81
"""A request for a connection. The payload is a `ConnectionRequest`."""

OFFER: Final = 0x82
"""A suggestion to hold a connection ready. The payload is a `ConnectionRequest` with `identity`."""

STATUS: Final = 0x83
"""A request for what the helper has, answered by `HELPER_REPORT`."""

STOP: Final = 0x84
"""A request to stop. The helper closes this connection when its sockets are gone."""

SERVED: Final = 0x91
NOT_SERVED: Final = 0x92
HELPER_REPORT: Final = 0x93
"""A JSON object."""

NOTED: Final = 0x94
"""The answer to an `OFFER`."""

MAX_REQUEST: Final = 64 * 1024
"""Bytes of a request: sixteen paths of the greatest length (PATH_MAX), more than anyone names."""

_FIELDS: Final = ("identity", "host", "port", "user", "socket", "known_hosts", "config", "home", "agent", "state")


class ConnectionRequest:
    """Everything that decides where a connection leads, as whom, and whom it trusts. All of it is bytes."""

    __slots__ = (
        "agent",
        "config",
        "home",
        "host",
        "identities",
        "identity",
        "known_hosts",
        "port",
        "socket",
        "state",
        "user",
    )

    def __init__(
        self,
        *,
        host: bytes = b"",
        port: bytes = b"",
        user: bytes = b"",
        socket: bytes = b"",
        known_hosts: bytes = b"",
        config: bytes = b"",
        home: bytes = b"",
        agent: bytes = b"",
        state: bytes = b"",
        identities: Sequence[bytes] = (),
        identity: bytes = b"",
    ) -> None:
        self.host, self.port, self.user = host, port, user
        """The resolved address and the account, or else `socket`."""
        self.socket = socket
        self.known_hosts = known_hosts
        self.config = config
        """The configuration directory, in which the user's own keys are, and `home` with the usual ones."""
        self.home = home
        self.agent = agent
        """SSH_AUTH_SOCK."""
        self.state = state
        self.identities = tuple(identities)
        """The absolute paths of the key files that are named."""
        self.identity = identity
        """In an offer: which key the service has accepted, `FILE:path` or `AGENT:blob in hexadecimal`."""

    def encode(self) -> bytes:
        """Return the request for the wire."""
        return b"\0".join([*(getattr(self, name) for name in _FIELDS), *self.identities])

    @classmethod
    def decode(cls, payload: bytes) -> ConnectionRequest:
        """Return the request that `encode` has made into `payload`. Raises ValueError."""
        values = payload.split(b"\0")
        if len(values) < len(_FIELDS):
            raise ValueError("the request has too few fields")
        fields = dict(zip(_FIELDS, values, strict=False))
        return cls(**fields, identities=values[len(_FIELDS) :])

    @property
    def key(self) -> bytes:
        """What two requests have in common that one connection can serve."""
        return self.encode().partition(b"\0")[2]


def absolute(path: bytes) -> bytes:
    """Return a path of this process as the helper has to name it, whose working directory is another."""
    if os.path.isabs(path):
        return path
    try:
        return os.path.join(os.getcwdb(), path)
    except OSError:
        return path  # the directory was removed, and nothing can be opened by this path


def frame(kind: int, payload: bytes = b"") -> bytes:
    """Return a frame for the helper's socket."""
    return (len(payload) << 8 | kind).to_bytes(4, "big") + bytes(4) + payload
