"""The files of the page, and the headers that keep it apart from everything else in the browser."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
}
"""Media types by the end of a name. Files of other types are not served."""

CONTENT_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Content-Security-Policy (W3C, level 3): nothing inline, nothing evaluated, nothing from elsewhere, no frames around
it. With Trusted Types, which has no policy here, no script can write HTML at all."""

SAFETY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""On every answer."""


class PageFile(NamedTuple):
    """A file of the page. `tag` changes with its content."""

    media_type: str
    content: bytes
    tag: str


@cache
def page_files() -> dict[str, PageFile]:
    """Return all files by their path in a URL. What is not in this table does not exist for a browser."""
    found: dict[str, PageFile] = {}
    _collect(resources.files(__package__) / "static", "/", found)
    return found


def _collect(directory: Traversable, path: str, found: dict[str, PageFile]) -> None:
    for entry in directory.iterdir():
        if entry.is_dir():
            _collect(entry, f"{path}{entry.name}/", found)
            continue
        media_type = _TYPES.get(f".{entry.name.rpartition('.')[2]}")
        if media_type is not None:
            content = entry.read_bytes()
            found[path + entry.name] = PageFile(media_type, content, hashlib.sha256(content).hexdigest()[:32])
