"""Services under attack, with core and edge on loopback, and clients of theirs."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import farhand_client
from farhand_client import Client
from tests.support import faulty_proxy
from tests.support.processes import children
from tests.support.service import Service

USER: Final = pwd.getpwuid(os.getuid()).pw_name
"""The account that runs the campaigns, as which all clients log in."""


@contextlib.asynccontextmanager
async def network_service(directory: Path, config: str = "") -> AsyncIterator[Service]:
    """Run a service on loopback, with a core and an edge, that admits the key `directory`/key."""
    async with faulty_proxy.network_service(directory, config) as service:
        host_key = (directory / "state" / "farhand" / "host_key.pub").read_text()
        (directory / "known_hosts").write_text(f"[127.0.0.1]:{port_of(service)} {host_key}")
        yield service


def port_of(service: Service) -> int:
    """Return the port of the service's edge."""
    assert service.address is not None
    return service.address[1]


@contextlib.asynccontextmanager
async def client_of(service: Service, *, reconnect: float = 60.0, port: int | None = None) -> AsyncIterator[Client]:
    """Connect and log in over TLS, through another `port` if one is given."""
    known_hosts = service.directory / "known_hosts"
    if port is not None:
        host_key = (service.directory / "state" / "farhand" / "host_key.pub").read_text()
        known_hosts = service.directory / f"known_hosts-{port}"
        known_hosts.write_text(f"[127.0.0.1]:{port} {host_key}")
    async with farhand_client.connect(
        f"127.0.0.1:{port or port_of(service)}",
        identities=[service.directory / "key"],
        known_hosts=known_hosts,
        reconnect=reconnect,
    ) as client:
        yield client


def service_pids(service: Service) -> list[int]:
    """Return the pids of the service's processes: the core, the edge, its workers, and helpers."""
    pids = [service.process.pid]
    for pid in pids:
        with contextlib.suppress(OSError):  # it has just ended
            pids += [child for child in children(pid) if _is_ours(child)]
    return pids


def _is_ours(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"farhand" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
