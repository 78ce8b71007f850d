"""Hosts, ports and forwards as ssh's options write them."""

from __future__ import annotations

import os

from .tokens import TokenError, with_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TypeAlias

HostPlace: TypeAlias = "tuple[str | None, str, int | None]"
"""User, name and port; None where they are not written."""

MAX_FORWARD_PATH: Final = 103
"""Bytes of the path of a Unix socket: 107 on Linux (unix(7)), 103 on macOS; the smaller holds everywhere."""

MAX_FORWARD_HOST: Final = 1024
"""Characters of a host's name in a forward (NI_MAXHOST)."""


def port_from(text: str) -> int | None:
    """Return a port, 0 to 65535, by its number or by a service's name in services(5); None if it is wrong."""
    digits = text.removeprefix("+")
    if digits.isascii() and digits.isdecimal():
        return int(digits) if len(digits.lstrip("0")) <= 5 and int(digits) <= 65535 else None
    if not text or text.startswith("-"):
        return None
    import socket

    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, UnicodeError):
        return None


def place_from(text: str) -> HostPlace | None:
    """Return what `[user@]host[:port]` or `ssh://[user@]host[:port]` says, as in ProxyJump; None if it is wrong."""
    if text.startswith("ssh://"):
        return uri_place(text)
    user, at, rest = text.rpartition("@")
    if at and not user:
        return None
    found = _name_and_port(rest)
    return None if found is None else (user or None, *found)


def uri_place(text: str) -> HostPlace | None:
    """Return what `ssh://[user@]host[:port][/]` says; None if it is wrong."""
    from urllib.parse import unquote

    user, at, rest = text.removeprefix("ssh://").rpartition("@")
    user = user.partition(";")[0]
    if at and not user:
        return None
    found = _name_and_port(rest.removesuffix("/"))
    if found is None or not is_domain(found[0]):
        return None
    return (unquote(user) or None, *found)


def is_domain(name: str) -> bool:
    """Return whether `name` can be a host's name, as OpenSSH's `valid_domain` judges."""
    return (
        bool(name)
        and (name[0].isalnum() or name[0] in "_:")
        and ".." not in name
        and all(character.isascii() and (character.isalnum() or character in "-._:") for character in name)
    )


def _name_and_port(text: str) -> tuple[str, int | None] | None:
    if text.startswith("["):
        name, closed, after = text[1:].partition("]")
        if not closed or (after and not after.startswith(":")):
            return None
        digits = after[1:]
    else:
        name, _, digits = text.partition(":")
    if not name or "/" in name:
        return None
    port = port_from(digits) if digits else None
    if digits and not port:
        return None
    return name, port


def checked_jump(text: str) -> str | None:
    """Return the hosts of a ProxyJump without a comment, `none` in lower case; None if one is wrong."""
    hosts = text.partition("#")[0].rstrip(" \t\r\n")
    if hosts.lower() == "none":
        return "none"
    return hosts if all(map(_is_hop, hosts.split(","))) else None


def _is_hop(text: str) -> bool:
    place = place_from(text)
    return place is not None and not place[1].startswith("-") and not (place[0] or "").startswith("-")


def forward_from(text: str, *, dynamic: bool, remote: bool) -> list[str] | None:
    """Return the fields of a forward, brackets removed; None if they make none. As OpenSSH's `parse_forward`."""
    try:
        fields = _fields(with_variables(text).lstrip())
    except (TokenError, ValueError):
        return None
    paths = [is_path for _, is_path in fields]
    texts = [field for field, _ in fields]
    # Which field is the port to listen on (None: a path), and whether the last one is a path or a port to connect to.
    match paths:
        case [first]:
            listens, connects = None if first else 0, ""
        case [first, True]:
            listens, connects = None if first else 0, "path"
        case [_, False]:
            listens, connects = 1, ""
        case [True, _, _]:
            listens, connects = None, "port"
        case [False, _, last]:
            listens, connects = (1, "path") if last else (0, "port")
        case _:
            listens, connects = 1, "port"
    good = len(fields) <= 2 if dynamic else connects == "path" or (connects == "port" and port_from(texts[-1]))
    if not good or any(
        len(os.fsencode(text)) > (MAX_FORWARD_PATH if path else MAX_FORWARD_HOST) for text, path in fields
    ):
        return None
    port = None if listens is None else port_from(texts[listens])
    if listens is not None and (port is None or (port == 0 and not remote)):
        return None
    return texts


def _fields(text: str) -> list[tuple[str, bool]]:
    """Return at most four fields between colons, and whether each is a path. Raises ValueError."""
    fields: list[tuple[str, bool]] = []
    while text:
        if len(fields) == 4:
            raise ValueError(text)
        if text.startswith("["):
            field, closed, text = text[1:].partition("]")
            if not closed or (text and not text.startswith(":")):
                raise ValueError(text)
            text = text[1:]
            fields.append((field, "/" in field))
            continue
        field, is_path, at = "", False, 0
        while at < len(text) and text[at] != ":":
            if text[at] == "\\":
                at += 1
                if at == len(text):
                    raise ValueError(text)
            elif text[at] == "/":
                is_path = True
            field += text[at]
            at += 1
        text = text[at + 1 :]
        fields.append((field, is_path))
    if not fields:
        raise ValueError(text)
    return fields
