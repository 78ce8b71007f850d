"""What HOST means, for the plain forms of it: `[user@]name[:port]`, `unix:PATH`, or a name from `config.toml`."""

from __future__ import annotations

import os

from farhand_client.directories import CONFIG_DIRECTORY, DEFAULT_PORT, directory, home
from farhand_client.sshconfig.quick import SSH_PORT, names_hosts
from farhand_protocol.records import NamedTuple

from .deadline import NotDirectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from farhand_client.sshconfig.lookup import SshHost
    from farhand_client.sshconfig.session import SshSession

_MAX_SOCKET_PATH = 103  # as in `connection.address`
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
_USER_CHARACTERS = _NAME_CHARACTERS | frozenset("+$~=")


class Route(NamedTuple):
    """Where to connect, as `connection.address.Address`: the Unix socket at `socket`, or else TLS to `host`."""

    host: str = ""
    port: int = DEFAULT_PORT
    user: str | None = None
    socket: str | None = None
    identities: tuple[str, ...] = ()
    preferred: tuple[str, ...] = ()
    agent: str | None = None
    mux: str | None = None

    def __str__(self) -> str:
        if self.socket is not None:
            return f"unix:{self.socket}"
        return self.host if self.port == DEFAULT_PORT else f"{self.host}:{self.port}"


def find_route(text: str, session: SshSession | None = None) -> Route:
    """Return what `text` stands for, or the host of a command line of ssh.

    Raises NotDirectError for whatever is not plain, also if it is wrong.
    """
    if text.startswith("unix:"):
        return plain_route(text)
    route = plain_route(text)
    if session is not None:
        route = route._replace(user=session.user, port=session.port or DEFAULT_PORT)
    configuration = config_file()
    if configuration is None:
        return _known_to_ssh(route, text, session)
    from farhand_client.config import load
    from farhand_client.errors import AddressError

    try:
        found = load(configuration)
    except AddressError:
        raise NotDirectError from None
    entry = found.hosts.get(route.host)
    if entry is None:
        return _known_to_ssh(route._replace(mux=found.mux), text, session)
    base = plain_route(entry.address)
    if entry.via or (session is not None and session.way is not None):
        raise NotDirectError
    if route.port != DEFAULT_PORT or ":" in text or base.socket is not None:
        raise NotDirectError  # a port of one's own for a host in the file, or a socket
    identities = tuple(map(expanded_path, entry.identities))
    base = base._replace(user=route.user or base.user, identities=identities, mux=entry.mux or found.mux)
    if session is not None and session.own_identities:
        base = base._replace(identities=(), preferred=tuple(session.own_identities))
    return base


def _known_to_ssh(route: Route, text: str, session: SshSession | None) -> Route:
    """Return the route with what ssh's configuration says about its host. Raises NotDirectError."""
    if session is None and not names_hosts():
        return route
    from farhand_client.errors import AddressError
    from farhand_client.sshconfig.lookup import SshSource

    if session is not None:
        try:
            return _with_ssh(route, session.host, session.port)
        except AddressError:
            raise NotDirectError from None

    source = SshSource.usual()
    port = route.port if route.port != DEFAULT_PORT or text.endswith(f":{DEFAULT_PORT}") else None
    try:
        found = None if source is None else source.look_up(route.host, route.user, port)
        return route if found is None else _with_ssh(route, found, port)
    except AddressError:
        raise NotDirectError from None


def _with_ssh(route: Route, found: SshHost, port: int | None) -> Route:
    """Raises NotDirectError and `AddressError`."""
    if found.command is not None or found.jumps or found.family or (found.port != SSH_PORT and port is None):
        raise NotDirectError  # another way, or a port at which an ssh server may answer
    there = plain_route(found.host)
    if there.socket is not None or there.user is not None or there.port != DEFAULT_PORT:
        raise NotDirectError
    files = tuple(found.identities)
    return route._replace(
        host=there.host,
        user=found.user,
        identities=files if found.only_identities else (),
        preferred=() if found.only_identities else files,
        agent=found.agent,
    )


def default_host() -> str | None:
    """Return the HOST of a command that names none; None if there is no default. Raises NotDirectError."""
    if named := os.environ.get("FARHAND_HOST"):
        return named
    configuration = config_file()
    if configuration is None:
        return None
    from farhand_client.config import load
    from farhand_client.errors import AddressError

    try:
        return load(configuration).default_host
    except AddressError:
        raise NotDirectError from None


def config_file() -> Path | None:
    """Return the path of `config.toml`; None if there is none. Raises NotDirectError if that cannot be found out."""
    where = config_directory()
    try:
        os.stat(f"{where}/config.toml")
    except FileNotFoundError:
        return None
    except OSError:
        raise NotDirectError from None
    from pathlib import Path

    return Path(where, "config.toml")


def config_directory() -> str:
    """Return the configuration directory. Raises NotDirectError if there is none."""
    found = directory(CONFIG_DIRECTORY, home())
    if found is None:
        raise NotDirectError
    return found


def expanded_path(path: str) -> str:
    """Return the path of a key file with a leading `~` expanded. Raises NotDirectError if that is impossible."""
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise NotDirectError
    return found


def plain_route(text: str) -> Route:
    """Return the route of a HOST without looking it up. Raises NotDirectError."""
    if text.startswith("unix:"):
        path = text[5:]
        if not path or "\0" in path or len(os.fsencode(path)) > _MAX_SOCKET_PATH:
            raise NotDirectError
        return Route(socket=path)
    user, at, rest = text.rpartition("@")
    name, colon, digits = rest.partition(":")
    labels = name.removesuffix(".").split(".")
    plain = (
        (not at or (0 < len(user) <= 255 and _USER_CHARACTERS.issuperset(user)))
        and _NAME_CHARACTERS.issuperset(name)
        and not name.startswith("-")
        and all(0 < len(label) <= 63 for label in labels)
        and len(name) <= 253
        and (not colon or (digits.isascii() and digits.isdecimal() and len(digits) <= 5 and 1 <= int(digits) <= 65535))
    )
    if not plain:
        raise NotDirectError
    return Route(name, int(digits) if colon else DEFAULT_PORT, user or None)
