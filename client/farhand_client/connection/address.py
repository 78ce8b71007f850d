"""HOST as a user writes it: `[user@]name[:port]`, `unix:PATH`, `ssh:[user@]name`, or a name from the configuration
file; and the hosts through which it is reached."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from farhand_client.config import is_there, load
from farhand_client.directories import DEFAULT_PORT
from farhand_client.errors import AddressError
from farhand_client.sshconfig.quick import SSH_PORT, names_hosts

if TYPE_CHECKING:
    from farhand_client.sshconfig.lookup import SshSource

MAX_SOCKET_PATH: Final = 103
"""Longest path of a Unix socket in bytes: 107 on Linux (unix(7)), 103 on macOS; the smaller holds everywhere."""

MAX_LABEL: Final = 63
"""Longest part of a host name between two dots, in bytes as encoded for the DNS (RFC 1035, section 2.3.4)."""

MAX_HOST_NAME: Final = 253
"""Longest host name in bytes as encoded for the DNS: 255 on the wire, less the lengths of the first and last label."""

MAX_USER: Final = 255
"""Longest user name in characters that the protocol carries (`farhand_protocol.model.Name`)."""

MAX_HOPS: Final = 8
"""Hosts on the way to one: each adds its round trips, and nobody's network is as deep."""

NO_HOPS: Final = "none"
"""What is written in place of hosts to reach a host directly, whatever the configuration says; as ssh's ProxyJump."""

_FORMS: Final = "write [user@]name[:port], unix:PATH, ssh:[user@]name or a name from config.toml"

_DOTS: Final = str.maketrans("\u3002\uff0e\uff61", "...")
"""The other characters that count as dots in a host name (RFC 3490, section 3.1)."""

_OWN_SCHEMES: Final = frozenset({"farhand", "farhandd", "tls"})
"""Schemes of a URL whose port can be Farhand's; ssh's or a web server's port never is."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect: the Unix socket at path `socket`, or else TLS to `host` and `port`; with `ssh`, the program ssh
    connects to `host`, and port 0 is the one that ssh's configuration says.

    `user` is the account to log in as; None is the local user's name, or with `ssh` what ssh's configuration says.
    """

    host: str = ""
    port: int = DEFAULT_PORT
    user: str | None = None
    socket: str | None = None
    ssh: bool = False
    via: tuple[Address, ...] = ()
    """The hosts on the way, the nearest first. The next one is reached from each; theirs are empty."""
    is_ssh_port: bool = field(default=False, compare=False)
    """Whether `port` is the one of ssh's configuration, where Farhand need not be what listens."""
    identities: tuple[Path, ...] = ()
    """Key files that the configuration names for this host; no others are used."""
    preferred: tuple[Path, ...] = ()
    """Key files to try before all others."""
    family: int = 0
    """The only address family to be used (AF_INET, AF_INET6); 0 for any."""
    agent: str | None = None
    """The socket of the ssh-agent, empty for none; None if it is the one that SSH_AUTH_SOCK names."""
    config: Path | None = field(default=None, compare=False)
    """The configuration file in which the name was looked up, for messages about it."""
    alias: str | None = field(default=None, compare=False)
    """The name that was found there; None if it was not."""
    mux: str | None = field(default=None, compare=False)
    """What the configuration says about the use of the helper for this host; None if nothing."""

    @property
    def asks_for_no_key(self) -> bool:
        """Whether the connection arrives at a Unix socket, where the kernel tells the service who is calling: whatever
        leads there is trusted, so that neither TLS nor a host key is needed."""
        return self.ssh or self.socket is not None

    def __str__(self) -> str:
        if self.socket is not None:
            return f"unix:{self.socket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.ssh:
            return f"ssh:{host}:{self.port}" if self.port else f"ssh:{host}"
        return host if self.port == DEFAULT_PORT else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class _HostParts:
    """The parts of HOST, before defaults and configuration are applied."""

    name: str
    port: int | None
    user: str | None
    bracketed: bool


def resolve(
    host: str,
    *,
    user: str | None = None,
    port: int | None = None,
    config: Path | None = None,
    via: Sequence[str] | None = None,
    ssh: SshSource | None = None,
) -> Address:
    """Return the address that `host` stands for.

    `user` and `port` override what `host` says, which overrides the configuration file `config` (it need not exist),
    and that what `ssh` says about a host; with `config` its default is ssh's own configuration.
    `via` are the hosts on the way, the nearest first, each written as a HOST; None is what the configuration says.
    Raises `AddressError`, and TypeError if `host` is not a str.
    """
    if ssh is None and config is not None and names_hosts():
        from farhand_client.sshconfig.lookup import SshSource

        ssh = SshSource.usual()
    found = _resolve(host, user, port, _Sources(config, ssh), via, ())
    _check_hops(found)
    return found


class _Sources(NamedTuple):
    """Where hosts are looked up: `config.toml`, and ssh's configuration."""

    config: Path | None
    ssh: SshSource | None


def _resolve(
    host: str,
    user: str | None,
    port: int | None,
    sources: _Sources,
    via: Sequence[str] | None,
    trail: tuple[str, ...],
) -> Address:
    """`trail` are the hosts that this one is on the way to."""
    if not isinstance(host, str):
        raise TypeError(f"the host is {type(host).__name__}; it must be a str: [user@]name[:port], unix:PATH, …")
    if port is not None:
        _check_port(host, port)
    if user is not None:
        _check_user(repr(host), user)
    config = sources.config
    if host.startswith("unix:"):
        return _reached(_socket(host.removeprefix("unix:"), user, port), via or (), sources, (*trail, host))
    ssh = _is_ssh(host)
    written = _parse(host.removeprefix("ssh:") if ssh else host)
    base, mux = None, None
    configured: Sequence[str] = ()
    if config is not None and not ssh and not written.bracketed and is_there(config):
        base, mux, configured = _configured(config, written.name)
    if base is None:
        if not written.bracketed:
            _check_name(host, written.name)
        base = Address(host=written.name, port=0 if ssh else DEFAULT_PORT, ssh=ssh, config=config, mux=mux)
        if sources.ssh is not None and not ssh:
            base, configured = _known_to_ssh(base, sources.ssh, user or written.user, port or written.port)
    elif sources.ssh is not None:
        base, configured = _with_command_line(base, configured, sources.ssh)
    user = user or written.user or base.user
    port = port or written.port
    if base.socket is not None:
        base = replace(base, socket=_socket(base.socket, user, port).socket, user=user)
    else:
        base = replace(base, user=user, port=port or base.port, is_ssh_port=base.is_ssh_port and not port)
    return _reached(base, configured if via is None else via, sources, (*trail, host))


def _with_command_line(base: Address, via: Sequence[str], source: SshSource) -> tuple[Address, Sequence[str]]:
    """Return the address of a host in `config.toml`, and the hosts on the way, with what a command line of ssh says."""
    if source.identities:
        base = replace(base, identities=(), preferred=tuple(map(Path, source.identities)))
    typed = source.typed
    if typed is None:
        return base, via
    if typed.command is not None:
        raise AddressError("a ProxyCommand is for ssh alone; with Farhand, -J names the hosts on the way")
    if typed.family:
        base = replace(base, family=typed.family)
    return base, typed.jumps if "proxyjump" in typed.values else via


def _known_to_ssh(
    base: Address, source: SshSource, user: str | None, port: int | None
) -> tuple[Address, Sequence[str]]:
    """Return the address with what ssh's configuration says about it, and the hosts on the way."""
    found = source.look_up(base.host, user, port)
    if found is None:
        return base, ()
    if found.command is not None:
        raise AddressError(
            f"ssh's configuration has a ProxyCommand for {base.host}, which only ssh can use; write ssh:{base.host} to "
            "connect through ssh, or say in config.toml where the service is"
        )
    if ":" not in found.host:
        _check_name(found.host, found.host)
    if found.user is not None:
        _check_user(f"the User of ssh's configuration for {base.host}", found.user)
    files = tuple(map(Path, found.identities))
    own_port = found.port != SSH_PORT
    known = replace(
        base,
        host=found.host,
        port=found.port if own_port else DEFAULT_PORT,
        is_ssh_port=own_port,
        user=found.user,
        identities=files if found.only_identities else (),
        preferred=() if found.only_identities else files,
        agent=found.agent,
        family=found.family,
    )
    return known, found.jumps


def _is_ssh(host: str) -> bool:
    # A host may be called ssh, and have a port.
    name = host.removeprefix("ssh:")
    return name != host and not name.isdecimal() and not name.startswith("//")


def _reached(address: Address, via: Sequence[str], sources: _Sources, trail: tuple[str, ...]) -> Address:
    """Return `address` with the hosts on the way to it: `via`, and those on the way to the first of them."""
    hops: list[Address] = []
    there = sources._replace(ssh=sources.ssh and sources.ssh.for_hop())
    for hop in via if list(via) != [NO_HOPS] else ():
        if hop in trail or len(trail) > MAX_HOPS:
            way = " → ".join([*trail, hop])
            raise AddressError(f"{trail[0]!r} is reached through hosts that lead to each other: {way}")
        # As with ssh's ProxyJump, only the nearest is reached as its own configuration says.
        found = _resolve(hop, None, None, there, () if hops else None, trail)
        hops += (*found.via, replace(found, via=()))
    return replace(address, via=tuple(hops)) if hops else address


def _check_hops(address: Address) -> None:
    """Raise `AddressError` unless `address` can be reached as it says."""
    if len(address.via) > MAX_HOPS:
        raise AddressError(f"{address} is reached through {len(address.via)} hosts; {MAX_HOPS} are the most")
    way = (*address.via, address)
    for number, each in enumerate(way):
        if number and each.ssh:
            raise AddressError(
                f"{each} is reached by ssh alone: set ProxyJump in ssh's configuration, or name it first"
            )
        if any(str(each) == str(other) for other in way[:number] if each.socket is None):
            raise AddressError(f"the way to {address} leads through {each} twice")


def _configured(config: Path, name: str) -> tuple[Address | None, str | None, Sequence[str]]:
    """Return the address of a host in the file, None if it is not there; what the file says about the helper; and the
    hosts on the way."""
    found = load(config)
    entry = found.hosts.get(name)
    if entry is None:
        return None, found.mux, ()
    try:
        base = resolve(entry.address)
    except AddressError as error:
        raise AddressError(f"{found.place('hosts', name, 'address')}: {error}") from None
    try:
        identities = tuple(Path(path).expanduser() for path in entry.identities)
    except RuntimeError:
        where = found.place("hosts", name, "identities")
        raise AddressError(f"{where}: ~ stands for no directory: no home directory is known; set HOME") from None
    mux = entry.mux or found.mux
    return replace(base, identities=identities, config=config, alias=name, mux=mux), mux, entry.via


def _socket(path: str, user: str | None, port: int | None) -> Address:
    if not path or "\0" in path:
        raise AddressError("unix: must be followed by the path of a socket, as in unix:/run/farhand/farhandd.sock")
    if port is not None:
        raise AddressError(f"unix:{path} is a socket on this machine, which has no port")
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise AddressError(f"the socket path in unix:{path} is longer than {MAX_SOCKET_PATH} bytes (unix(7))")
    return Address(socket=path, user=user)


def _parse(host: str) -> _HostParts:
    if not host.strip():
        raise AddressError(f"HOST is {'blank' if host else 'empty'}; {_FORMS}")
    if "://" in host:
        raise AddressError(_url_sentence(host))
    user, at, rest = host.rpartition("@")
    if at and not user:
        raise AddressError(f"{host!r}: the user before the @ is missing")
    if at and not rest:
        raise AddressError(f"{host!r}: the name after the @ is missing")
    if at and rest.startswith("ssh:") and _is_ssh(rest):
        raise AddressError(f"{host!r}: write ssh:{user}@{rest.removeprefix('ssh:')}")
    if at and "unix:" in host:
        socket = host[host.index("unix:") :]
        raise AddressError(f"{host!r}: write {socket}; the kernel tells the service on a socket who you are")
    if user:
        _check_user(repr(host), user)
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
    if not name:
        raise AddressError(f"{host!r}: the name before the port is missing")
    wrong = sorted({*name} & {*" /\\,?*[]"} | {char for char in name if not char.isprintable()})
    if wrong:
        raise AddressError(f"{host!r} is not a host: a name cannot contain {wrong[0]!r}; {_FORMS}")
    if name.startswith("-"):
        raise AddressError(f"{host!r} is not a host: a name cannot begin with a hyphen; {_FORMS}")
    return _HostParts(name, _port(host, digits) if colon else None, user or None, bracketed=False)


def _port(host: str, digits: str) -> int:
    if digits.isascii() and digits.isdecimal() and len(digits) <= 5 and 1 <= int(digits) <= 65535:
        return int(digits)
    if not digits:
        raise AddressError(f"{host!r}: the port after the colon is missing")
    raise AddressError(f"{host!r}: {digits!r} is not a port number from 1 to 65535")


def _check_port(host: str, port: object) -> None:
    if not isinstance(port, int) or not 1 <= port <= 65535:
        raise AddressError(f"{host!r}: the port {port!r} is not a number from 1 to 65535")


def _check_user(where: str, user: str) -> None:
    if not user:
        raise AddressError(f"{where}: the user is empty")
    if not user.isprintable():
        raise AddressError(f"{where}: a user name cannot contain control characters or bytes that are not UTF-8")
    if len(user) > MAX_USER:
        raise AddressError(f"{where}: the user name is longer than {MAX_USER} characters")


def _url_sentence(host: str) -> str:
    scheme, _, rest = host.partition("://")
    instead = rest
    for end in "/?#":
        instead = instead.partition(end)[0]
    user, at, name = instead.rpartition("@")
    if scheme.lower() not in _OWN_SCHEMES and not name.endswith("]"):
        name = name.rpartition(":")[0] or name  # the port of another protocol
    instead = f"{user.partition(':')[0]}{at}{name}"
    return f"{host!r} is a URL; write {instead}" if name else f"{host!r} is a URL; {_FORMS}"


def _check_name(host: str, name: str) -> None:
    """Raise `AddressError` unless `name` can be encoded for a look-up in the DNS (RFC 1035, RFC 3490)."""
    from itertools import pairwise

    wrong = f"{host!r} is not a host name"
    labels = name.translate(_DOTS).removesuffix(".").split(".")
    if labels == [""] or not labels[0]:
        raise AddressError(f"{wrong}: it begins with a dot")
    if any(not after for _, after in pairwise(labels)):
        raise AddressError(f"{wrong}: there is nothing between two of its dots")
    encoded = [_encoded_label(wrong, label) for label in labels]
    if len(".".join(encoded)) > MAX_HOST_NAME:
        raise AddressError(f"{wrong}: it is longer than {MAX_HOST_NAME} characters")


def _encoded_label(wrong: str, label: str) -> str:
    shown = repr(label if len(label) <= 20 else f"{label[:20]}…")
    if label.isascii():
        encoded = label
    else:
        try:
            encoded = label.encode("idna").decode()
        except UnicodeError as error:
            reason = str(error.__cause__ or error)
            raise AddressError(f"{wrong}: {shown} cannot be encoded for the DNS: {reason}") from None
    if len(encoded) > MAX_LABEL:
        raise AddressError(f"{wrong}: its part {shown} has {len(encoded)} characters, more than {MAX_LABEL}")
    return encoded
