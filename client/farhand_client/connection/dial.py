"""Connects to an address, and makes sure that the peer is the expected service.

`dial_socket` connects to a Unix socket. `dial_tls` connects by TCP, makes the TLS 1.3 handshake and compares the key in
the service's certificate with the recorded one before the client sends any data; certificate authorities are not used.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from farhand_client.blocking import run_blocking
from farhand_client.errors import ConnectError, HostKeyChanged, HostKeyRevoked, HostKeyUnknown
from farhand_protocol import ALPN

from .address import Address
from .attempts import ATTEMPTS_WHEN_CLOSED, ATTEMPTS_WHEN_REFUSED, ConnectionDropped
from .deadline import ConnectDeadline
from .host_addresses import connect_failure, socket_failure
from .session import ClientSession
from .ssh_only import instead_of_tls, where_ssh_answers
from .tcp import connect_tcp

if TYPE_CHECKING:
    from farhand_client.trust.certificate import ServiceKey
    from farhand_client.trust.known_hosts import HostKeyCheck, KnownHosts
    from farhand_protocol.sshformat import PublicKey
    from farhand_protocol.tickets import IssuedTicket


Passage: TypeAlias = Callable[[Address, ConnectDeadline], Awaitable[socket.socket]]
"""Returns a connected, non-blocking TCP socket that leads to an address through other hosts. Raises `ConnectError`."""

FULL_QUEUE_DELAY: Final = 0.01
"""Seconds until the next attempt if too many clients wait to be accepted on a Unix socket. The kernel refuses the next
one (EAGAIN, unix(7)), and does not tell when there is room; asyncio would take that for a connection in progress."""


@dataclass(frozen=True, slots=True)
class DialledSession:
    """A session whose transport is connected.

    `spki_sha256` is the hash of the service's public key, to which the login is bound; None on a Unix socket.
    """

    session: ClientSession
    spki_sha256: bytes | None = None


async def dial_socket(
    address: Address, keepalive: float | None, deadline: ConnectDeadline, passage: Passage | None = None
) -> DialledSession:
    """Connect to a Unix socket: of this machine, or of the one at the end of `passage`. Raises `ConnectError`."""
    session = ClientSession(str(address), keepalive)
    if passage is not None:
        far = await passage(address, deadline)
        await asyncio.get_running_loop().create_connection(session.make_transport, sock=far)
        return DialledSession(session)
    deadline.step(f"{address} did not answer")
    try:
        connected = await connected_socket(address.socket)
        await asyncio.get_running_loop().create_unix_connection(session.make_transport, sock=connected)
    except OSError as error:
        raise ConnectError(socket_failure(address.socket, error)) from None
    return DialledSession(session)


async def connected_socket(path: str | None) -> socket.socket:
    """Return a socket that is connected to the one at `path`, once there is room in its queue. Raises OSError."""
    assert path is not None
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        while True:
            try:
                connecting.connect(path)
            except BlockingIOError as error:
                if error.errno != errno.EAGAIN:  # Linux has no other, but other systems may
                    await asyncio.get_running_loop().sock_connect(connecting, path)
                    break
                await asyncio.sleep(FULL_QUEUE_DELAY)
            else:
                break
    except BaseException:
        connecting.close()
        raise
    return connecting


async def dial_tls(
    address: Address,
    known_hosts: KnownHosts,
    keepalive: float | None,
    deadline: ConnectDeadline,
    ticket: IssuedTicket | None = None,
    passage: Passage | None = None,
) -> DialledSession:
    """Connect by TLS 1.3 and check the service's key before any data is sent.

    `ticket` is what the service gave at the last login, and is shown in the handshake. Raises `ConnectError`, including
    its subclasses `HostKeyUnknown`, `HostKeyChanged` and `HostKeyRevoked`.
    """
    session = ClientSession(str(address), keepalive)
    transport = await _tls_transport(session, address, deadline, known_hosts, ticket, passage)
    try:
        key = _service_key(transport, address)
        await check_host_key(known_hosts, address, key.public_key, deadline)
    except BaseException:
        transport.abort()
        raise
    return DialledSession(session, key.spki_sha256)


async def fetch_key(address: Address, deadline: ConnectDeadline, passage: Passage | None = None) -> PublicKey:
    """Return the key that the service presents, whether it is trusted or not. Raises `ConnectError`."""
    transport = await _tls_transport(ClientSession(str(address), None), address, deadline, passage=passage)
    try:
        return _service_key(transport, address).public_key
    finally:
        transport.abort()


async def _tls_transport(
    session: ClientSession,
    address: Address,
    deadline: ConnectDeadline,
    known_hosts: KnownHosts | None = None,
    ticket: IssuedTicket | None = None,
    passage: Passage | None = None,
) -> asyncio.Transport:
    import ssl

    from .tls_context import tls_context

    try:
        if passage is not None:
            sock = await passage(address, deadline)
        else:
            deadline.resolving(address.host)
            unanswered = partial(deadline.connecting, str(address))
            sock = await connect_tcp(address.host, address.port, family=address.family, on_resolved=unanswered)
        deadline.shaking_hands(str(address))
        transport, _ = await asyncio.get_running_loop().create_connection(
            session.make_transport, sock=sock, ssl=tls_context(ticket), server_hostname=address.host
        )
    except socket.gaierror as error:
        from .unresolved import unresolved_name

        known = () if known_hosts is None else known_hosts.names()
        raise ConnectError(unresolved_name(address, error, known)) from None
    except ConnectionRefusedError as error:
        closed = connect_failure(address.host, address.port, error)
        raise ConnectError(closed + await where_ssh_answers(address.host)) from None
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        if "ALERT" not in reason and passage is None and (sentence := await instead_of_tls(address)):
            raise ConnectError(sentence) from None
        raise _tls_failure(address, reason) from None
    except ConnectionResetError:
        raise ConnectionDropped(
            f"{address} closed the connection during the TLS 1.3 handshake; is it a Farhand service? If it is, it may "
            "refuse this machine for a while after failed logins",
            attempts=ATTEMPTS_WHEN_CLOSED,
        ) from None
    except OSError as error:
        raise ConnectError(connect_failure(address.host, address.port, error)) from None
    return transport


def _tls_failure(address: Address, reason: str) -> ConnectError:
    # The alerts by which an edge refuses a connection (protocol/README.md, section 1).
    if reason == "TLSV1_ALERT_ACCESS_DENIED":
        return ConnectError(
            f"{address} refuses connections from this machine for a while, because too many logins failed; "
            "wait a little, and name the right key with -I"
        )
    if reason == "TLSV1_ALERT_INTERNAL_ERROR":
        return ConnectionDropped(
            f"{address} accepts no connection now: it has too many, or an internal error; try again later",
            attempts=ATTEMPTS_WHEN_REFUSED,
        )
    return ConnectError(f"{address} does not speak TLS 1.3 as a Farhand service does: {reason}")


def _service_key(transport: asyncio.Transport, address: Address) -> ServiceKey:
    from farhand_client.trust import CertificateError
    from farhand_client.trust.certificate import service_key

    tls = transport.get_extra_info("ssl_object")
    if tls.selected_alpn_protocol() != ALPN:
        raise ConnectError(f"{address} speaks TLS, but is not a Farhand service (it does not negotiate {ALPN})")
    certificate: bytes | None = tls.getpeercert(binary_form=True)
    if certificate is None:
        raise ConnectError(f"{address} is not a Farhand service: it presents no certificate")
    try:
        return service_key(certificate)
    except CertificateError as error:
        raise ConnectError(f"{address}: {error}") from None


async def check_host_key(record: KnownHosts, address: Address, key: PublicKey, deadline: ConnectDeadline) -> None:
    """Return if `key` is the recorded key of the service at `address`.

    Raises `HostKeyUnknown`, `HostKeyChanged`, `HostKeyRevoked`, and `ConnectError` if the record cannot be read.
    """
    from farhand_client.trust import KnownHostsError

    deadline.step(f"{record.path} was not read", "; its file system may hang")
    try:
        found = await run_blocking(record.check, address.host, address.port, key)
    except KnownHostsError as error:
        raise ConnectError(str(error)) from None
    match found.state:
        case "known":
            return
        case "unknown":
            raise HostKeyUnknown(_unknown(address, key), name=found.name, key=key)
        case "revoked":
            where = f"{found.path}:{found.line}"
            raise HostKeyRevoked(
                f"{address} presents the key {key.fingerprint}, which is revoked by {where}. "
                "Nothing was sent. Do not connect.",
                name=found.name,
                key=key,
            )
        case "changed":
            raise HostKeyChanged(_changed(address, found, key), name=found.name, key=key)


def _unknown(address: Address, key: PublicKey) -> str:
    return (
        f"the host key of {address} is not recorded, so it may be anyone's: {key.fingerprint}. "
        f"Compare it with what `farhandd host-key` prints there. If it is the same, run:\n{_trust(address, key)}"
    )


def _changed(address: Address, found: HostKeyCheck, key: PublicKey) -> str:
    where = f"{found.path}:{found.line}"
    if found.stored is None:
        return (
            f"{where}: the line for {found.name} cannot be read ({found.problem}), so the host key of {address} cannot "
            f"be checked. It presents {key.fingerprint}. Nothing was sent. Repair the line; or, if `farhandd host-key` "
            f"prints the same key there, replace the line:\n{_trust(address, key)}"
        )
    return (
        f"THE HOST KEY OF {address} HAS CHANGED. "
        "Someone may be intercepting the connection, or the service has a new key.\n"
        f"  presented  {key.fingerprint}\n"
        f"  recorded   {found.stored} ({where})\n"
        "Nothing was sent. Ask whoever runs the service for its fingerprint (`farhandd host-key`). "
        f"If it is the one presented, run:\n{_trust(address, key)}"
    )


def _trust(address: Address, key: PublicKey) -> str:
    """Return the command that records the key, on a line of its own to be pasted."""
    import shlex

    via = f"--via {shlex.quote(','.join(map(str, address.via)))} " if address.via else ""
    return f"  farhand trust {via}{shlex.quote(str(address))} {key.fingerprint}"


async def record_host_key(
    record: KnownHosts, address: Address, key: PublicKey, deadline: ConnectDeadline, *, replace: bool = False
) -> None:
    """Record a key as that of the service at `address`; with `replace`, instead of the keys recorded for it.

    Raises `ConnectError` if the record cannot be written.
    """
    from farhand_client.trust import KnownHostsError

    given_up = threading.Event()
    deadline.step(f"{record.path} was not written", f"; another process may have locked {record.path.parent}")
    try:
        await run_blocking(record.add, address.host, address.port, key, replace=replace, given_up=given_up.is_set)
    except KnownHostsError as error:
        raise ConnectError(str(error)) from None
    finally:
        given_up.set()
