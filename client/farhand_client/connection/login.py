"""The login: the hello message, and proof of a key if the service asks for it.

The proof is a signature over the login transcript (`farhand_protocol.login`), which binds it to this connection's TLS
key, both nonces and the hello, so that it can be neither replayed nor relayed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from farhand_client.errors import AuthenticationError, ConnectError, ConnectionLost, RequestRefused
from farhand_client.version import SOFTWARE
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode

from .address import Address
from .dial import DialledSession
from .session import ClientSession

if TYPE_CHECKING:
    from farhand_client.trust import TrustError
    from farhand_client.trust.identities import Identities, Identity


class LoginResult(NamedTuple):
    """A session that is ready for requests, and what was exchanged on the way.

    `identity` is the key that was accepted; None if the service asked for none, as on a Unix socket.
    """

    session: ClientSession
    welcome: m.Welcome
    accepted: m.Accepted
    identity: Identity | None


async def log_in(
    dialled: DialledSession, address: Address, identities: Identities | None, timeout: float
) -> LoginResult:
    """Send the hello and prove who the user is. `timeout` is the time in seconds for each answer of the service.

    Raises `ConnectError`, `AuthenticationError`, and `RequestRefused` if the service gives a reason for accepting no
    login. The caller must abort `dialled.session` after an error.
    """
    session = dialled.session
    hello = m.Hello(
        versions=(m.PROTOCOL_VERSION,),
        software=SOFTWARE,
        limits=session.connection.announced_limits,
        user=address.user if address.socket is not None else address.user or local_user(),
        server=address.host or None,
        nonce=os.urandom(32),
    )
    session.send(hello)
    identity = None
    try:
        welcome = await _answer(session, timeout)
        assert isinstance(welcome, m.Welcome)
        if not welcome.login:
            accepted = await _answer(session, timeout)
        elif dialled.spki_sha256 is None or identities is None:
            raise ConnectError(
                f"{address} is the edge's socket, on which this client cannot log in; use the service's other socket"
            )
        else:
            accepted, identity = await _prove(session, hello, welcome, dialled.spki_sha256, identities, timeout)
    except ConnectionLost as error:
        raise ConnectError(f"{error} before the login was complete") from None
    assert isinstance(accepted, m.Accepted)
    session.login_done()
    return LoginResult(session, welcome, accepted, identity)


def local_user() -> str:
    """Return the name of this process's account, which is also the default for the remote account, as with ssh.

    Raises `ConnectError` if the user id has no name.
    """
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise ConnectError(
            f"the local user id {os.getuid()} has no name; write the user to log in as: user@host"
        ) from None


async def _answer(session: ClientSession, timeout: float) -> m.AnyMessage:
    try:
        async with asyncio.timeout(timeout):
            return await session.receive_login_message()
    except TimeoutError:
        raise ConnectError(f"{session.name} did not answer within {timeout:g} seconds") from None


async def _prove(
    session: ClientSession,
    hello: m.Hello,
    welcome: m.Welcome,
    spki_sha256: bytes,
    identities: Identities,
    timeout: float,
) -> tuple[m.AnyMessage, Identity]:
    from hashlib import sha256

    from farhand_client.trust import TrustError
    from farhand_protocol.login import login_transcript

    tried: list[str] = []
    try:
        async for identity in _checked_identities(identities):
            transcript = login_transcript(
                spki_sha256=spki_sha256,
                server_nonce=welcome.nonce,
                client_nonce=hello.nonce,
                server_name=hello.server or "",
                user=hello.user or "",
                hello_sha256=sha256(session.connection.hello_frame).digest(),
                public_key=identity.public_key.blob,
            )
            try:
                signature = await identity.sign(transcript)
            except TrustError as error:
                identities.problems.append(error)
                continue
            tried.append(identity.description)
            session.send(m.Login(public_key=identity.public_key.blob, signature=signature))
            answer = await _answer(session, timeout)
            if not isinstance(answer, m.Refused):
                return answer, identity
    except RequestRefused as error:
        if error.code is not ErrorCode.LOGIN_FAILED:
            raise
    raise AuthenticationError(_refusal(session.name, hello.user or "", tried, identities.problems))


async def _checked_identities(identities: Identities) -> AsyncIterator[Identity]:
    from farhand_client.trust import TrustError

    try:
        async for identity in identities:
            yield identity
    except TrustError as error:
        raise AuthenticationError(str(error)) from None


def _refusal(name: str, user: str, tried: list[str], problems: list[TrustError]) -> str:
    lines = [f"{name} does not accept a login as {user}"]
    if tried:
        lines[0] += " with any of these keys:"
        lines += [f"  {description}" for description in tried]
    else:
        lines[0] += ": there is no key to try. Create one with ssh-keygen -t ed25519, or name one with --identity"
    lines += [f"  not tried: {problem}" for problem in problems]
    lines.append(f"To accept a public key, run on the service's machine as {user}: farhandd authorize KEYFILE.pub")
    return "\n".join(lines)
