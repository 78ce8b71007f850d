"""What a tunnel may connect to, and where it may listen: the policy's patterns and the options of the key. Without I/O.

    HOST:PORTS     HOST is `*`, a name with `*` and `?`, an address or a network; PORTS is `*`, a port or FIRST-LAST
    [IPV6]:PORTS   an address or a network of IPv6
    unix:PATH      the path of a Unix socket; wildcards are those of the policy's directories

A name is compared with the name that is asked for, an address or a network with the address that is connected to. Only
`*` and networks match whatever somebody's name leads to, and some addresses (`addresses`) are reached only by a pattern
that names them, or a network inside of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from ipaddress import ip_network
from typing import Final, NamedTuple

from farhand_forwards.targets import MAX_PORT, InetTarget, UnixTarget
from farhand_protocol.wildcards import matches_pattern

from .addresses import IPAddressOf, IPNetworkOf, guarded, parsed_address

MAX_FORWARD_PATTERN: Final = 512
"""Characters of a pattern: more than the longest name, and more than the longest path of a Unix socket."""

UNIX: Final = "unix:"

ANY_CONNECTION: Final = ("*:*", "unix:*")
"""What may be connected to where nothing says otherwise: what the user could reach with a program of their own."""

LOOPBACK_LISTENERS: Final = ("localhost:*", "unix:*")
"""Where tunnels may listen where nothing says otherwise: what others reach over the network must be allowed (as with
GatewayPorts of sshd_config(5))."""

_HOST_AND_PORTS: Final = re.compile(
    r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^\[\]:]+)):(?P<ports>\*|[0-9]{1,5}(?:-[0-9]{1,5})?)"
)
_NO_NAME: Final = re.compile(r"[0-9.*?/]+")
_NAME: Final = re.compile(r"[a-z0-9_.*?-]+")


class ForwardPattern(NamedTuple):
    """One pattern. `host` is a name, perhaps with wildcards, or empty if the pattern is about a network or a path."""

    text: str
    host: str
    network: IPNetworkOf | None
    first: int
    last: int
    path: str | None

    def has_port(self, port: int) -> bool:
        """Whether the pattern is about a port. Port 0, any that is free, needs a pattern for all of them."""
        return self.first <= port <= self.last


def parse_forward_pattern(text: str) -> ForwardPattern:
    """Return the pattern that a rule has written. Raises ValueError with what is wrong."""
    if len(text) > MAX_FORWARD_PATTERN or not text.isprintable():
        raise ValueError(f"must have at most {MAX_FORWARD_PATTERN} characters, all printable")
    if text.startswith(UNIX):
        return ForwardPattern(text, "", None, 1, 0, _path_pattern(text[len(UNIX) :]))
    found = _HOST_AND_PORTS.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is neither HOST:PORTS nor unix:PATH; PORTS is *, a port or FIRST-LAST, and an address of IPv6 "
            "is in brackets"
        )
    first, last = _ports(found["ports"])
    host = (found["v6"] or found["host"]).lower().removesuffix(".")
    network = None if host == "*" or (found["v6"] is None and not _NO_NAME.fullmatch(host)) else _network(host)
    if network is None and not _NAME.fullmatch(host):
        raise ValueError(f"{host!r} is neither a name, with * and ?, nor an address")
    return ForwardPattern(text, "" if network is not None else host, network, first, last, None)


def _ports(text: str) -> tuple[int, int]:
    if text == "*":
        return 0, MAX_PORT
    low, _, high = text.partition("-")
    first, last = int(low), int(high or low)
    if not 1 <= first <= last <= MAX_PORT:
        raise ValueError(f"{text!r} is no port or range of ports: 1 to {MAX_PORT}")
    return first, last


def _network(text: str) -> IPNetworkOf:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an address or a network ADDRESS/LENGTH with no bits set after LENGTH; wildcards are for "
            "names"
        ) from None


def _path_pattern(path: str) -> str:
    if (path != "*" and not path.startswith(("/", "~/"))) or "\0" in path:
        raise ValueError(f"{path!r} must be an absolute path, begin with ~/, or be *")
    if not {"", ".", ".."}.isdisjoint(path.split("/")[1:]):
        raise ValueError(f"{path!r} must have no '.', '..' and '//'")
    return path


class Permission(NamedTuple):
    """What `permitopen` or `permitlisten` of a key names: a host, and a port, 0 for all of them (sshd(8))."""

    host: str
    port: int

    def opens(self, target: InetTarget) -> bool:
        """Whether it permits a connection. Names are not looked up."""
        return self.host in ("*", target.host.lower()) and self.port in (0, target.port)

    def listens(self, where: InetTarget) -> bool:
        """Whether it permits a listener. One for which no host was asked has the name `localhost`."""
        return matches_pattern(where.host.lower() or "localhost", self.host) and self.port in (0, where.port)


def parse_permission(text: str, *, listener: bool = False) -> Permission:
    """Return what the option `permitopen` names, or, with `listener`, `permitlisten`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if listener and not colon:
        host = "*"
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else "" if ":" in host else host
    if not host or not (port == "*" or (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= MAX_PORT)):
        raise ValueError(
            f"{text!r} is not {'[HOST:]PORT' if listener else 'HOST:PORT'}, with a port of 1 to {MAX_PORT} or *"
        )
    return Permission(host.lower(), 0 if port == "*" else int(port))


class ForwardRules(NamedTuple):
    """What one tunnel may do: by patterns of the policy, and by options of the key, None without such an option.
    `agent` allows a socket for the agent of the client's user."""

    connect: tuple[str, ...] = ANY_CONNECTION
    listen: tuple[str, ...] = LOOPBACK_LISTENERS
    agent: bool = True
    permit_open: tuple[Permission, ...] | None = None
    permit_listen: tuple[Permission, ...] | None = None


class ForwardJudge:
    """Decides by rules. Each method returns None if something is allowed, and else a sentence that says why not."""

    def __init__(self, rules: ForwardRules) -> None:
        self._rules: Final = rules
        self._connect: Final = tuple(map(parse_forward_pattern, rules.connect))
        self._listen: Final = tuple(map(parse_forward_pattern, rules.listen))
        self.all_paths: Final = _all_paths(self._connect) and rules.permit_open is None
        """Whether a connection to any Unix socket is allowed."""

    def denied_connection(self, target: InetTarget, address: str) -> str | None:
        """Judge a connection to `address`, which was resolved from the target's host."""
        try:
            reached = parsed_address(address)
        except ValueError:
            return f"{address!r} is no address"
        shown = str(target) if target.host == address else f"{target} ({address})"
        permitted = self._rules.permit_open
        if permitted is not None and not (target.transport == "tcp" and any(each.opens(target) for each in permitted)):
            return f"this key does not allow a connection to {target} (permitopen in authorized_keys)"
        guard = guarded(reached)
        about = [each for each in self._connect if each.path is None and each.has_port(target.port)]
        if guard is not None:
            network, what = guard
            if any(each.network is not None and _names(each.network, network, reached) for each in about):
                return None
            return f"no rule of the policy names {address}, which is {what}"
        if any(_matches_host(each, target.host, reached) for each in about):
            return None
        return f"the policy does not allow a connection to {shown}"

    def denied_path(self, path: bytes, home: bytes) -> str | None:
        """Judge a connection to the Unix socket at `path`, which is absolute and has no symbolic links."""
        if self._rules.permit_open is not None:
            return "this key does not allow connections to Unix sockets (permitopen in authorized_keys)"
        return self._denied_path("a connection to", self._connect, path, home)

    def denied_listener(self, where: InetTarget, address: str | None) -> str | None:
        """Judge a listener on `address`; None stands for all loopback addresses, or, if the host is `*`, for all."""
        permitted = self._rules.permit_listen
        if permitted is not None and not (where.transport == "tcp" and any(each.listens(where) for each in permitted)):
            return f"this key does not allow a listener on {where} (permitlisten in authorized_keys)"
        about = [each for each in self._listen if each.path is None and each.has_port(where.port)]
        if address is None:
            host = "*" if where.host == "*" else "localhost"
            allowed = any(each.host in ("*", host) for each in about)
        else:
            bound = parsed_address(address)
            names = {where.host, "localhost"} if bound.is_loopback else {where.host} - {"localhost"}
            allowed = any(_matches_host(each, name, bound) for each in about for name in names)
        if allowed:
            return None
        free = " on any free port" if where.port == 0 else ""
        return f"the policy does not allow a listener on {where._replace(host=where.host or 'localhost')}{free}"

    def denied_listening_path(self, path: bytes, home: bytes) -> str | None:
        """Judge a listener at a path, whose directory is absolute and has no symbolic links. An empty path is a socket
        for an agent."""
        if not path:
            return None if self._rules.agent else "neither policy nor key allow the forwarding of an agent"
        if self._rules.permit_listen is not None:
            return "this key does not allow listeners on Unix sockets (permitlisten in authorized_keys)"
        return self._denied_path("a listener on", self._listen, path, home)

    def _denied_path(self, what: str, patterns: Sequence[ForwardPattern], path: bytes, home: bytes) -> str | None:
        text, base = path.decode(errors="surrogateescape"), home.decode(errors="surrogateescape").rstrip("/")
        for each in patterns:
            if each.path is not None:
                pattern = base + each.path[1:] if each.path.startswith("~") else each.path
                if _matches_path(pattern, text):
                    return None
        return f"the policy does not allow {what} {UnixTarget(path)}"


def _names(network: IPNetworkOf, guard: IPNetworkOf, address: IPAddressOf) -> bool:
    """Whether the network of a pattern, which must be a part of that which is guarded, has an address."""
    if network.version != address.version or address not in network:
        return False
    return network.prefixlen >= (guard.prefixlen if guard.version == network.version else network.max_prefixlen)


def _matches_host(pattern: ForwardPattern, host: str, address: IPAddressOf) -> bool:
    if pattern.network is not None:
        return address in pattern.network
    return pattern.host == "*" or (
        not _is_address(host) and matches_pattern(host.lower().removesuffix("."), pattern.host)
    )


def _is_address(host: str) -> bool:
    try:
        parsed_address(host)
    except ValueError:
        return False
    return True


def _all_paths(patterns: Sequence[ForwardPattern]) -> bool:
    return any(each.path == "*" for each in patterns)


def _matches_path(pattern: str, path: str) -> bool:
    """Whether a path matches: a wildcard matches no slash, but a last component `*` everything below."""
    if pattern == "*":
        return True
    patterns, parts = pattern.split("/"), path.split("/")
    if patterns[-1] == "*" and len(parts) > len(patterns):
        parts = parts[: len(patterns)]
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))
