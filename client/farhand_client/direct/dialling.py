"""Connects: TCP or a Unix socket, TLS 1.3, and the check of the service's key before anything is sent."""

from __future__ import annotations

import errno
import os
import select
import socket
import time

from farhand_client.connection.host_addresses import (
    NEXT_ADDRESS_DELAY,
    SocketAddress,
    alternating,
    connect_failure,
    numeric_addresses,
    resolved_addresses,
    socket_failure,
)
from farhand_client.errors import ConnectError
from farhand_protocol.records import NamedTuple

from .deadline import NotDirectError
from .wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from farhand_protocol.tickets import IssuedTicket

    from .deadline import DirectDeadline
    from .route import Route
    from .tls_state import TLSState

_FULL_QUEUE_DELAY = 0.01  # seconds, as in `connection.dial`


class DialledWire(NamedTuple):
    """A connection over which nothing was sent. `spki_sha256` is the hash of the service's key; None on a Unix
    socket."""

    wire: Wire
    spki_sha256: bytes | None = None


def dial_directly(route: Route, known_hosts: str, ticket: IssuedTicket | None, deadline: DirectDeadline) -> DialledWire:
    """Connect to the service, whose key must be in the file `known_hosts`.

    Raises NotDirectError if it is not, or if this fails in a way that takes words; `ConnectError`,
    `InterruptedBySignal`.
    """
    if route.socket is not None:
        deadline.step(f"{route} did not answer")
        return DialledWire(Wire(_unix_socket(route.socket, deadline)))
    connected = _tcp_socket(route, deadline)
    try:
        deadline.shaking_hands(str(route))
        state = _shaken_hands(connected, route.host, ticket, deadline)
        spki_sha256 = _checked_key(state, route, known_hosts)
    except BaseException:
        connected.close()
        raise
    return DialledWire(Wire(connected, state), spki_sha256)


def _unix_socket(path: str, deadline: DirectDeadline) -> socket.socket:
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        while True:
            try:
                connecting.connect(path)
            except BlockingIOError as error:
                if error.errno != errno.EAGAIN:
                    raise NotDirectError from None
                # Too many wait there to be accepted. poll(2) would call the socket itself ready: it is not connected.
                deadline.wait_for_any({}, _FULL_QUEUE_DELAY)
            else:
                return connecting
    except OSError as error:
        connecting.close()
        raise ConnectError(socket_failure(path, error)) from None
    except BaseException:
        connecting.close()
        raise


def _tcp_socket(route: Route, deadline: DirectDeadline) -> socket.socket:
    """Return a connected socket, as `connection.tcp.connect_tcp`: each address after the other, and in parallel."""
    addresses = alternating(numeric_addresses(route.host, route.port) or _resolved(route, deadline))
    deadline.connecting(str(route))
    first: OSError | None = None
    attempts: dict[int, socket.socket] = {}
    try:
        while addresses or attempts:
            if addresses:
                family, address = addresses.popleft()
                try:
                    attempt = socket.socket(family, socket.SOCK_STREAM)
                except OSError as error:  # this machine does not have the family, such as IPv6
                    first = first or error
                    continue
                attempts[attempt.fileno()] = attempt
                attempt.setblocking(False)
                attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    attempt.connect(address)
                except BlockingIOError:
                    _load_what_follows()
                except OSError as error:
                    first = first or error
                    attempts.pop(attempt.fileno()).close()
                    continue
            until = time.monotonic() + NEXT_ADDRESS_DELAY if addresses else None
            while attempts:
                left = None if until is None else max(0.0, until - time.monotonic())
                ready = deadline.wait_for_any(dict.fromkeys(attempts, select.POLLOUT), left)
                failed = False
                for fd in ready:
                    number = attempts[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not number:
                        return attempts.pop(fd)
                    first = first or OSError(number, os.strerror(number))
                    attempts.pop(fd).close()
                    failed = True
                if failed or (not ready and until is not None and time.monotonic() >= until):
                    break
    finally:
        for attempt in attempts.values():
            attempt.close()
    assert first is not None
    if isinstance(first, ConnectionRefusedError):
        raise NotDirectError  # perhaps ssh answers there
    raise ConnectError(connect_failure(route.host, route.port, first))


def _load_what_follows() -> None:
    """Import what is needed once the network has answered, which takes no longer than many an answer."""
    from farhand_client.connection import tls_context  # noqa: F401
    from farhand_client.trust import certificate, host_lines  # noqa: F401

    from . import tls_state  # noqa: F401


def _resolved(route: Route, deadline: DirectDeadline) -> list[SocketAddress]:
    """Look a name up in a thread: name servers may take longer than there is time, and nothing interrupts that."""
    import _thread

    deadline.resolving(route.host)
    found: list[SocketAddress] = []
    reading, writing = os.pipe()

    def look_up() -> None:
        try:
            found.extend(resolved_addresses(route.host, route.port))
        except OSError:
            pass  # the asyncio client says what is wrong with the name
        finally:
            os.close(writing)

    try:
        try:
            _thread.start_new_thread(look_up, ())
        except RuntimeError:
            look_up()
        deadline.wait(reading, select.POLLIN)
    finally:
        os.close(reading)
    if not found:
        raise NotDirectError
    return found


def _shaken_hands(
    connected: socket.socket, host: str, ticket: IssuedTicket | None, deadline: DirectDeadline
) -> TLSState:
    from farhand_client.connection.tls_context import tls_context

    from .tls_state import TLSState
    from .wire import WIRE_READ_SIZE

    state = TLSState(tls_context(ticket), host)
    received = b""
    try:
        while True:
            done, data = state.shake_hands(received)
            _send_all(connected, data, deadline)
            if done:
                return state
            deadline.wait(connected.fileno(), select.POLLIN)
            received = connected.recv(WIRE_READ_SIZE)
            if not received:
                raise NotDirectError
    except OSError:  # an SSLError is one
        raise NotDirectError from None


def _send_all(connected: socket.socket, data: bytes, deadline: DirectDeadline) -> None:
    while data:
        try:
            data = data[connected.send(data) :]
        except BlockingIOError:
            deadline.wait(connected.fileno(), select.POLLOUT)


def _checked_key(state: TLSState, route: Route, known_hosts: str) -> bytes:
    """Return the hash of the service's key. Raises NotDirectError unless it is the recorded one."""
    from farhand_client.trust import TrustError
    from farhand_client.trust.certificate import service_key
    from farhand_client.trust.files import read_small_file
    from farhand_client.trust.host_lines import MAX_KNOWN_HOSTS_SIZE, look_up, service_names
    from farhand_protocol import ALPN

    certificate = state.tls.getpeercert(binary_form=True)
    if state.tls.selected_alpn_protocol() != ALPN or certificate is None:
        raise NotDirectError
    try:
        key = service_key(certificate)
        data = read_small_file(known_hosts, MAX_KNOWN_HOSTS_SIZE) or b""
        verdict, _ = look_up(data, service_names(route.host, route.port), key.public_key)
    except (TrustError, ValueError):
        raise NotDirectError from None
    if verdict != "known":
        raise NotDirectError
    return key.spki_sha256
