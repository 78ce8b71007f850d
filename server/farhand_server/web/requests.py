"""What an HTTP request gets at the web door: a file of the page, a WebSocket, or a refusal. Without I/O.

Whoever can reach the port gets the page, which is no secret. What it may do depends on the passkey alone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from farhand_protocol.page import SAFETY_HEADERS, PageFile

MAX_REQUEST_HEAD: Final = 16 << 10
"""Most bytes of a request's head. Browsers send one; cookies, which may be long, this site has none of."""

_SUBPROTOCOL: Final = Subprotocol("farhand.1")

_END: Final = b"\r\n\r\n"

_SILENT: Final = logging.getLogger("farhand.web.requests")
_SILENT.disabled = True
"""The library logs each request that it does not understand, with a traceback, and everybody can send some."""


class WebSite(NamedTuple):
    """What the door serves: the site's `origin` and `name`, and the page's files by their path."""

    origin: str
    name: str
    files: Mapping[str, PageFile]
    version: str

    @property
    def host(self) -> str:
        """The value of Host that names it."""
        return urlsplit(self.origin).netloc

    @property
    def about(self) -> bytes:
        """The JSON that tells the page about itself, and that it has to log in."""
        return json.dumps({"version": self.version, "hosts": [self.name], "passkeys": self.name}).encode()


class Answered(NamedTuple):
    """Bytes for the client; whether the connection ends behind them, or becomes a WebSocket with `rest` as its first
    bytes. `fault` says what the client did wrong."""

    data: bytes
    ends: bool = False
    opened: bool = False
    rest: bytes = b""
    fault: str | None = None


class RequestReader:
    """Answers the requests of one connection, one after the other."""

    def __init__(self, site: WebSite) -> None:
        self._site = site
        self._buffer = bytearray()

    def receive(self, data: bytes | memoryview) -> list[Answered]:
        """Return the answers to the requests that are complete with these bytes. After one that ends the connection or
        opens a WebSocket there is none."""
        answers: list[Answered] = []
        looked = max(0, len(self._buffer) - len(_END) + 1)
        self._buffer += data
        while (end := self._buffer.find(_END, looked)) >= 0 and end <= MAX_REQUEST_HEAD:
            head = bytes(self._buffer[: end + len(_END)])
            del self._buffer[: end + len(_END)]
            looked = 0
            answered = self._answer(head)
            answers.append(answered)
            if answered.ends or answered.opened:
                return answers
        if len(self._buffer) > MAX_REQUEST_HEAD:
            answers.append(_fault(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too long"))
        return answers

    def _answer(self, head: bytes) -> Answered:
        protocol = ServerProtocol(subprotocols=[_SUBPROTOCOL], logger=_SILENT)
        protocol.receive_data(head)
        request = next((event for event in protocol.events_received() if isinstance(event, Request)), None)
        if request is None:
            return _fault(HTTPStatus.BAD_REQUEST, "the request is malformed")
        headers = {
            name.lower(): values[0] for name in request.headers if len(values := request.headers.get_all(name)) == 1
        }
        refused = self._refusal(request, headers)
        if refused is not None:
            return refused
        try:
            path = urlsplit(request.path).path
        except ValueError:
            return _fault(HTTPStatus.BAD_REQUEST, "the request is for no path")
        if headers.get("upgrade", "").lower() != "websocket":
            return self._file(request, headers, path)
        if headers.get("origin") != self._site.origin:
            return _fault(HTTPStatus.FORBIDDEN, "a WebSocket of another origin")
        if path != "/connection":
            return _fault(HTTPStatus.NOT_FOUND, "there is no such WebSocket")
        response = protocol.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return _fault(HTTPStatus.BAD_REQUEST, "the WebSocket's request is malformed")
        rest = bytes(self._buffer)
        self._buffer.clear()
        return Answered(response.serialize(), opened=True, rest=rest)

    def _refusal(self, request: Request, headers: Mapping[str, str]) -> Answered | None:
        if request.method not in ("GET", "HEAD"):
            return _fault(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered")
        if headers.get("host") != self._site.host:  # also a foreign name that points here: DNS rebinding
            return _fault(HTTPStatus.MISDIRECTED_REQUEST, "this is not the name of the site")
        if headers.get("origin", self._site.origin) != self._site.origin:
            return _fault(HTTPStatus.FORBIDDEN, "pages of other origins have no access")
        return None

    def _file(self, request: Request, headers: Mapping[str, str], path: str) -> Answered:
        ends = request.protocol != "HTTP/1.1" or "close" in headers.get("connection", "").lower()
        if path == "/about.json":
            found = _response(HTTPStatus.OK, self._site.about, "application/json")
        else:
            file = self._site.files.get("/index.html" if path == "/" else path)
            if file is None:
                found = _response(HTTPStatus.NOT_FOUND, b"farhandd: there is no such page\n", "text/plain")
            else:
                caching = {"Cache-Control": "no-cache", "ETag": f'"{file.tag}"'}
                if headers.get("if-none-match") == caching["ETag"]:
                    found = _response(HTTPStatus.NOT_MODIFIED, b"", file.media_type, caching)
                else:
                    found = _response(HTTPStatus.OK, file.content, file.media_type, caching)
        if ends:
            found.headers["Connection"] = "close"
        if request.method == "HEAD":
            found.body = b""
        return Answered(found.serialize(), ends)


def _fault(status: HTTPStatus, why: str) -> Answered:
    response = _response(status, f"farhandd: {why}\n".encode(), "text/plain; charset=utf-8")
    response.headers["Connection"] = "close"
    return Answered(response.serialize(), ends=True, fault=why)


def _response(
    status: HTTPStatus, content: bytes, media_type: str, caching: Mapping[str, str] = {"Cache-Control": "no-store"}
) -> Response:
    headers = Headers({**SAFETY_HEADERS, **caching, "Content-Type": media_type, "Content-Length": str(len(content))})
    if status is HTTPStatus.NOT_MODIFIED:
        del headers["Content-Length"]
    return Response(status, status.phrase, headers, content)
