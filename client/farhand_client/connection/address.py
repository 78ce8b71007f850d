"""HOST as a user writes it: `[user@]name[:port]`, `unix:PATH`, or a name from the configuration file."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import Final

from farhand_client.config import DEFAULT_PORT, load_hosts
from farhand_client.errors import AddressError

MAX_SOCKET_PATH: Final = 103
"""Longest path of a Unix socket in bytes: 107 on Linux (unix(7)), 103 on macOS; the smaller holds everywhere."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect: the Unix socket at path `socket`, or else TLS to `host` and `port`.

    `user` is the account to log in as; None is the local user's name.
    """

    host: str = ""
    port: int = DEFAULT_PORT
    user: str | None = None
    socket: str | None = None
    identities: tuple[Path, ...] = ()
    """Key files that the configuration names for this host."""

    def __str__(self) -> str:
        if self.socket is not None:
            return f"unix:{self.socket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORT else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class _HostParts:
    """The parts of HOST, before defaults and configuration are applied."""

    name: str
    port: int | None
    user: str | None
    bracketed: bool


def resolve(host: str, *, user: str | None = None, port: int | None = None, config: Path | None = None) -> Address:
    """Return the address that `host` stands for.

    `user` and `port` override what `host` says, which overrides the configuration file `config` (it need not exist).
    Raises `AddressError`.
    """
    if host.startswith("unix:"):
        return _socket(host.removeprefix("unix:"), user, port)
    written = _parse(host)
    base = None
    if config is not None and not written.bracketed and config.exists():
        alias = load_hosts(config).get(written.name)
        if alias is not None:
            base = resolve(alias.address)
            base = replace(base, identities=tuple(Path(path).expanduser() for path in alias.identities))
    if base is None:
        base = Address(host=written.name)
    user = user or written.user or base.user
    port = port or written.port
    if base.socket is not None:
        return replace(_socket(base.socket, user, port), identities=base.identities)
    return replace(base, user=user, port=port or base.port)


def _socket(path: str, user: str | None, port: int | None) -> Address:
    if not path or "\0" in path:
        raise AddressError("unix: must be followed by the path of a socket, as in unix:/run/farhand/farhandd.sock")
    if port is not None:
        raise AddressError(f"unix:{path} is a socket on this machine, which has no port")
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise AddressError(f"the socket path in unix:{path} is longer than {MAX_SOCKET_PATH} bytes (unix(7))")
    return Address(socket=path, user=user)


def _parse(host: str) -> _HostParts:
    user, at, rest = host.rpartition("@")
    if at and not user:
        raise AddressError(f"{host!r}: the user before the @ is missing")
    if rest.startswith("["):
        name, closed, after = rest[1:].partition("]")
        if not closed or (after and not after.startswith(":")):
            raise AddressError(f"{host!r}: write an IPv6 address as [ADDRESS] or [ADDRESS]:PORT")
        try:
            IPv6Address(name)
        except AddressValueError:
            raise AddressError(f"{host!r}: {name!r} is not an IPv6 address") from None
        return _HostParts(name, _port(host, after[1:]) if after else None, user or None, bracketed=True)
    if rest.count(":") > 1:
        raise AddressError(f"{host!r}: write an IPv6 address in brackets, as [ADDRESS] or [ADDRESS]:PORT")
    name, colon, digits = rest.partition(":")
    if not name or name.startswith("-") or len(name) > 255 or not name.isprintable() or {*name} & {*" /\\,?*[]"}:
        raise AddressError(f"{host!r} is not a host; write [user@]name[:port], unix:PATH or a name from config.toml")
    return _HostParts(name, _port(host, digits) if colon else None, user or None, bracketed=False)


def _port(host: str, digits: str) -> int:
    if digits.isascii() and digits.isdecimal() and len(digits) <= 5 and 1 <= int(digits) <= 65535:
        return int(digits)
    raise AddressError(f"{host!r}: {digits!r} is not a port number from 1 to 65535")
