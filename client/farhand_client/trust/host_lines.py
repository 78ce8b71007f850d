"""The lines of a known_hosts file, and what they say about a service's key. No I/O.

The syntax is OpenSSH's (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). A name without a port means Farhand's port, 7022; any
other port is written `[name]:port`.
"""

from __future__ import annotations

import base64
import binascii
import hmac

from farhand_client.directories import DEFAULT_PORT
from farhand_client.trust import KnownHostsError
from farhand_protocol import sshformat
from farhand_protocol.records import NamedTuple
from farhand_protocol.sshformat import PublicKey, SSHFormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, Literal, TypeAlias

MAX_KNOWN_HOSTS_SIZE: Final = 1024 * 1024
"""Bytes: ten thousand services at a hundred bytes each."""

NOT_IN_A_NAME: Final = frozenset(",*?!|@#[]\"'\\/")
"""Characters with a meaning in the file: separators, wildcards, negation, markers, hashes."""


HostKeyState: TypeAlias = "Literal['known', 'unknown', 'changed', 'revoked']"
"""What the file says about a service's key.

- known: a line for the service has this key;
- unknown: the file has no line for the service;
- changed: it has lines for the service, but none with this key;
- revoked: a @revoked line has this key.
"""


class HostLine(NamedTuple):
    """A line that names services: its number from 1, `@revoked` or another marker, the names, and the key.

    `problem` says why there is no key.
    """

    line: int
    marker: str
    hosts: str
    key: PublicKey | None
    problem: str = ""


def look_up(data: bytes, names: tuple[str, ...], key: PublicKey) -> tuple[HostKeyState, HostLine | None]:
    """Return what a file with this content says about `key` for the service of these `service_names`, and the decisive
    line.

    Any line for the service with the key makes it known, unless a @revoked line has the key, too. A line for the
    service whose key or marker is invalid counts as one with another key.
    """
    known: HostLine | None = None
    other: HostLine | None = None
    for entry in host_lines(data):
        if entry.marker == "@cert-authority" or not names_service(entry.hosts, names):
            continue
        same = entry.key is not None and entry.key.blob == key.blob
        if entry.marker == "@revoked":
            if same:
                return "revoked", entry
        elif same:
            known = known or entry
        elif other is None or (other.key is None and entry.key is not None):
            other = entry
    if known is not None:
        return "known", known
    return ("unknown", None) if other is None else ("changed", other)


def service_names(host: str, port: int) -> tuple[str, ...]:
    """Return the names that a service can have in the file. The first one is used for new lines.

    Raises KnownHostsError if the host's name would mean something else in the file.
    """
    name = host.lower()
    if not name or not name.isprintable() or not NOT_IN_A_NAME.isdisjoint(name) or " " in name:
        raise KnownHostsError(f"{host!r} is not a host name")
    bracketed = f"[{name}]:{port}"
    return (name, bracketed) if port == DEFAULT_PORT else (bracketed,)


def host_lines(data: bytes) -> Iterator[HostLine]:
    """Yield the lines of a file that name services."""
    for number, raw in enumerate(data.splitlines(), 1):
        fields = raw.decode(errors="surrogateescape").split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        if fields:
            # An unknown marker may be meant to revoke trust, so its line grants none.
            if marker in ("", "@revoked"):
                key, problem = _key(fields[1:3])
            else:
                key, problem = None, f"unknown marker {marker}"
            yield HostLine(number, marker, fields[0], key, problem)


def _key(fields: list[str]) -> tuple[PublicKey | None, str]:
    """Return the key in the fields after the name, or None and what is wrong with them."""
    if len(fields) != 2:
        return None, "the key is missing"
    try:
        return sshformat.parse_public_key_fields(*fields), ""
    except SSHFormatError as error:
        return None, str(error)


def names_service(hosts: str, names: tuple[str, ...]) -> bool:
    """Return whether the first field of a line names a service."""
    if not hosts.startswith("|"):
        return sshformat.matches_host_list(names, hosts)
    _, version, salt, digest = (*hosts.split("|"), "", "", "")[:4]
    if version != "1":
        return False
    try:
        key, expected = (base64.b64decode(part.encode("ascii"), validate=True) for part in (salt, digest))
    except (binascii.Error, UnicodeEncodeError):
        return False
    return any(hmac.digest(key, name.encode(), "sha1") == expected for name in names)
