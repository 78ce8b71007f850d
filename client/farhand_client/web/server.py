"""The page's server: HTTP for its files, a WebSocket for each connection to a host."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from farhand_client.errors import AuthenticationError, FarhandError, HostKeyError, RequestRefused
from farhand_client.version import __version__
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.limits import MiB

from .access import WebAccess
from .answers import INVITATION_PATH, OpenSocket, WebPlace, answer
from .hosts import WebHost
from .relay import MAX_UNSENT_TO_PAGE, NoHello, check_hello, copy_both_ways, log_in_for_page
from .strangers import Strangers, stranger_connection

SUBPROTOCOL: Final = Subprotocol("farhand.1")
"""What the page and this process speak (RFC 6455, section 1.9)."""

MAX_PAGE_MESSAGE: Final = 1 * MiB
"""Bytes of one message of a page, which cuts what is larger into such chunks."""

MAX_SOCKETS: Final = 128
"""WebSockets at once: fifty pages with two hosts each, and some. Each has a connection to a service."""

OPEN_TIMEOUT: Final = 10.0
"""Seconds for an HTTP request to arrive, and for the `hello` of a page, which says it at once."""

CLOSE_ENDED: Final = 4401
CLOSE_UNKNOWN: Final = 4404
CLOSE_FULL: Final = 4429
CLOSE_SERVICE: Final = 4502
"""Why a WebSocket is closed: the session has ended; there is no such host; there are too many; the connection to the
service is lost, or none could be made (RFC 6455, section 7.4.2: 4000 to 4999 are for such codes)."""


class WebServer:
    """The server of one page, which is at `place`; its `hosts` are by name, the one to show first being the first."""

    def __init__(self, place: WebPlace, access: WebAccess, hosts: Mapping[str, WebHost]) -> None:
        self._place = place
        self._access = access
        self._hosts = hosts
        self._about = json.dumps({"version": __version__, "hosts": list(hosts)}).encode()
        # Weak: of a request that turns out to be no proper WebSocket nothing more is told.
        self._opened: WeakKeyDictionary[ServerConnection, OpenSocket] = WeakKeyDictionary()
        self._sockets = 0
        self.strangers: Final = Strangers()
        """The connections that have not become a WebSocket of a session."""
        self._timer: asyncio.TimerHandle | None = None

    def new_invitation(self) -> str:
        """Return another URL of the page, which works once."""
        secret = self._access.new_invitation(time.monotonic())
        return f"{self._place.origin_of(self._place.first)}{INVITATION_PATH}?invitation={secret}"

    def stop(self) -> None:
        """End all sessions, and with them all WebSockets."""
        if self._timer is not None:
            self._timer.cancel()
        self._access.end_all()

    # Called by websockets

    def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer an HTTP request; None lets it become a WebSocket."""
        headers = request.headers
        single = {name.lower(): values[0] for name in headers if len(values := headers.get_all(name)) == 1}
        found = answer(self._place, self._access, self._about, request.path, single, time.monotonic())
        if isinstance(found, OpenSocket):
            self._opened[connection] = found
            self.strangers.remove(connection)
            return None
        if self._timer is None:
            self._end_idle()
        answered = Headers(found.headers)
        answered["Content-Length"] = str(len(found.content))
        answered["Connection"] = "close"  # the library answers one request of a connection
        return Response(found.status, found.status.phrase, answered, found.content)

    async def handle(self, page: ServerConnection) -> None:
        """Serve one WebSocket to its end."""
        opened = self._opened.pop(page)
        session = opened.session
        task = asyncio.current_task()
        assert task is not None
        cancel: Callable[[], object] = task.cancel
        if self._sockets >= MAX_SOCKETS:
            await page.close(CLOSE_FULL, "too many pages are open")
            return
        self._sockets += 1
        session.closers[cancel] = None
        try:
            if opened.path == "/logout":
                del session.closers[cancel]
                session.end()
                await page.close(CLOSE_ENDED, "logged out")
            else:
                await self._serve(page, opened)
        except asyncio.CancelledError:
            if not session.ended:
                raise
            await page.close(CLOSE_ENDED, "logged out")
        except ConnectionClosed:
            pass  # the page is gone
        except Exception as error:  # noqa: BLE001  # one page's failure is no other's; the command says what it was
            context = {"message": "a page failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
        finally:
            self._sockets -= 1
            session.closers.pop(cancel, None)

    async def _serve(self, page: ServerConnection, opened: OpenSocket) -> None:
        match opened.path.split("/")[1:]:
            case ["hosts", name, "connection"] if (host := self._hosts.get(unquote(name))) is not None:
                await _connect(page, host, opened)
            case _:
                await page.close(CLOSE_UNKNOWN, "there is no such host")

    def _end_idle(self) -> None:
        self._timer = None
        next_time = self._access.end_idle(time.monotonic())
        if next_time is not None:
            delay = max(next_time - time.monotonic(), 1.0)  # a second more or less ends nobody's work
            self._timer = asyncio.get_running_loop().call_later(delay, self._end_idle)


async def _connect(page: ServerConnection, host: WebHost, opened: OpenSocket) -> None:
    """Log in at a host and copy. A page that cannot be connected gets an `error`, as from the service."""
    try:
        async with asyncio.timeout(OPEN_TIMEOUT):
            check_hello(await page.recv())
        stream, login = await log_in_for_page(host.log_in)
    except (NoHello, TimeoutError) as error:
        await page.close(1002, f"the first message is no hello: {error}")
    except ConnectionClosed:
        return
    except (FarhandError, OSError, ValueError) as error:
        refusal = m.Error(code=_code(error), message=str(error))
        await page.send(encode_frame(Kind.MESSAGE, 0, m.encode(refusal)))
        await page.close(CLOSE_SERVICE, "there is no connection to the service")
    else:
        await copy_both_ways(page, stream, login, opened.session.used)
        await page.close(CLOSE_SERVICE, "the connection to the service is lost")


def _code(error: Exception) -> ErrorCode:
    """Return the code that tells a page whether to try again by itself: only after `unavailable`."""
    match error:
        case RequestRefused():
            return error.code
        case AuthenticationError() | HostKeyError():
            return ErrorCode.LOGIN_FAILED
        case _:
            return ErrorCode.UNAVAILABLE


def _silent_logger() -> logging.Logger:
    """Return a logger that writes nothing: the library would log each request that it does not understand, with a
    traceback, and everybody on this machine can send some."""
    logger = logging.getLogger("farhand.web")
    logger.disabled = True
    return logger


@asynccontextmanager
async def web_server(
    listener: socket.socket, place: WebPlace, access: WebAccess, hosts: Mapping[str, WebHost]
) -> AsyncIterator[WebServer]:
    """Serve the page on a listening socket while the block runs."""
    web = WebServer(place, access, hosts)
    serving = serve(
        web.handle,
        sock=listener,
        process_request=web.process_request,
        create_connection=stranger_connection(web.strangers),
        subprotocols=[SUBPROTOCOL],
        compression=None,  # loopback is faster than any compression
        max_size=MAX_PAGE_MESSAGE,
        write_limit=MAX_UNSENT_TO_PAGE,
        open_timeout=OPEN_TIMEOUT,
        server_header=None,
        logger=_silent_logger(),
    )
    async with serving:
        try:
            yield web
        finally:
            web.stop()
            for host in hosts.values():
                await host.close()
