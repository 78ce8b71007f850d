"""From an address to a transport whose other end is the service it should be."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .address import Address
from .errors import ConnectError
from .hostkey import check
from .session import Session

if TYPE_CHECKING:
    import ssl

    from farhand_protocol.sshformat import PublicKey

    from .trust.certificate import ServiceKey
    from .trust.known_hosts import KnownHosts

ALPN: Final = "farhand/1"


@dataclass(frozen=True, slots=True)
class Dialled:
    """A session whose transport is up; `spki_sha256` is the service's key as logins are bound to it, None locally."""

    session: Session
    spki_sha256: bytes | None = None


async def dial_socket(address: Address, keepalive: float | None) -> Dialled:
    """Connect to a Unix socket. Raises `ConnectError`."""
    session = Session(str(address), keepalive)
    try:
        await asyncio.get_running_loop().create_unix_connection(session.link, address.socket)
    except FileNotFoundError:
        raise ConnectError(f"there is no socket at {address.socket}; is farhandd running?") from None
    except ConnectionRefusedError:
        raise ConnectError(f"nobody listens at the socket {address.socket}; is farhandd running?") from None
    except OSError as error:
        raise ConnectError(f"cannot connect to the socket {address.socket}: {error.strerror or error}") from None
    return Dialled(session)


async def dial_tls(address: Address, known_hosts: KnownHosts, keepalive: float | None) -> Dialled:
    """Connect by TLS 1.3 and check the service's key before any byte of ours is sent.

    Raises `ConnectError`, of which `HostKeyUnknown`, `HostKeyChanged` and `HostKeyRevoked` are kinds.
    """
    session = Session(str(address), keepalive)
    transport = await _tls_transport(session, address)
    try:
        key = _service_key(transport, address)
        check(known_hosts, address, key.public_key)
    except BaseException:
        transport.abort()
        raise
    return Dialled(session, key.spki_sha256)


async def fetch_key(address: Address) -> PublicKey:
    """Return the key that the service shows, trusted or not. Raises `ConnectError`."""
    transport = await _tls_transport(Session(str(address), None), address)
    try:
        return _service_key(transport, address).public_key
    finally:
        transport.abort()


async def _tls_transport(session: Session, address: Address) -> asyncio.Transport:
    import ssl

    from .eyeballs import connected

    try:
        sock = await connected(address.host, address.port)
        transport, _ = await asyncio.get_running_loop().create_connection(
            session.link, sock=sock, ssl=_context(), server_hostname=address.host
        )
    except socket.gaierror as error:
        raise ConnectError(f"the name {address.host} is not known: {error.strerror}") from None
    except ConnectionRefusedError:
        raise ConnectError(
            f"nobody listens at {address.host} port {address.port}; does farhandd run there, with --listen?"
        ) from None
    except ssl.SSLError as error:
        reason = error.reason or error
        raise ConnectError(f"{address} does not speak TLS 1.3 as a Farhand service does: {reason}") from None
    except ConnectionResetError:
        raise ConnectError(f"{address} ended the TLS 1.3 handshake without a word; is it a Farhand service?") from None
    except OSError as error:
        raise ConnectError(f"cannot connect to {address.host} port {address.port}: {error.strerror or error}") from None
    return transport


def _context() -> ssl.SSLContext:
    import ssl

    # Not create_default_context: authorities have no say here, and loading them costs 20 ms.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # TLS still proves that the peer has the certificate's key; that is pinned
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    return context


def _service_key(transport: asyncio.Transport, address: Address) -> ServiceKey:
    from .trust.certificate import service_key
    from .trust.errors import CertificateError

    tls = transport.get_extra_info("ssl_object")
    if tls.selected_alpn_protocol() != ALPN:
        raise ConnectError(f"{address} speaks TLS, but it is not a Farhand service (no {ALPN})")
    certificate: bytes | None = tls.getpeercert(binary_form=True)
    if certificate is None:
        raise ConnectError(f"{address} is not a Farhand service: it has no certificate")
    try:
        return service_key(certificate)
    except CertificateError as error:
        raise ConnectError(f"{address}: {error}") from None
