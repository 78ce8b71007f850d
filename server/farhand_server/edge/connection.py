"""One client of the edge: the TLS handshake, the way to the core, copying, the end."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farhand_server.config import EdgeSettings
from farhand_server.listen.proxy import UNIQUE_ID_SIZE, Endpoint, ProxyHeader, encode

from .limiter import Failure, LogThrottle, Slot
from .login_verdicts import LoginVerdict
from .relay import HangupWatch, Relay
from .streams import ALPN, PlainStream, TLSStream

CORE_SOCKET_BUFFER: Final = 1 << 20
"""Bytes of the socket's buffers towards the core, where net.core.wmem_max and rmem_max allow: the default of
208 KiB makes core and edge wake each other for every few reads, at up to twice the CPU time for bulk."""


@dataclass(frozen=True, slots=True)
class EdgeContext:
    """What clients share while they start; a reload makes another one for those that come later."""

    loop: asyncio.AbstractEventLoop
    settings: EdgeSettings
    context: ssl.SSLContext
    hangups: HangupWatch
    throttle: LogThrottle
    core_socket: Path
    core_is_there: Callable[[], bool]


class EdgeConnection:
    """Lives from `start` to the call of `gone`. `penalise` is told of each failure before login, at most once."""

    def __init__(
        self,
        around: EdgeContext,
        slot: Slot,
        peer: Endpoint,
        local: Endpoint,
        *,
        penalise: Callable[[Slot, Failure], None],
        gone: Callable[[EdgeConnection], None],
    ) -> None:
        self.slot: Final = slot
        self.unique_id: Final = os.urandom(UNIQUE_ID_SIZE)
        self.awaits_verdict = False
        """Whether the core may yet judge this client, also where the connection has ended."""
        self._around = around
        self._loop = around.loop
        self._peer = peer
        self._local = local
        self._penalise = penalise
        self._gone = gone
        self._started = around.loop.time()
        self._deadline: asyncio.TimerHandle | None = None
        self._tls: TLSStream | None = None
        self._core: PlainStream | None = None
        self._relay: Relay | None = None
        self._lingering: socket.socket | None = None

    @property
    def waiting(self) -> int:
        """Bytes held for a side that does not read."""
        return self._relay.waiting if self._relay is not None else 0

    def start(self, sock: socket.socket) -> None:
        """Take over an accepted, non-blocking socket."""
        try:
            # Keystrokes and their echo are small: Nagle's algorithm would hold them back.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A client that vanished while nobody sends is noticed within the kernel's keep-alive time.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._tls = TLSStream(sock, self._around.context)
        except OSError as error:
            sock.close()
            self._refused(Failure.NO_LOGIN, "TLS failed", error)
            return
        self._deadline = self._loop.call_later(self._around.settings.tls_deadline, self._deadline_passed)
        self._loop.add_reader(self._tls.fileno(), self._handshake, self._tls)

    def judged(self, verdict: LoginVerdict) -> None:
        """Take the core's word on this client; the caller has told the limiter."""
        self.awaits_verdict = False
        if verdict is LoginVerdict.LOGGED_IN:
            self._cancel_deadline()

    def excuse(self) -> None:
        """Expect no verdict: the feed was lost. The core has a deadline of its own."""
        if self.awaits_verdict:
            self.judged(LoginVerdict.LOGGED_IN)

    def abort(self) -> None:
        """End now, whatever has not been delivered."""
        if self._relay is not None:
            self._relay.stop()
        if self._tls is not None and self._lingering is None:
            self._loop.remove_reader(self._tls.fileno())
            self._loop.remove_writer(self._tls.fileno())
        self._finish()

    def _handshake(self, tls: TLSStream) -> None:
        try:
            done = tls.handshake()
        except OSError as error:
            self._refused(Failure.NO_LOGIN, "TLS failed", error)
            return
        if done is False:
            self._loop.remove_writer(tls.fileno())
            self._loop.add_reader(tls.fileno(), self._handshake, tls)
            return
        self._loop.remove_reader(tls.fileno())
        if done is None:
            self._loop.add_writer(tls.fileno(), self._handshake, tls)
            return
        self._loop.remove_writer(tls.fileno())
        if tls.application_protocol() != ALPN:
            self._refused(Failure.NO_LOGIN, f"no application protocol {ALPN}")
        else:
            self._to_core(tls)

    def _to_core(self, tls: TLSStream) -> None:
        if not self._around.core_is_there():
            self._refused(None, "the core is away")
            return
        try:
            self._core = self._connect()
        except OSError as error:
            # EAGAIN from connect(2): the core's queue is full.
            self._refused(None, "the core cannot be reached", error)
            return
        self._cancel_deadline()
        left = self._started + self._around.settings.login_deadline - self._loop.time()
        self._deadline = self._loop.call_later(max(0.0, left), self._deadline_passed)
        self.awaits_verdict = True
        self._relay = Relay(
            self._loop, self._around.hangups, tls, self._core, flush=self._around.settings.flush, ended=self._ended
        )
        self._relay.start()

    def _connect(self) -> PlainStream:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CORE_SOCKET_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CORE_SOCKET_BUFFER)
            sock.connect(os.fspath(self._around.core_socket))
            # The first bytes on an empty socket, and fewer than any buffer holds: never taken in part.
            sock.send(encode(ProxyHeader(self._peer, self._local, self.unique_id)))
        except BaseException:
            sock.close()
            raise
        return PlainStream(sock)

    def _deadline_passed(self) -> None:
        self._deadline = None
        stage = "login" if self._relay is not None else "TLS"
        self._around.throttle.warning("client closed", reason=f"{stage} deadline", peer=str(self._peer[0]))
        self._fail(Failure.DEADLINE)
        self.abort()

    def _refused(self, failure: Failure | None, reason: str, error: OSError | None = None) -> None:
        if isinstance(error, ssl.SSLError) and error.reason is not None:
            reason = f"{reason}: {error.reason.lower().replace('_', ' ')}"
        elif error is not None:
            reason = f"{reason}: {error.strerror or type(error).__name__}"
        self._around.throttle.warning("client closed", reason=reason, peer=str(self._peer[0]))
        if failure is not None:
            self._fail(failure)
        self.abort()

    def _fail(self, failure: Failure) -> None:
        self.awaits_verdict = False
        self._penalise(self.slot, failure)

    def _ended(self, side: str, error: OSError | None) -> None:
        assert self._tls is not None
        if side == "client" and self.awaits_verdict:
            self._fail(Failure.NO_LOGIN)
        if isinstance(error, TimeoutError) or (side == "client" and error is not None):
            self._finish()
            return
        self._cancel_deadline()
        self._close_core()
        self._lingering = self._tls.end()
        if side == "client":
            self._finish()
            return
        self._deadline = self._loop.call_later(self._around.settings.linger, self._finish)
        self._loop.add_reader(self._lingering.fileno(), self._discard, self._lingering)

    def _discard(self, lingering: socket.socket) -> None:
        try:
            if lingering.recv(1 << 16):
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # a reset ends it as well
        self._finish()

    def _finish(self) -> None:
        self._cancel_deadline()
        self._close_core()
        if self._lingering is not None:
            self._loop.remove_reader(self._lingering.fileno())
            self._lingering.close()
            self._lingering = None
        elif self._tls is not None:
            self._tls.close()
        self._tls = None
        self._gone(self)

    def _close_core(self) -> None:
        if self._core is not None:
            self._core.close()
            self._core = None

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
