"""The origin of the site that browsers use: scheme, name and port (RFC 6454), and the name that its passkeys bear."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
"""Hosts that only this machine reaches."""

_PORTS: Final = {"https": 443, "http": 80}

_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
"""A host name as browsers write it: lower case, other alphabets in Punycode (RFC 1035, section 2.3.1)."""


def parse_origin(value: object) -> object:
    """Return an origin as browsers write it. Anything but a string is returned unchanged.

    Raises ValueError for a string that is no origin, or one that browsers accept no passkeys for.
    """
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("must be an origin such as https://farhand.example.net") from None
    if parts.scheme not in _PORTS or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError("must be https://NAME or https://NAME:PORT, without a path")
    if parts.scheme == "http" and host != "localhost":
        raise ValueError("must begin with https:// (or be http://localhost): browsers use passkeys nowhere else")
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        raise ValueError("must have a name: browsers use no passkeys for addresses")
    if not _NAME.fullmatch(host):
        raise ValueError(f"{host!r} is no host name in the form of RFC 1035")
    return f"{parts.scheme}://{host}" + ("" if port in (None, _PORTS[parts.scheme]) else f":{port}")


def site_name(origin: str) -> str:
    """Return the host name of an origin that `parse_origin` has returned."""
    return urlsplit(origin).hostname or ""
