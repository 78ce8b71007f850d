"""What an HTTP request gets: a file of the page, a session for an invitation, a WebSocket, or a refusal.

Pure: the headers come in, the answer goes out. Whoever can reach the port is not trusted: other users of this machine,
and every page that a browser shows, also one whose name its owner has pointed at 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from farhand_protocol.page import SAFETY_HEADERS

from .access import BrowserSession, WebAccess
from .pages import page_files

COOKIE: Final = "farhand"
"""Name of the cookie; the port is added, since cookies do not tell ports apart (RFC 6265, section 8.5)."""

INVITATION_PATH: Final = "/open"
"""Where an invitation leads: `/open?invitation=SECRET`."""

_CLOSED: Final = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>Farhand</title>
<link rel="stylesheet" href="/style/page.css"><body class="closed"><main><h1>Farhand</h1>
<p><code>farhand web</code> prints the address of this page; each works once, within ten minutes.</p>
<p><code>farhand web</code> 会显示此页面的地址；每个地址只能使用一次，十分钟内有效。</p>
</main></body></html>
"""


class WebAnswer(NamedTuple):
    """An HTTP answer."""

    status: HTTPStatus
    headers: Mapping[str, str] = {}
    content: bytes = b""


class OpenSocket(NamedTuple):
    """The request may become a WebSocket, at this path, in this session."""

    path: str
    session: BrowserSession


class WebPlace(NamedTuple):
    """Where the page is: the values of Host that name it, and its scheme."""

    names: tuple[str, ...]
    port: int
    scheme: str = "http"

    @property
    def first(self) -> str:
        """Return the name that is printed."""
        return self.names[0]

    def origin_of(self, host: str) -> str:
        """Return the origin of a page from `host` (RFC 6454, section 6.1)."""
        return f"{self.scheme}://{host}"


def answer(
    place: WebPlace, access: WebAccess, about: bytes, target: str, headers: Mapping[str, str], now: float
) -> WebAnswer | OpenSocket:
    """Return what a GET of `target` gets. `headers` has lower-case names; of repeated ones it lacks all. `about` is the
    JSON that tells the page about itself."""
    host = headers.get("host", "")
    if host not in place.names:
        return _refusal(HTTPStatus.MISDIRECTED_REQUEST, "this is not the name under which farhand web is reached")
    origin = headers.get("origin")
    if origin is not None and origin != place.origin_of(host):
        return _refusal(HTTPStatus.FORBIDDEN, "pages of other origins have no access")
    try:
        url = urlsplit(target)
    except ValueError:
        return _refusal(HTTPStatus.NOT_FOUND, "there is no such page")
    if url.path == INVITATION_PATH:
        return _opened(place, access, url.query, now)
    session = access.session(_cookie(place, headers.get("cookie", "")), now)
    if headers.get("upgrade", "").lower() == "websocket":
        if origin is None:
            return _refusal(HTTPStatus.FORBIDDEN, "a WebSocket of no origin has no access")
        if session is None:
            return _refusal(HTTPStatus.UNAUTHORIZED, "log in first")
        return OpenSocket(url.path, session)
    path = "/index.html" if url.path == "/" else url.path
    if session is None and path == "/index.html":
        return _with(HTTPStatus.UNAUTHORIZED, "text/html; charset=utf-8", _CLOSED.encode())
    if session is not None and path == "/about.json":
        return _with(HTTPStatus.OK, "application/json", about)
    file = page_files().get(path)
    if file is None or (session is None and not path.startswith("/style/")):
        return _refusal(HTTPStatus.NOT_FOUND, "there is no such page")
    tag = f'"{file.tag}"'
    # The files of a page belong together: a browser asks each time whether one has changed.
    caching = {"Cache-Control": "no-cache", "ETag": tag}
    if headers.get("if-none-match") == tag:
        return WebAnswer(HTTPStatus.NOT_MODIFIED, {**SAFETY_HEADERS, **caching})
    return _with(HTTPStatus.OK, file.media_type, file.content, caching)


def _opened(place: WebPlace, access: WebAccess, query: str, now: float) -> WebAnswer:
    try:
        secrets = parse_qs(query, max_num_fields=4).get("invitation", [])
    except ValueError:
        secrets = []
    cookie = access.accept_invitation(secrets[0], now) if len(secrets) == 1 else None
    if cookie is None:
        return _with(HTTPStatus.UNAUTHORIZED, "text/html; charset=utf-8", _CLOSED.encode())
    secure = "; Secure" if place.scheme == "https" else ""
    # Without a time it ends with the browser, or with the session here.
    value = f"{cookie_name(place)}={cookie}; Path=/; HttpOnly; SameSite=Strict{secure}"
    to = {"Location": "/", "Set-Cookie": value, "Cache-Control": "no-store"}
    return WebAnswer(HTTPStatus.SEE_OTHER, {**SAFETY_HEADERS, **to})


def cookie_name(place: WebPlace) -> str:
    """Return the name of the page's cookie."""
    return f"{COOKIE}-{place.port}"


def _cookie(place: WebPlace, header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(cookie_name(place))
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def _refusal(status: HTTPStatus, why: str) -> WebAnswer:
    return _with(status, "text/plain; charset=utf-8", f"farhand web: {why}\n".encode())


def _with(
    status: HTTPStatus, media_type: str, content: bytes, caching: Mapping[str, str] = {"Cache-Control": "no-store"}
) -> WebAnswer:
    return WebAnswer(status, {**SAFETY_HEADERS, **caching, "Content-Type": media_type}, content)
