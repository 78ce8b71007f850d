"""Where forwards lead and listen, from the arguments of the API."""

from __future__ import annotations

from typing import Any

from farhand_client.arguments import as_bytes, as_choice, as_count, as_str
from farhand_client.options import Argument
from farhand_forwards.targets import (
    MAX_HOST_SIZE,
    MAX_PORT,
    MAX_UNIX_PATH,
    ForwardTarget,
    InetTarget,
    Transport,
    UnixTarget,
)


def target_of(host: str | None, port: int | None, path: Argument | None, transport: Transport) -> ForwardTarget:
    """Return where connections lead: to a host and a port, or to the path of a Unix socket."""
    kind = as_choice(transport, "transport", ("tcp", "udp"))
    if path is not None:
        if host is not None or port is not None:
            raise TypeError("a connection leads either to host and port or to path, not to both")
        return _unix(path, "path", kind)
    if host is None or port is None:
        raise TypeError("a connection needs a host and a port, or a path")
    name = _host(host, "host")
    if not name:
        raise ValueError("host is empty; for the service's machine itself use localhost")
    return InetTarget(name, _port(port, "port", 1), kind)


def listener_of(host: str | None, port: int, path: Argument | None, transport: Transport) -> ForwardTarget:
    """Return where to listen. Without a host, or with `localhost`, that is each loopback address."""
    kind = as_choice(transport, "transport", ("tcp", "udp"))
    if path is not None:
        if host is not None or port:
            raise TypeError("a forward listens either on listen_host and listen_port or at listen_path, not at both")
        return _unix(path, "listen_path", kind)
    name = "" if host is None else _host(host, "listen_host") or "*"
    return InetTarget("" if name == "localhost" else name, _port(port, "listen_port", 0), kind)


def _host(value: Any, where: str) -> str:
    host = as_str(value, where)
    if len(host) > MAX_HOST_SIZE:
        raise ValueError(f"{where} has {len(host)} characters; a name or an address has at most {MAX_HOST_SIZE}")
    if not host.isprintable() or any(char.isspace() or char == "/" for char in host):
        raise ValueError(f"{where} is {host!r}; it must be a name or an address")
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _port(value: Any, where: str, lowest: int) -> int:
    port = as_count(value, where)
    if not lowest <= port <= MAX_PORT:
        raise ValueError(f"{where} is {port}; it must be {lowest} to {MAX_PORT}")
    return port


def _unix(value: Any, where: str, transport: str) -> UnixTarget:
    path = as_bytes(value, where)
    if transport != "tcp":
        raise ValueError(f"{where} is a Unix socket, which has no datagrams here; transport must be tcp")
    if not 1 <= len(path) <= MAX_UNIX_PATH:
        raise ValueError(f"{where} has {len(path)} bytes; the path of a Unix socket has 1 to {MAX_UNIX_PATH}")
    return UnixTarget(path)
