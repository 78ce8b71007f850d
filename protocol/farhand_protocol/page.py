"""The page for browsers as it is sent: its files, their types, and the headers that keep it apart from everything else.

Two processes serve the same page, the client's `farhand web` and the service's web door, and neither knows the other's
package. What they have in common is here; each opens the directory of the files itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from .records import NamedTuple

MEDIA_TYPES: Final = {
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


class PageEntry(Protocol):
    """A file or a directory, such as a `pathlib.Path`."""

    @property
    def name(self) -> str:
        """The last part of its path."""

    def is_dir(self) -> bool:
        """Whether it is a directory."""

    def iterdir(self) -> Iterator[PageEntry]:
        """Iterate over what a directory contains."""

    def read_bytes(self) -> bytes:
        """Return a file's content."""


def page_files_in(entries: Iterable[PageEntry], path: str = "/") -> dict[str, PageFile]:
    """Return all files among the entries of a directory, by their path in a URL. What is not in this table does not
    exist for a browser."""
    found: dict[str, PageFile] = {}
    for entry in entries:
        if entry.is_dir():
            found |= page_files_in(entry.iterdir(), f"{path}{entry.name}/")
            continue
        media_type = MEDIA_TYPES.get(f".{entry.name.rpartition('.')[2]}")
        if media_type is not None:
            content = entry.read_bytes()
            found[path + entry.name] = PageFile(media_type, content, hashlib.sha256(content).hexdigest()[:32])
    return found
