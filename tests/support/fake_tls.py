"""The fake service over TLS, and the client's record of its host key."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from farhand_client.trust.known_hosts import KnownHosts
from farhand_protocol.sshformat import PublicKey
from tests.support.fake_service import FakeService, accept_client
from tests.support.tls import tls

USER = pwd.getpwuid(os.getuid()).pw_name


@contextlib.asynccontextmanager
async def tls_service(
    directory: Path, *, known: bool = True, greet: Any = accept_client, alpn: str | None = "farhand/1"
) -> AsyncIterator[tuple[FakeService, PublicKey]]:
    """A service and its key, which is recorded in `directory` if it is `known`."""
    context, key = tls(directory / "state", alpn=alpn)
    service = FakeService()
    service.greet = greet
    async with service.on_tls(context):
        if known:
            record(directory).add("127.0.0.1", port(service), key)
        yield service, key


def port(service: FakeService) -> int:
    return int(service.host.rpartition(":")[2])


def client_socket(service: FakeService) -> socket.socket:
    """Return a duplicate of the socket by which this process is connected to the service."""
    for number in Path("/proc/self/fd").iterdir():
        # Not every descriptor is a socket, and the one used for listing is already closed.
        with contextlib.suppress(OSError), socket.fromfd(int(number.name), socket.AF_INET, socket.SOCK_STREAM) as one:
            if one.getpeername() == ("127.0.0.1", port(service)):
                return one.dup()
    raise AssertionError(f"no socket of this process is connected to {service.host}")


def received_nothing(service: FakeService) -> bool:
    """Return whether no client has sent a message."""
    return all(connection.messages == [] for connection in service.connections)


def record(directory: Path) -> KnownHosts:
    """Return the client's files if its home is `directory`."""
    return KnownHosts(directory / "config/farhand/known_hosts")
