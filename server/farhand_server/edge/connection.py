"""One connection of the edge: TLS handshake, what precedes the relay, connecting to the core, copying, and closing."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farhand_protocol import ALPN
from farhand_server.config import EdgeSettings
from farhand_server.listen.proxy import UNIQUE_ID_SIZE, Endpoint, ProxyHeader, encode
from farhand_server.loopwatch import LoopWatch
from farhand_server.throttle import LogThrottle

from .limiter import Failure, Slot
from .preliminary import BrowserEntry, Preliminary, PreliminaryEnd
from .relay import HangupWatch, Relay
from .streams import ClientStream, PlainStream, UsedStream
from .tls import RecordLimitError, TLSStream

CORE_SOCKET_BUFFER: Final = 1 << 20
"""Size in bytes of the socket buffers towards the core, if net.core.wmem_max and rmem_max allow it. With the default of
208 KiB, core and edge wake each other every few reads, and bulk data costs up to twice the CPU time."""


@dataclass(frozen=True, slots=True)
class EdgeContext:
    """What all connections share. A reload creates a new context for later connections."""

    loop: asyncio.AbstractEventLoop
    settings: EdgeSettings
    tls: ssl.SSLContext | None
    """None if clients come without TLS, from this machine alone."""
    hangups: HangupWatch
    log: LogThrottle
    watch: LoopWatch
    core_socket: Path
    core_connected: Callable[[], bool]
    core_stood_still: Callable[[float], bool]
    """Whether the core has stood still at any time since this one."""
    tls_done: Callable[[Slot], None]
    browsers: BrowserEntry | None = None
    """What browsers do between TLS and the relay; None for native clients, which do nothing."""


class EdgeConnection:
    """A client's connection, from the call of `start` until it calls `on_closed`.

    `on_failure` is called at most once, if the connection fails before login by the client's fault.
    """

    __slots__ = (
        "_client", "_context", "_core", "_deadline", "_lingering", "_local", "_loop", "_on_closed", "_on_failure",
        "_peer", "_preliminary", "_relay", "_started", "_turn", "awaits_verdict", "slot", "unique_id",
    )  # fmt: skip

    def __init__(
        self,
        context: EdgeContext,
        slot: Slot,
        peer: Endpoint,
        local: Endpoint,
        *,
        on_failure: Callable[[Slot, Failure], None],
        on_closed: Callable[[EdgeConnection], None],
    ) -> None:
        self.slot: Final = slot
        self.unique_id: Final = os.urandom(UNIQUE_ID_SIZE)
        self.awaits_verdict = False
        """Whether the core may still send a verdict, possibly after the connection has ended."""
        self._context = context
        self._loop = context.loop
        self._peer = peer
        self._local = local
        self._on_failure = on_failure
        self._on_closed = on_closed
        self._started = context.loop.time()
        self._deadline: asyncio.TimerHandle | None = None
        self._client: ClientStream | None = None
        self._preliminary: Preliminary | None = None
        self._core: PlainStream | None = None
        self._relay: Relay | None = None
        self._lingering: socket.socket | None = None

    @property
    def buffered(self) -> int:
        """Bytes buffered for a side that does not read."""
        return self._relay.buffered if self._relay is not None else 0

    def start(self, sock: socket.socket) -> None:
        """Take over an accepted, non-blocking socket, and start the handshake."""
        try:
            # Keystrokes and their echo are small, and Nagle's algorithm would delay them.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A client that vanishes while neither side sends is noticed within the kernel's keep-alive time.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as error:
            sock.close()
            self._reject(Failure.NO_LOGIN, "TLS failed", error)
            return
        self._turn = self._context.watch.turn("TLS handshake", {"peer": str(self._peer[0])})
        self._deadline = self._loop.call_later(self._context.settings.tls_deadline, self._deadline_reached)
        if self._context.tls is None:
            self._client = PlainStream(sock)
            self._tls_done(self._client)
            return
        try:
            tls = TLSStream(sock, self._context.tls)
            self._loop.add_reader(tls.fileno(), self._continue_handshake, tls)
        except OSError as error:  # the kernel is short of memory, and its place must not be lost
            sock.close()
            self._reject(None, "TLS failed", error)
            return
        self._client = tls

    def receive_verdict(self, logged_in: bool) -> None:
        """Record the core's verdict; the caller notifies the limiter."""
        self.awaits_verdict = False
        if logged_in:
            self._cancel_deadline()
            if self._relay is not None:
                self._relay.logged_in()
                self._watch_idle()

    def _watch_idle(self) -> None:
        """Close a browser's connection once nobody was at it for too long."""
        client, browsers = self._client, self._context.browsers
        if browsers is None or self._relay is None or not isinstance(client, UsedStream):
            return
        left = browsers.idle - client.idle_for()
        if left > 0:
            self._deadline = self._loop.call_later(left, self._watch_idle)
            return
        self._context.log.warning("client closed", reason="nobody was at the page", peer=str(self._peer[0]))
        self._relay.stop()
        self._close_core()
        client.close_idle()
        self._linger(client)

    def assume_login(self) -> None:
        """Stop waiting for a verdict, because the feed was lost. The core enforces its own login deadline."""
        if self.awaits_verdict:
            self.receive_verdict(True)

    def evict(self) -> None:
        """Close before the deadline, because others need the place before login."""
        if self._lingering is None:
            self._deadline_reached(" while others wait for a place")
        else:
            self.abort()  # the core has closed it, and said whether the client is to blame

    def abort(self) -> None:
        """Close at once without delivering buffered bytes."""
        if self._relay is not None:
            self._relay.stop()
        if self._client is not None and self._lingering is None:
            self._loop.remove_reader(self._client.fileno())
            self._loop.remove_writer(self._client.fileno())
        self._finish()

    def _continue_handshake(self, tls: TLSStream) -> None:
        if self._client is tls:  # otherwise closed since this call was scheduled
            with self._turn:
                self._handshake(tls)

    def _handshake(self, tls: TLSStream) -> None:
        try:
            done = tls.handshake()
        except OSError as error:
            self._reject(Failure.NO_LOGIN, "TLS failed", error)
            return
        if not done:
            if tls.has_more():
                self._loop.call_soon(self._continue_handshake, tls)
            return
        self._loop.remove_reader(tls.fileno())
        if self._context.browsers is None and tls.application_protocol() != ALPN:
            self._context.tls_done(self.slot)
            self._reject(Failure.NO_LOGIN, f"no application protocol {ALPN}")
        else:
            self._tls_done(tls)

    def _tls_done(self, client: ClientStream) -> None:
        self._context.tls_done(self.slot)
        if self._context.browsers is None:
            self._start_relay(client)
            return
        self._preliminary = self._context.browsers.start(client)
        self._turn = self._context.watch.turn("HTTP", {"peer": str(self._peer[0])})
        self._expect_request(self._context.settings.tls_deadline)
        self._loop.add_reader(client.fileno(), self._continue_preliminary, client)
        if client.has_more():
            self._loop.call_soon(self._continue_preliminary, client)

    def _expect_request(self, seconds: float) -> None:
        self._cancel_deadline()
        self._deadline = self._loop.call_later(seconds, self._deadline_reached)

    def _continue_preliminary(self, client: ClientStream) -> None:
        if self._client is client and self._preliminary is not None and self._lingering is None:
            with self._turn:
                self._advance(client, self._preliminary)

    def _advance(self, client: ClientStream, preliminary: Preliminary) -> None:
        wrote, answered = preliminary.wants_write, preliminary.answered
        try:
            ready = preliminary.advance()
        except PreliminaryEnd as error:
            self._preliminary_ended(client, error.fault)
            return
        except OSError as error:
            self._reject(None if preliminary.answered else Failure.NO_LOGIN, "HTTP failed", error)
            return
        if ready is not None:
            self._loop.remove_reader(client.fileno())
            self._loop.remove_writer(client.fileno())
            self._preliminary, self._client, self._started = None, ready, self._loop.time()
            self._start_relay(ready)
            return
        if preliminary.answered > answered:
            self._expect_request(preliminary.idle_time)
        if preliminary.wants_write and not wrote:
            self._loop.remove_reader(client.fileno())
            self._loop.add_writer(client.fileno(), self._continue_preliminary, client)
        elif wrote and not preliminary.wants_write:
            self._loop.remove_writer(client.fileno())
            self._loop.add_reader(client.fileno(), self._continue_preliminary, client)
        if client.has_more() and not preliminary.wants_write:
            self._loop.call_soon(self._continue_preliminary, client)

    def _preliminary_ended(self, client: ClientStream, fault: str | None) -> None:
        if fault is not None:
            self._context.log.warning("client closed", reason=fault, peer=str(self._peer[0]))
            self._fail(Failure.NO_LOGIN)
        self._loop.remove_reader(client.fileno())
        self._loop.remove_writer(client.fileno())
        self._linger(client)

    def _start_relay(self, client: ClientStream) -> None:
        if not self._context.core_connected():
            self._reject(None, "not connected to the core")
            return
        try:
            self._core = self._connect_core()
        except OSError as error:
            # EAGAIN from connect(2): the core's queue is full.
            self._reject(None, "cannot connect to the core", error)
            return
        self._cancel_deadline()
        left = self._started + self._context.settings.login_deadline - self._loop.time()
        self._deadline = self._loop.call_later(max(0.0, left), self._deadline_reached)
        self.awaits_verdict = True
        flush = self._context.settings.flush
        self._turn = self._context.watch.turn("relay", {"peer": str(self._peer[0])})
        self._relay = Relay(
            self._loop,
            self._context.hangups,
            client,
            self._core,
            flush=flush,
            on_end=self._relay_ended,
            turn=self._turn,
            logged_in=False,
        )
        self._relay.start()

    def _connect_core(self) -> PlainStream:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CORE_SOCKET_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CORE_SOCKET_BUFFER)
            sock.connect(os.fspath(self._context.core_socket))
            # These are the first bytes on an empty socket and fewer than any buffer holds, so they are never sent only
            # in part.
            web = self._context.browsers is not None
            sock.send(encode(ProxyHeader(self._peer, self._local, self.unique_id, web=web)))
        except BaseException:
            sock.close()
            raise
        return PlainStream(sock)

    def _deadline_reached(self, why: str = "") -> None:
        self._cancel_deadline()
        if self._preliminary is not None and self._preliminary.answered and not self._preliminary.wants_write:
            self.abort()  # it was only kept for a further request
            return
        stage = "login" if self._relay is not None else "TLS"
        self._context.log.warning("client closed", reason=f"{stage} deadline{why}", peer=str(self._peer[0]))
        self._fail(Failure.DEADLINE)
        self.abort()

    def _reject(self, failure: Failure | None, reason: str, error: OSError | None = None) -> None:
        if isinstance(error, ssl.SSLError) and error.reason is not None:
            reason = f"{reason}: {error.reason.lower().replace('_', ' ')}"
        elif error is not None:
            reason = f"{reason}: {error.strerror or type(error).__name__}"
        self._context.log.warning("client closed", reason=reason, peer=str(self._peer[0]))
        if failure is not None:
            self._fail(failure)
        self.abort()

    def _fail(self, failure: Failure) -> None:
        self.awaits_verdict = False
        waits_since = None if self._relay is None else self._relay.core_owes_answer_since
        # A client that waits for a core that stands still has done nothing wrong.
        if waits_since is None or not self._context.core_stood_still(waits_since):
            self._on_failure(self.slot, failure)

    def _relay_ended(self, side: str, error: OSError | None) -> None:
        assert self._client is not None
        if isinstance(error, RecordLimitError):
            self._context.log.warning("client closed", reason=error.reason, peer=str(self._peer[0]))
        if side == "client" and self.awaits_verdict:
            self._fail(Failure.NO_LOGIN)
        if isinstance(error, TimeoutError) or (side == "client" and error is not None):
            self._finish()
            return
        self._cancel_deadline()
        self._close_core()
        if side == "client":
            self._lingering = self._client.end()
            self._finish()
            return
        self._linger(self._client)

    def _linger(self, client: ClientStream) -> None:
        """End the connection and read on until the client does so, too."""
        self._cancel_deadline()
        self._lingering = client.end()
        self._deadline = self._loop.call_later(self._context.settings.linger, self._finish)
        self._loop.add_reader(self._lingering.fileno(), self._discard, self._lingering)

    def _discard(self, lingering: socket.socket) -> None:
        try:
            if lingering.recv(1 << 16):
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # a reset also ends the connection
        self._finish()

    def _finish(self) -> None:
        self._cancel_deadline()
        self._close_core()
        if self._lingering is not None:
            self._loop.remove_reader(self._lingering.fileno())
            self._lingering.close()
            self._lingering = None
        elif self._client is not None:
            self._client.close()
        self._client = None
        self._on_closed(self)

    def _close_core(self) -> None:
        if self._core is not None:
            self._core.close()
            self._core = None

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
